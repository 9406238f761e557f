"""Where the inputs of a cell's node come from, in the node's own order.

A cell lists what it reads as two rows, stored tensors and computed values; a twin is called with inputs in ONNX order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import onnx_ir as ir

from trunkline.graph.computed_weights import depends_on_image, is_computed_weight
from trunkline.graph.roles import is_static_input
from trunkline.sharing.lowering.numbering import MixedSource, Ref
from trunkline.sharing.origin import Leading, Origin
from trunkline.supermodel.cell_steps import Source
from trunkline.supermodel.mixed_steps import OptionRun

InputKind = Literal["data", "stored", "computed", "setting", "none"]
"""What an input of a node is: a value of the image, a weight, a computed weight, a setting, or absent."""
StoredAt = Origin | Leading


def sources_of(node: ir.Node, weights: Sequence[StoredAt], inputs: Sequence[Ref]) -> tuple[Source, ...]:
    """Return the sources of a node with decided weights, from its cell's weights and inputs."""
    values = iter(inputs)  # data and computed weights stand in one row here, in input order
    return _in_order(input_kinds(node), iter(weights), values, values)


def runs_of(
    sources: Sequence[MixedSource],
    weights: Sequence[StoredAt],
    inputs: Sequence[Ref],
    kinds: Sequence[InputKind],
) -> tuple[tuple[OptionRun, ...], OptionRun | None]:
    """Return the runs of a mixed node from its cell, and the skip if it is an option.

    Args:
        sources: Of the cell's operation.
        weights: Of the cell: those of the first source, then those of the next.
        inputs: Of the cell: the node's data, which all sources read, then computed weights, source by source.
        kinds: What each input of the node is.
    """
    data = inputs[: kinds.count("data")]
    stored, computed = iter(weights), iter(inputs[len(data) :])
    runs: list[OptionRun] = []
    skip: OptionRun | None = None
    for source in sources:
        own = [next(stored) for _ in range(source.weights)]
        own_computed = [next(computed) for _ in range(source.inputs)]
        if source.skip:
            skip = OptionRun(source.options, tuple(own))
        else:
            in_order = _in_order(kinds, iter(own), iter(data), iter(own_computed))
            runs.append(OptionRun(source.options, in_order))
    return tuple(runs), skip


def input_kinds(node: ir.Node) -> tuple[InputKind, ...]:
    """Return what each input of a node is."""
    return tuple(_kind(node, index) for index in range(len(node.inputs)))


def has_plain_weights(node: ir.Node) -> bool:
    """Whether kernel and bias of a unit's operator are weights, stored or computed, and its first input is the data."""
    # A MatMul may have the data second; then what stands in the place of its kernel comes of the image.
    if node.inputs[1] is None:
        return False
    return not any(value is not None and depends_on_image(value) for value in node.inputs[1:3])


def _kind(node: ir.Node, index: int) -> InputKind:
    value = node.inputs[index]
    if value is None:
        return "none"
    if value.is_initializer():
        return "setting" if is_static_input(node, index) else "stored"
    return "computed" if is_computed_weight(value) else "data"


def _in_order(
    kinds: Sequence[InputKind], stored: Iterator[StoredAt], data: Iterator[Ref], computed: Iterator[Ref]
) -> tuple[Source, ...]:
    """Return, for each input, the next source of its kind."""
    found: list[Source] = []
    for kind in kinds:
        match kind:
            case "data":
                found.append(next(data))
            case "computed":
                found.append(next(computed))
            case "stored":
                found.append(next(stored))
            case "setting":
                # A cell names it among its weights, but the twin read it when it was made.
                next(stored)
                found.append(None)
            case "none":
                found.append(None)
    return tuple(found)
