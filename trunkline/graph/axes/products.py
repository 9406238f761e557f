"""What the axes of matrix products count."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.graph.axes.axis import (
    SAME,
    Axes,
    Axis,
    Sizes,
    is_mixed,
    is_only,
    of,
)
from trunkline.graph.axes.meet import (
    meet,
)
from trunkline.graph.axes.rules import InputAxes, Reads, data_of, mixed, number_by_number, unknown
from trunkline.graph.axes.windows import learned_from
from trunkline.graph.graph import attribute


def multiplied(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """MatMul: rows of the first, columns of the second; where one is stored, it makes a new axis of the other's."""
    first, second = data_of(reads), reads[1]
    assert second is not None
    left, right = _as_matrix(first, before=True), _as_matrix(second, before=False)
    count = max(len(left.sizes), len(right.sizes)) - 2
    ahead = [InputAxes(read.axes[:-2], read.sizes[:-2]) for read in (left, right)]
    (axes,) = number_by_number(node, ahead, [_batches(ahead, count)])
    summed = meet(left.axes[-1], right.axes[-2], left.sizes[-1])
    if is_mixed([summed]):
        return mixed(outputs)
    rows, columns = left.axes[-2], right.axes[-1]
    if _is_stored(first):
        rows = learned_from(right.axes[-2], left.sizes[-2])
    if _is_stored(second):
        columns = learned_from(left.axes[-1], right.sizes[-1])
    result = [*axes, rows, columns]
    # ONNX takes the axis that a vector was given away again, as numpy's matmul does.
    if len(second.sizes) == 1:
        result.pop(-1)
    if len(first.sizes) == 1:
        result.pop(len(axes))
    return [tuple(result)]


def _as_matrix(read: InputAxes, *, before: bool) -> InputAxes:
    """A vector is a row on the left and a column on the right."""
    if len(read.sizes) > 1:
        return read
    return InputAxes(((), *read.axes), (1, *read.sizes)) if before else InputAxes((*read.axes, ()), (*read.sizes, 1))


def _batches(reads: Sequence[InputAxes], count: int) -> Sizes:
    padded = [(*(1,) * (count - len(read.sizes)), *read.sizes) for read in reads]
    return tuple(max(pair) for pair in zip(*padded, strict=True))


def _is_stored(read: InputAxes) -> bool:
    return all(is_only(axis, SAME) for axis in read.axes)


def affine(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Gemm: a MatMul whose matrices may be turned, plus something of the result's shape."""
    first, second = data_of(reads), reads[1]
    assert second is not None
    turned = [_turned(first, attribute(node, "transA", 0)), _turned(second, attribute(node, "transB", 0))]
    return multiplied(node, turned, outputs)


def _turned(read: InputAxes, turn: int) -> InputAxes:
    return InputAxes(read.axes[::-1], read.sizes[::-1]) if turn else read


def einsum(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Einsum: axes go by letters. A letter that only stored factors have is a new axis."""
    equation = attribute(node, "equation", "").replace(" ", "")
    terms, arrow, result = equation.partition("->")
    if not arrow or "." in equation:  # letters that are implied are not followed
        return unknown(node, reads, outputs)
    known: dict[str, Axis] = {}
    summed: list[Axis] = []
    for term, read in zip(terms.split(","), reads, strict=True):
        assert read is not None
        for letter, axis, size in zip(term, read.axes, read.sizes, strict=True):
            known[letter] = meet(known.get(letter, of(SAME, size)), axis, size)
            if letter not in result:
                summed.append(axis)
    if is_mixed(list(known.values())):
        return mixed(outputs)
    source = tuple(part for axis in summed for part in axis)
    axes: list[Axis] = []
    for letter, size in zip(result, outputs[0], strict=True):
        axis = known.get(letter, ())
        axes.append(learned_from(source, size) if is_only(axis, SAME) else axis)
    return [tuple(axes)]
