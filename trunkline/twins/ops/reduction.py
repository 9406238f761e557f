"""Reductions over axes that are known when the twin is built, and running sums."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.graph.graph import attribute
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.static_inputs import rank_of, static_ints
from trunkline.twins.registry import register

Axes = tuple[int, ...]


def _norm_1(x: Tensor, dim: Axes, keepdim: bool) -> Tensor:
    return x.abs().sum(dim, keepdim)


def _norm_2(x: Tensor, dim: Axes, keepdim: bool) -> Tensor:
    # torch's own norm has the gradient 0 at 0, where that of a square root of squares is not a number.
    norm: Tensor = torch.linalg.vector_norm(x, 2.0, dim, keepdim)
    return norm


def _log_sum(x: Tensor, dim: Axes, keepdim: bool) -> Tensor:
    return x.sum(dim, keepdim).log()


def _sum_square(x: Tensor, dim: Axes, keepdim: bool) -> Tensor:
    return x.square().sum(dim, keepdim)


def _product(x: Tensor, dim: Axes, keepdim: bool) -> Tensor:
    # torch multiplies along one axis at a time; the last one goes first, so that the others keep their numbers.
    for axis in sorted(dim, reverse=True):
        x = x.prod(axis, keepdim)
    return x


_REDUCE: dict[str, Callable[..., Tensor]] = {
    "ReduceL1": _norm_1,
    "ReduceL2": _norm_2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": torch.logsumexp,
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceMin": torch.amin,
    "ReduceProd": _product,
    "ReduceSum": torch.sum,
    "ReduceSumSquare": _sum_square,
}
_OF_FRACTIONS = frozenset({"ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean"})
"""Over integers these would have fractions for results, which an integer type cannot hold."""
_CHANGES_EACH = frozenset({"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceSumSquare"})
"""Over no axis at all, runtimes do not agree on these: some change each number (x², |x|), some leave it."""


@register("CumSum")
def cumulative_sum(node: ir.Node) -> Op:
    """Inputs: data, stored axis. ``exclusive`` leaves the element itself out, ``reverse`` starts at the end."""
    axis = static_ints(node, 1)
    if axis is None or len(axis) != 1:
        raise unsupported_setting(node, f"axis {axis}", "one stored axis is supported")
    exclusive, reverse = (bool(attribute(node, name, 0)) for name in ("exclusive", "reverse"))
    return Op(partial(_cumulative_sum, axis=axis[0] % rank_of(node), exclusive=exclusive, reverse=reverse))


def _refuse_integers(node: ir.Node) -> None:
    read = node.inputs[0]
    if node.op_type not in _OF_FRACTIONS or read is None or read.dtype is None:
        return
    if not read.dtype.is_floating_point():
        raise unsupported_setting(node, f"the type {read.dtype.name}", "cast to float first")


def _reduction(node: ir.Node) -> Op:
    """Reduce over stored axes; over all of them where none are given, unless ``noop_with_empty_axes``."""
    _refuse_integers(node)
    rank = rank_of(node)
    axes = tuple(axis % rank for axis in static_ints(node, 1) or [])
    if len(set(axes)) != len(axes):
        raise unsupported_setting(node, f"axes {axes}, one of them twice")
    if not axes and attribute(node, "noop_with_empty_axes", 0):
        if node.op_type in _CHANGES_EACH:
            raise unsupported_setting(node, "noop_with_empty_axes and no axes", "leave the node out, or give it axes")
        return Op(_keep)
    keep = bool(attribute(node, "keepdims", 1))
    return Op(partial(_reduce, reduction=_REDUCE[node.op_type], axes=axes or tuple(range(rank)), keep=keep))


def _reduce(x: Tensor, *_static: Tensor | None, reduction: Callable[..., Tensor], axes: Axes, keep: bool) -> Tensor:
    # torch adds integers up in int64; ONNX's result has the type of the data.
    return reduction(x, dim=axes, keepdim=keep).to(x.dtype)


def _keep(x: Tensor, *_static: Tensor | None) -> Tensor:
    return x


def _cumulative_sum(x: Tensor, *_static: Tensor | None, axis: int, exclusive: bool, reverse: bool) -> Tensor:
    data = x.flip(axis) if reverse else x
    total = data.cumsum(axis, dtype=x.dtype)
    total = total - data if exclusive else total
    return total.flip(axis) if reverse else total


for _name in _REDUCE:
    register(_name)(_reduction)
