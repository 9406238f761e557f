"""What a block holds, in a few words: ``Conv 3x3/2, 2 Conv 3x3, MaxPool``."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from trunkline.graph.blocks import Block
from trunkline.graph.graph import Graph, attribute, name_of, shape_of

_MOST = 4
_WINDOWS = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"})
_ACTIVATIONS = {"Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSwish", "HardSigmoid"}
_MOVES = {"Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split"}
_SMALL = frozenset({*_ACTIVATIONS, *_MOVES, "BatchNormalization", "Dropout", "Mul"})
"""Operators that tell little about a block; they are named where it holds nothing else."""


def summaries(graph: Graph, blocks: tuple[Block, ...]) -> tuple[str, ...]:
    """Return a line for each of ``blocks`` of ``graph``: its operators, counted, in the order they first appear."""
    nodes = {name_of(node): node for node in graph.nodes}
    return tuple(_summary([nodes[name] for name in block.nodes]) for block in blocks)


def _summary(nodes: list[ir.Node]) -> str:
    telling = [node for node in nodes if node.op_type not in _SMALL] or nodes
    counts = Counter(_label(node) for node in telling)
    shown = [label if count == 1 else f"{count} {label}" for label, count in counts.items()]
    if len(shown) > _MOST:
        return ", ".join([*shown[:_MOST], "…"])
    return ", ".join(shown)


def _label(node: ir.Node) -> str:
    if node.op_type not in _WINDOWS:
        return node.op_type
    kernel = "x".join(str(size) for size in attribute(node, "kernel_shape", []))
    kind = "depthwise" if _is_depthwise(node) else node.op_type
    stride = max(attribute(node, "strides", [1]))
    return f"{kind} {kernel}/{stride}" if stride > 1 else f"{kind} {kernel}"


def _is_depthwise(node: ir.Node) -> bool:
    read = node.inputs[0]
    groups = attribute(node, "group", 1)
    if node.op_type != "Conv" or groups == 1 or read is None:
        return False
    return bool(groups == shape_of(read)[1])
