"""Check that a Graph keeps every rule of canonical form, in time linear in its size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem
from trunkline.graph.batch_first import advice_to_cut
from trunkline.graph.graph import BATCH, IR_VERSION, OPSET, Graph, inputs_of
from trunkline.graph.operands import operand_problems
from trunkline.text import quoted, shape_text

_CONTAINERS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_CONSTANTS = frozenset({"Constant", "ConstantOfShape"})


def verify(graph: Graph, *, maps: int = 1) -> Graph:
    """Return ``graph`` if it keeps the rules that :mod:`trunkline.graph.graph` lists.

    Args:
        graph: A network of one image, or a head.
        maps: How many feature maps a head reads; a network reads one image.

    Raises:
        InvalidModel: It does not; every breach is listed, with its node or value.
    """
    problems = [*_inputs(graph, maps), *(problem for rule in _RULES for problem in rule(graph))]
    if problems:
        raise InvalidModel(problems)
    return graph


def _versions(graph: Graph) -> Iterator[Problem]:
    opsets = dict(graph.model.graph.opset_imports)
    if opsets != {"": OPSET}:
        yield Problem(f"opsets {opsets}; expected only the default domain's opset {OPSET}")
    if graph.model.ir_version != IR_VERSION:
        yield Problem(f"IR version {graph.model.ir_version}; expected {IR_VERSION}")
    for function in graph.model.functions:
        yield Problem("a function; expected plain nodes", place=str(function))


def _inputs(graph: Graph, maps: int) -> Iterator[Problem]:
    inputs = graph.model.graph.inputs
    if len(inputs) != maps:
        expected = "one image" if maps == 1 else f"{maps} feature maps"
        yield Problem(f"{len(inputs)} inputs; expected {expected}")
        return
    for image in inputs:
        yield from _image(image)


def _image(image: ir.Value) -> Iterator[Problem]:
    is_free = [not isinstance(size, int) for size in image.shape or ()]
    if is_free != [True, False, False, False]:
        yield Problem(f"the input has shape {shape_text(image.shape)}; expected [{BATCH}, C, H, W]", place=_name(image))
    if image.dtype != ir.DataType.FLOAT:
        yield Problem(f"the input has type {image.dtype}; expected float32", place=_name(image))


def _names(graph: Graph) -> Iterator[Problem]:
    values = [*graph.model.graph.inputs, *graph.initializers.values(), *_written(graph)]
    for kind, items in (("value", values), ("node", graph.nodes)):
        seen: set[str] = set()
        for item in items:
            if not item.name:
                yield Problem(f"a {kind} without a name", place=_name(item))
            elif item.name in seen:
                yield Problem(f"a second {kind} of this name", place=item.name)
            seen.add(item.name or "")


def _order(graph: Graph) -> Iterator[Problem]:
    known = {*graph.model.graph.inputs, *graph.initializers.values()}
    for node in graph.nodes:
        for value in inputs_of(node):
            if value not in known:
                yield Problem(f"reads {quoted(_name(value))}, which nothing before it writes", place=_name(node))
        known.update(node.outputs)


def _operators(graph: Graph) -> Iterator[Problem]:
    for node in graph.nodes:
        if node.domain:
            yield Problem(
                f"{node.op_type} of the domain {quoted(node.domain)}; expected the default domain", _name(node)
            )
        elif node.op_type in _CONSTANTS:
            yield Problem(f"a {node.op_type} node; expected an initializer", place=_name(node))
        elif node.op_type in _CONTAINERS or any(_is_graph(a) for a in node.attributes.values()):
            yield Problem(f"{node.op_type}: control flow", place=_name(node))


def _shapes(graph: Graph) -> Iterator[Problem]:
    from_image = set(graph.model.graph.inputs)
    for node in graph.nodes:
        # A computed weight is the same for every image and is known by that: it has no free axis.
        depends = any(value in from_image for value in inputs_of(node))
        if depends:
            from_image.update(node.outputs)
        for value in node.outputs:
            if problem := _shape_problem(value, int(depends)):
                yield problem


def _shape_problem(value: ir.Value, free: int) -> Problem | None:
    """Return what is wrong with the shape of a computed value, which has ``free`` free axes, one or none."""
    if value.shape is None or value.dtype is None:
        return Problem("shape and type are not known", place=_name(value))
    unknown = [size for size in value.shape if not isinstance(size, int)]
    is_other = any(size.value not in (None, BATCH) for size in unknown)
    if is_other or len(unknown) != free:
        expected = f"one free axis {BATCH}" if free else "no free axis"
        return Problem(
            f"shape {shape_text(value.shape)}; expected {expected}, and every other size known", place=_name(value)
        )
    if any(isinstance(size, int) and size < 1 for size in value.shape):
        return Problem(f"shape {shape_text(value.shape)}; expected sizes of at least 1", place=_name(value))
    return None


def _stored(graph: Graph) -> Iterator[Problem]:
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is None:
            yield Problem("an initializer without content", place=name)
        elif value.dtype != tensor.dtype or value.shape != tensor.shape:
            stored = f"{tensor.dtype} {shape_text(tensor.shape)}"
            yield Problem(f"declared as {value.dtype} {shape_text(value.shape)}, but {stored} is stored", place=name)
        if not value.uses():
            yield Problem("an initializer that no node reads", place=name)
        if name != value.name:
            yield Problem(f"stored under {quoted(name)}, but called {quoted(_name(value))}", place=name)


def _outputs(graph: Graph) -> Iterator[Problem]:
    written = set(_written(graph))
    if not graph.outputs:
        yield Problem("no outputs; expected at least one")
    if len(set(graph.outputs)) != len(graph.outputs):
        yield Problem("the same value is an output twice")
    for value in graph.outputs:
        if value not in written:
            yield Problem("an output that no node writes", place=_name(value))
        elif value.shape and isinstance(value.shape[0], int):
            # Losses, metrics and the parity check all take the first axis for the images.
            text = f"an output of shape {shape_text(value.shape)}; expected the batch axis first"
            yield Problem(text, place=_name(value), advice=advice_to_cut(value))
    for node in graph.nodes:
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            yield Problem(f"{node.op_type}: nothing reads its outputs", place=_name(node))


def _written(graph: Graph) -> list[ir.Value]:
    return [value for node in graph.nodes for value in node.outputs]


def _is_graph(item: ir.Attr) -> bool:
    return item.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _name(item: ir.Value | ir.Node) -> str:
    return item.name or "(unnamed)"


_Rule = Callable[[Graph], Iterator[Problem]]
_RULES: tuple[_Rule, ...] = (_versions, _names, _order, _operators, _shapes, _stored, _outputs, operand_problems)
