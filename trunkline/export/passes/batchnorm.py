"""Fold BatchNormalization into the convolution before it.

At inference BN is a per-channel affine map, and Conv, ConvTranspose and Gemm are linear in weight and bias, so
(Ioffe & Szegedy 2015, §3.1, with running statistics):

    s = γ / √(σ² + ε),   W' = s · W,   b' = s · (b − μ) + β.

The arithmetic is float64; the result is rounded once, to the weight's type. A convolution is folded when BN is its
only reader and everything in the formula is stored. Nodes that share weight *and* BN share the folded pair as well.
A weight that is read with several BN, as by tasks whose inputs differ, stays as it is, and so do they: a folded copy
for each would store again what the tasks share. Runtimes fold those when they load the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import array_of, attribute, free_name, name_of
from trunkline.graph.passes.editor import add_tasks, are_stored, input_at, store, take_over, value_names
from trunkline.graph.passes.remove_dead import RemoveDead

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Pair:
    """A linear node and the BatchNormalization that alone reads it."""

    linear: ir.Node
    norm: ir.Node

    @property
    def key(self) -> tuple[object, ...]:
        """What the folded weight and bias depend on; equal keys share them."""
        stored = [*list(self.linear.inputs)[1:3], *list(self.norm.inputs)[1:5]]
        names = tuple("" if value is None else name_of(value) for value in stored)
        settings = tuple(attribute(self.linear, name) for name in ("group", "transB", "beta"))
        return self.linear.op_type, len(self.linear.inputs), *names, *settings, attribute(self.norm, "epsilon")


Folded = tuple[Array, Array]
"""The weight and bias that do the work of a :class:`Pair`."""


@dataclass(frozen=True, slots=True)
class FoldBatchNorm:
    """Folds every BatchNormalization that can be, chains of them included. Every shape must be known.

    The folded weight and bias keep the names of the convolution's own, ``conv1.weight`` and ``conv1.bias``, or get
    a free name beside them where those still serve others. The node computes the value that carried BN's name.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Fold in ``graph``, and return how many BN nodes went."""
        total = 0
        while found := _foldable(graph):
            pairs = [pair for group, _ in found for pair in group]
            names = [_names(group[0].linear) for group, _ in found]
            for pair in pairs:
                _splice(graph, pair)
            RemoveDead()(graph)  # what only folded nodes read is gone now, and its name is free
            taken = value_names(graph)
            for (group, folded), wanted in zip(found, names, strict=True):
                _attach(graph, group, folded, wanted, taken)
            total += len(pairs)
        return total


def _foldable(graph: ir.Graph) -> list[tuple[list[Pair], Folded]]:
    groups: dict[tuple[object, ...], list[Pair]] = {}
    for node in graph:
        if (pair := _pair(node)) is not None:
            groups.setdefault(pair.key, []).append(pair)
    results = [(group, _compute(group[0])) for group in groups.values() if _all_fold(group)]
    return [(group, result) for group, result in results if result is not None]


def _all_fold(group: list[Pair]) -> bool:
    """Whether nobody else reads the weight."""
    return {node for node, _ in _stored(group[0].linear, 1).uses()} == {pair.linear for pair in group}


def _pair(norm: ir.Node) -> Pair | None:
    if norm.op_type != "BatchNormalization" or attribute(norm, "training_mode", 0) or not are_stored(norm, 1):
        return None
    data = norm.inputs[0]
    linear = data.producer() if data is not None else None
    if data is None or linear is None or linear.op_type not in ("Conv", "ConvTranspose", "Gemm"):
        return None
    alone = len(data.uses()) == 1 and not data.is_graph_output()
    return Pair(linear, norm) if alone and are_stored(linear, 1) and _bias_fits(linear) else None


def _bias_fits(linear: ir.Node) -> bool:
    """A Gemm may add a whole matrix, which is no per-channel bias."""
    bias = input_at(linear, 2)
    return bias is None or bias.const_value is None or all(size == 1 for size in list(bias.const_value.shape)[:-1])


def _compute(pair: Pair) -> Folded | None:
    """Return the folded weight and bias, or None where they are not finite numbers of the weight's type."""
    gamma, beta, mean, variance = (array_of(_stored(pair.norm, index)).astype(np.float64) for index in range(1, 5))
    weight = array_of(_stored(pair.linear, 1))
    spread = variance + float(attribute(pair.norm, "epsilon", 1e-5))
    if not np.all(spread > 0):
        return None
    scale = gamma / np.sqrt(spread)
    with np.errstate(over="ignore", invalid="ignore"):
        folded_weight = (weight.astype(np.float64) * _aligned(scale, pair.linear, weight.shape)).astype(weight.dtype)
        folded_bias = (scale * (_bias(pair.linear, mean.size) - mean) + beta).astype(weight.dtype)
    finite = np.isfinite(folded_weight).all() and np.isfinite(folded_bias).all()
    return (folded_weight, folded_bias) if finite else None


def _bias(linear: ir.Node, channels: int) -> Array:
    """Return the bias as float64 ``[channels]``, with Gemm's factor on it applied."""
    bias = input_at(linear, 2)
    if bias is None:
        return np.zeros(channels)
    factor = float(attribute(linear, "beta", 1.0)) if linear.op_type == "Gemm" else 1.0
    return np.broadcast_to(array_of(bias).astype(np.float64).reshape(-1) * factor, (channels,))


def _aligned(scale: Array, linear: ir.Node, shape: Sequence[int]) -> Array:
    """Return ``scale`` shaped to multiply the weight along its output channels.

    Conv has weights ``[M, C/g, …]``, Gemm ``[K, M]`` or (``transB``) ``[M, K]``. ConvTranspose has ``[C, M/g, …]``:
    its input channel c belongs to group c // (C/g), whose outputs are the channels from group · M/g on.
    """
    rest = (1,) * (len(shape) - 2)
    if linear.op_type == "Conv":
        return scale.reshape(-1, 1, *rest)
    if linear.op_type == "Gemm":
        return scale.reshape(-1, 1) if attribute(linear, "transB", 0) else scale.reshape(1, -1)
    groups = int(attribute(linear, "group", 1))
    return np.repeat(scale.reshape(groups, -1), shape[0] // groups, axis=0).reshape(shape[0], shape[1], *rest)


def _splice(graph: ir.Graph, pair: Pair) -> None:
    """Take BN out of the graph, and the old weights from the convolution."""
    add_tasks(pair.linear, pair.norm)
    take_over(graph, pair.norm.outputs[0], pair.linear.outputs[0])
    graph.remove(pair.norm, safe=True)
    pair.linear.resize_inputs(1)


def _attach(graph: ir.Graph, group: list[Pair], folded: Folded, names: tuple[str, str], taken: set[str]) -> None:
    """Give the spliced convolutions the folded weight and bias, under these names or free ones beside them."""
    stored = []
    for content, wanted in zip(folded, names, strict=True):
        name = free_name(wanted, taken)
        taken.add(name)
        stored.append(store(graph, name, ir.Tensor(content)))
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
    weight, bias = name_of(_stored(linear, 1)), input_at(linear, 2)
    head, dot, tail = weight.rpartition(".weight")
    if dot:
        return weight, f"{head}.bias{tail}"
    return weight, f"{weight}.bias" if bias is None else name_of(bias)


def _stored(node: ir.Node, index: int) -> ir.Value:
    value = input_at(node, index)
    assert value is not None
    return value
