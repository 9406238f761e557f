"""Check that weights fit the data they work on and each other; ONNX's shape inference looks at few of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import onnx_ir as ir

from trunkline.errors import Problem
from trunkline.graph.graph import Graph, Shape, attribute, shape_of
from trunkline.text import shape_text

_Complaints = Iterator[str]


def operand_problems(graph: Graph) -> Iterator[Problem]:
    """Yield what does not fit, with the node it is found at."""
    for node in graph.nodes:
        rule = _RULES.get(node.op_type)
        if rule is None or any(value is not None and value.shape is None for value in (*node.inputs, *node.outputs)):
            continue
        for complaint in rule(node, [None if value is None else shape_of(value) for value in node.inputs]):
            yield Problem(f"{node.op_type} {complaint}", place=node.name or "(unnamed)")


def _convolution(node: ir.Node, shapes: Sequence[Shape | None]) -> _Complaints:
    """The channels of data, weight and bias agree, and the groups divide them."""
    data, weight = shapes[0] or (), shapes[1] or ()
    if len(data) < 2 or len(weight) < 2:  # no axis of channels on one side
        return
    group = attribute(node, "group", 1)
    if group < 1:
        yield f"has {group} groups; at least 1 was expected"
        return
    # Conv holds [out, in/group, …], ConvTranspose [in, out/group, …].
    of_all_groups = (weight[1] or 0) * group
    reads, makes = (of_all_groups, weight[0]) if node.op_type == "Conv" else (weight[0], of_all_groups)
    if data[1] != reads:
        yield f"reads {data[1]} channels; its weight {shape_text(weight)} and group {group} need {reads}"
    if (weight[0] or 0) % group:
        yield f"has a weight {shape_text(weight)}, which {group} groups do not divide"
    yield from _exactly(shapes, 2, (makes,))


def _gemm(node: ir.Node, shapes: Sequence[Shape | None]) -> _Complaints:
    yield from _within(shapes, 2, shape_of(node.outputs[0]))


def _instance(node: ir.Node, shapes: Sequence[Shape | None]) -> _Complaints:
    for index in (1, 2):
        yield from _exactly(shapes, index, (shapes[0] or ())[1:2])


def _layer(node: ir.Node, shapes: Sequence[Shape | None]) -> _Complaints:
    data = shapes[0] or ()
    axis = attribute(node, "axis", -1)
    for index in (1, 2):
        yield from _within(shapes, index, data[axis % max(1, len(data)) :])


def _slopes(node: ir.Node, shapes: Sequence[Shape | None]) -> _Complaints:
    yield from _within(shapes, 1, shapes[0] or ())


_RULES: Mapping[str, Callable[[ir.Node, Sequence[Shape | None]], _Complaints]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Gemm": _gemm,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "PRelu": _slopes,
}


def _exactly(shapes: Sequence[Shape | None], index: int, wanted: Shape) -> _Complaints:
    found = shapes[index] if index < len(shapes) else None
    if found is not None and found != wanted:
        yield f"has input {index} of shape {shape_text(found)}; {shape_text(wanted)} was expected"


def _within(shapes: Sequence[Shape | None], index: int, target: Shape) -> _Complaints:
    """An operand that ONNX broadcasts to ``target`` in one direction: it must not enlarge it."""
    found = shapes[index] if index < len(shapes) else None
    if found is not None and not _fits_within(found, target):
        yield f"has input {index} of shape {shape_text(found)}, which cannot be spread over {shape_text(target)}"


def _fits_within(shape: Shape, target: Shape) -> bool:
    if len(shape) > len(target):
        return False
    last_axes = target[len(target) - len(shape) :]
    return all(size in (1, other) for size, other in zip(shape, last_axes, strict=True))
