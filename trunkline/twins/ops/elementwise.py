"""Arithmetic element by element, with numpy's broadcasting."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.graph.graph import array_of, attribute
from trunkline.twins.op import Op
from trunkline.twins.ops.common.static_inputs import input_at, is_stored
from trunkline.twins.registry import register

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Log": torch.log,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Mul": operator.mul,
    "Sub": operator.sub,
}
_VARIADIC: dict[str, Callable[[Any, Any], Any]] = {
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Sum": operator.add,
}


def _function(function: Callable[..., Tensor]) -> Callable[[ir.Node], Op]:
    def factory(node: ir.Node) -> Op:
        return Op(function)

    return factory


@register("Div")
def divide(node: ir.Node) -> Op:
    """Quotient; of integers, the whole part, rounded towards 0."""
    return Op(_divide)


@register("Mod")
def modulo(node: ir.Node) -> Op:
    """Remainder, with the sign of the divisor, or with ``fmod`` that of the dividend."""
    # ONNX: without fmod the sign is the divisor's, as in Python; with it the dividend's, as in C.
    return Op(torch.fmod if attribute(node, "fmod", 0) else torch.remainder)


@register("Mean")
def mean(node: ir.Node) -> Op:
    """Mean of any number of inputs."""
    return Op(_mean)


@register("Pow")
def power(node: ir.Node) -> Op:
    """Inputs: base, exponent. A stored exponent is a setting: its gradient does not exist below zero."""
    # Rule of graph/roles.py: a stored exponent is static, and the twin is then called without it.
    if not is_stored(node, 1):
        return Op(_pow)
    value = input_at(node, 1)
    assert value is not None
    exponent = array_of(value)
    # One number in more axes than the base has, as [[2]] over a vector, would add axes to the result.
    if exponent.size == 1 and exponent.ndim <= len(_shape(node)):
        return Op(partial(_pow_number, exponent=exponent.item()))
    return Op(partial(_pow_numbers, exponent=tuple(exponent.ravel().tolist()), shape=exponent.shape))


def _shape(node: ir.Node) -> tuple[object, ...]:
    base = node.inputs[0]
    assert base is not None
    return tuple(base.shape or ())


def _fold(*inputs: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return reduce(function, inputs)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    if a.is_floating_point():
        return a / b
    # torch's quotient of integers is a float; ONNX's is cut off towards 0.
    return torch.div(a, b, rounding_mode="trunc")


def _mean(*inputs: Tensor) -> Tensor:
    return reduce(operator.add, inputs) / len(inputs)


def _pow(x: Tensor, exponent: Tensor) -> Tensor:
    """Return the power in the type of the base, whatever the exponent's."""
    return x.pow(exponent).to(x.dtype)


def _pow_number(x: Tensor, *_static: Tensor | None, exponent: float) -> Tensor:
    # An integer base to a float power is a float in torch; in ONNX it keeps the base's type.
    return x.pow(exponent).to(x.dtype)


def _pow_numbers(x: Tensor, *_static: Tensor | None, exponent: tuple[float, ...], shape: tuple[int, ...]) -> Tensor:
    # Made here and not kept: a setting is no part of the twin's state, and must lie where the data lies.
    return _pow(x, torch.tensor(exponent, device=x.device).reshape(shape))


for _name, _unary in _UNARY.items():
    register(_name)(_function(_unary))
for _name, _binary in _BINARY.items():
    register(_name)(_function(_binary))
for _name, _pair in _VARIADIC.items():
    register(_name)(_function(partial(_fold, function=_pair)))
