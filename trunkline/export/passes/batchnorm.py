"""Fold BatchNormalization into the convolution before it.

:mod:`trunkline.export.passes.batchnorm_formula` holds the arithmetic, :mod:`trunkline.export.passes.batchnorm_pairs`
which may be folded; here the graph is changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.export.passes.batchnorm_formula import Folded, Pair, stored_at
from trunkline.export.passes.batchnorm_pairs import find_pairs
from trunkline.graph.graph import name_of
from trunkline.graph.passes.editor import add_tasks, input_at, store, take_over, value_names
from trunkline.graph.passes.remove_dead import RemoveDead
from trunkline.graph.unique_names import UniqueNames


@dataclass(frozen=True, slots=True)
class FoldBatchNorm:
    """Folds every BatchNormalization that can be, chains of them included. Every shape must be known.

    The folded weight and bias keep the names of the convolution's own, ``conv1.weight`` and ``conv1.bias``, or get
    a free name beside them where those still serve others. The node computes the value that carried BN's name.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Fold in ``graph``, and return how many BN nodes went."""
        total = 0
        while found := find_pairs(graph).groups:
            pairs = [pair for group, _ in found for pair in group]
            names = [_names(group[0].linear) for group, _ in found]
            for pair in pairs:
                _splice(graph, pair)
            RemoveDead()(graph)  # what only folded nodes read is gone now, and its name is free
            taken = UniqueNames(value_names(graph))
            for (group, folded), wanted in zip(found, names, strict=True):
                _attach(graph, group, folded, wanted, taken)
            total += len(pairs)
        return total


def _splice(graph: ir.Graph, pair: Pair) -> None:
    """Take BN out of the graph, and the old weights from the convolution."""
    add_tasks(pair.linear, pair.norm)
    take_over(graph, pair.norm.outputs[0], pair.linear.outputs[0])
    graph.remove(pair.norm, safe=True)
    pair.linear.resize_inputs(1)


def _attach(graph: ir.Graph, group: list[Pair], folded: Folded, names: tuple[str, str], taken: UniqueNames) -> None:
    """Give the spliced convolutions the folded weight and bias, under these names or free ones beside them."""
    stored = [store(graph, taken.take(name), ir.Tensor(content)) for content, name in zip(folded, names, strict=True)]
    for pair in group:
        pair.linear.resize_inputs(3)
        for index, value in enumerate(stored, start=1):
            pair.linear.replace_input_with(index, value)
        if pair.linear.op_type == "Gemm":
            pair.linear.attributes["beta"] = ir.AttrFloat32("beta", 1.0)


def _names(linear: ir.Node) -> tuple[str, str]:
    """Return the names the folded weight and bias should have.

    ``conv1.weight`` has ``conv1.bias`` beside it, and ``conv1.weight@1`` has ``conv1.bias@1``.
    """
    weight, bias = name_of(stored_at(linear, 1)), input_at(linear, 2)
    head, dot, tail = weight.rpartition(".weight")
    if dot:
        return weight, f"{head}.bias{tail}"
    return weight, f"{weight}.bias" if bias is None else name_of(bias)
