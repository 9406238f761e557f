"""Sums and products: of blobs → Eltwise; with one number → Power; with one per channel → Scale and Bias."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.graph import array_of, name_of
from trunkline.graph.roles import role_of
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError, blob, sizes
from trunkline.ingest.prototxt.writer.net import Setting, block
from trunkline.text import shape_text


def add(to: Emitter, node: ir.Node) -> None:
    """Add and Sum → Eltwise SUM, Power with a shift, or Bias."""
    _combine(to, node, "SUM", "shift", "Bias")


def mul(to: Emitter, node: ir.Node) -> None:
    """Mul → Eltwise PROD, Power with a scale, or Scale."""
    _combine(to, node, "PROD", "scale", "Scale")


def maximum(to: Emitter, node: ir.Node) -> None:
    """Max → Eltwise MAX."""
    _eltwise(to, node, {"operation": "MAX"})


def sub(to: Emitter, node: ir.Node) -> None:
    """Sub → Eltwise with coefficients 1 and -1, or Power for a number."""
    number = _number(to, node)
    if number is None:
        _eltwise(to, node, {}, coefficients=(1.0, -1.0))
    elif number[0] == 1:  # x − c; otherwise c − x
        _power(to, node, {"shift": -number[1]})
    else:
        _power(to, node, {"scale": -1.0, "shift": number[1]})


def div(to: Emitter, node: ir.Node) -> None:
    """Div by a number → Power."""
    number = _number(to, node)
    if number is None or number[0] == 0 or number[1] == 0:
        raise InexpressibleError("Caffe divides by no blob")
    _power(to, node, {"scale": 1 / number[1]})


def power(to: Emitter, node: ir.Node) -> None:
    """Pow with a stored exponent → Power."""
    number = _number(to, node)
    if number is None or number[0] == 0:
        raise InexpressibleError("its exponent is computed")
    _power(to, node, {"power": number[1]})


def _combine(to: Emitter, node: ir.Node, operation: str, setting: str, kind: str) -> None:
    """Write a sum or product as Power, as Scale or Bias, or as Eltwise: by what its operands are."""
    number = _number(to, node)
    if number is not None:
        _power(to, node, {setting: number[1]})
    elif any(value is not None and value.is_initializer() for value in node.inputs):
        _with_stored(to, node, kind)
    elif _is_spread(node):
        _with_spread(to, node, kind)
    else:
        _eltwise(to, node, {} if operation == "SUM" else {"operation": operation})  # SUM is Caffe's default


def _eltwise(to: Emitter, node: ir.Node, settings: dict[str, Setting], coefficients: tuple[float, ...] = ()) -> None:
    values = [to.data(node, index) for index in range(len(node.inputs))]
    same_sizes = all(sizes(value) == sizes(values[0]) for value in values)
    if not same_sizes or len(values) < 2:  # Caffe's Eltwise takes two bottoms at least
        shapes = " and ".join(str(value.shape) for value in values)
        raise InexpressibleError(f"its inputs {shapes} differ; Caffe spreads only leading axes of the second one")
    blocks = [block("eltwise_param", {**settings, "coeff": coefficients})] if settings or coefficients else []
    to.layer(node, "Eltwise", *blocks)


def _power(to: Emitter, node: ir.Node, settings: dict[str, Setting]) -> None:
    to.layer(node, "Power", block("power_param", settings))


def _number(to: Emitter, node: ir.Node) -> tuple[int, float] | None:
    """Return the index and value of an input that is one number of a formula, not a weight."""
    for index, value in enumerate(node.inputs):
        if value is None or not value.is_initializer() or len(node.inputs) != 2:
            continue
        other = to.data(node, 1 - index)
        if role_of(value) != "static":  # a weight must stay one: the settings of a Power do not train
            continue
        array = array_of(value)
        if array.size == 1 and array.ndim <= len(sizes(other)):  # with more axes it would add some to the result
            return index, float(array.item())
    return None


def _with_stored(to: Emitter, node: ir.Node, kind: str) -> None:
    """Write a stored operand as the blob of a Scale or Bias layer: it must lie on axes that follow each other."""
    if len(node.inputs) != 2:
        raise InexpressibleError("it has stored and computed inputs")
    index = 1 if node.inputs[0] is not None and not node.inputs[0].is_initializer() else 0
    data, weight = to.data(node, 1 - index), to.stored(node, index, "operand")
    shape = sizes(data)
    spread = (1,) * (len(shape) - len(sizes(weight))) + sizes(weight)
    axes = [axis for axis, size in enumerate(spread) if size != 1]
    # A single number is a blob without axes, which Caffe spreads over everything: num_axes 0.
    first, count = (axes[0], axes[-1] - axes[0] + 1) if axes else (1, 0)
    span = spread[first : first + count]
    if len(spread) != len(shape) or first == 0 or span != shape[first : first + count]:
        raise InexpressibleError(
            f"its operand {shape_text(weight.shape)} does not lie on neighbouring axes of {shape_text(data.shape)}"
        )
    if role_of(weight) == "static":
        to.note(f"{name_of(weight)} never trains, but a Caffe layer's blob does")
    settings: dict[str, Setting] = {}
    if first != 1:  # 1 is the default of both fields
        settings["axis"] = first
    if count != 1:
        settings["num_axes"] = count
    blocks = [block(f"{kind.lower()}_param", settings)] if settings else []
    to.layer(node, kind, *blocks, blobs=[blob(weight, span)])


def _is_spread(node: ir.Node) -> bool:
    """Whether one of two computed inputs is one number per image and channel for the other."""
    if len(node.inputs) != 2 or any(value is None for value in node.inputs):
        return False
    first, second = (sizes(value) for value in node.inputs if value is not None)
    small, large = sorted((first, second), key=lambda shape: max(shape[2:], default=0))
    if small == large or not len(small) == len(large) > 2:
        return False
    ones = (1,) * len(large[2:])
    return small == (*large[:2], *ones)


def _with_spread(to: Emitter, node: ir.Node, kind: str) -> None:
    """Write one number per image and channel as the second bottom of Scale or Bias, which wants it ``[N, C]``."""
    first, second = to.data(node, 0), to.data(node, 1)
    large, small = (second, first) if max(sizes(first)[2:]) == 1 else (first, second)
    flat = to.step(node, "flat", "Flatten", name_of(small))
    settings = block(f"{kind.lower()}_param", {"axis": 0})
    to.add(name_of(node), kind, [name_of(large), flat], to.tops(node), settings)


def _fixed(settings: dict[str, Setting]) -> Emit:
    """Return the writer of a function that is one Power."""
    return lambda to, node: _power(to, node, settings)


WRITERS: dict[str, Emit] = {
    "Add": add,
    "Sum": add,
    "Mul": mul,
    "Max": maximum,
    "Sub": sub,
    "Div": div,
    "Pow": power,
    "Neg": _fixed({"scale": -1.0}),
    "Sqrt": _fixed({"power": 0.5}),
    "Reciprocal": _fixed({"power": -1.0}),
}
