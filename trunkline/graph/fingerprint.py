"""Digests of a network: of its structure, so that no plan is applied to another one, and of its weights."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir

from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, array_of, name_of, shape_of


def fingerprint(graph: Graph) -> str:
    """Return a SHA-256 over nodes, attributes, wiring and weight shapes.

    Neither weight values nor the image size count: a plan holds for every training of a backbone and for
    every input size.
    """
    digest = hashlib.sha256()
    for node in graph.nodes:
        digest.update(repr(_signature(node)).encode())
    # Backbones that end in other feature maps are others, even where their nodes are the same.
    digest.update(repr([name_of(value) for value in graph.outputs]).encode())
    return digest.hexdigest()


def weights_fingerprint(graph: Graph) -> str:
    """Return a SHA-256 over what every initializer starts as: its numbers, or how they are drawn."""
    digest = hashlib.sha256()
    for name, value in graph.initializers.items():
        filler = Filler.of(value)
        digest.update(repr((name, shape_of(value), str(value.dtype), filler)).encode())
        if filler is None:  # a weight with a filler would be drawn to be read
            digest.update(np.ascontiguousarray(array_of(value)).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _signature(node: ir.Node) -> tuple[object, ...]:
    attributes = sorted((key, str(item.value)) for key, item in node.attributes.items())
    return node.op_type, node.name, attributes, [_wire(value) for value in node.inputs]


def _wire(value: ir.Value | None) -> object:
    """Return what identifies an input: a weight's shape too; that of other values follows the image size."""
    if value is None:
        return None
    if value.is_initializer() and _is_weight(value):
        return value.name, shape_of(value)
    return value.name


def _is_weight(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()
