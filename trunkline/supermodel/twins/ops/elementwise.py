"""Arithmetic element by element, with numpy's broadcasting."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.supermodel.twins.registry import Op, register
from trunkline.supermodel.twins.settings import is_stored, number

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Log": torch.log,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Sqrt": torch.sqrt,
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Div": operator.truediv,
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


@register("Mean")
def mean(node: ir.Node) -> Op:
    """Mean of any number of inputs."""
    return Op(_mean)


@register("Pow")
def power(node: ir.Node) -> Op:
    """Inputs: base, exponent. A stored exponent is a setting: its gradient does not exist below zero."""
    return Op(partial(_pow, exponent=number(node, 1, 1.0)) if is_stored(node, 1) else torch.pow)


def _fold(*inputs: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return reduce(function, inputs)


def _mean(*inputs: Tensor) -> Tensor:
    return reduce(operator.add, inputs) / len(inputs)


def _pow(x: Tensor, *_static: Tensor | None, exponent: float) -> Tensor:
    return x.pow(exponent)


for _name, _unary in _UNARY.items():
    register(_name)(_function(_unary))
for _name, _binary in _BINARY.items():
    register(_name)(_function(_binary))
for _name, _pair in _VARIADIC.items():
    register(_name)(_function(partial(_fold, function=_pair)))
