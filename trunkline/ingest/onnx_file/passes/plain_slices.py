"""Take out Slices that cut nothing off, and those that take out of a Concat just what was put in.

torch's exporter writes the first for every ``x[:, …]``, and both for a sum in place: ``y = x[:, :4]; y += 1`` is
exported as joining the sum with the rest of ``x``, and cutting it out again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.graph import attribute, inputs_of, shape_of
from trunkline.graph.passes.editor import static
from trunkline.graph.passes.eliminate_identity import eliminate

_TO_THE_END = 2**31 - 1


@dataclass(frozen=True, slots=True)
class AxisRun:
    """The places of one axis that a Slice takes, from ``start`` up to ``end``."""

    axis: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PlainSlices:
    """Removes two kinds of Slices. The graph's batch axis is free.

    1. One that takes everything: its readers read what it reads.
    2. One that takes out of a Concat just one of its inputs: its readers read that input.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Remove such Slices of ``graph``, and return how many went."""
        # In order: where one reads another, the second is seen as it is without the first.
        return sum([_remove(graph, node) for node in graph if node.op_type == "Slice"])


def _remove(graph: ir.Graph, node: ir.Node) -> bool:
    data, cuts = node.inputs[0], _cuts(node)
    if data is None or cuts is None:
        return False
    if cuts:  # rule 2, or none
        part = _part(data, cuts)
        if part is None:
            return False
        node.replace_input_with(0, part)
    return eliminate(graph, node)


def _cuts(node: ir.Node) -> list[AxisRun] | None:
    """Return what is cut to less than it was, axis by axis; ``None`` where that is not a run, or not known."""
    settings = [static(node, index) for index in range(1, 5)]
    data = node.inputs[0]
    if data is None or any(found is None for found in settings):
        return None
    shape = shape_of(data)
    rows = zip(*(found.ravel().tolist() for found in settings if found is not None), strict=True)
    cuts: list[AxisRun] = []
    for start, end, axis, step in rows:
        size = shape[axis % len(shape)]
        if step != 1:
            return None
        if size is None:
            # Some images of a batch, or all of them: exporters write any very large number for "to the end".
            if start != 0 or end < _TO_THE_END:
                return None
            continue
        taken = range(size)[start:end]
        if taken != range(size):
            cuts.append(AxisRun(axis % len(shape), taken.start, taken.stop))
    return cuts


def _part(data: ir.Value, cuts: list[AxisRun]) -> ir.Value | None:
    """Return the input of the Concat that writes ``data`` which lies where the only cut takes a run."""
    concat = data.producer()
    if concat is None or concat.op_type != "Concat" or len(cuts) != 1:
        return None
    axis = attribute(concat, "axis") % len(shape_of(data))
    for value, start, end in _spans(concat, axis):
        is_taken = cuts[0] == AxisRun(axis, start, end)
        if is_taken and shape_of(value)[:axis] == shape_of(data)[:axis]:
            return value
    return None


def _spans(concat: ir.Node, axis: int) -> Iterator[tuple[ir.Value, int, int]]:
    start = 0
    for value in inputs_of(concat):
        size = shape_of(value)[axis]
        if size is None:
            return
        yield value, start, start + size
        start += size
