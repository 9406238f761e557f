"""Reductions over axes that are known when the twin is built."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.ingest.graph import attribute
from trunkline.supermodel.twins.registry import Op, register
from trunkline.supermodel.twins.settings import ints, rank_of

_REDUCE: dict[str, Callable[..., Tensor]] = {
    "ReduceMax": torch.amax,
    "ReduceMean": torch.mean,
    "ReduceMin": torch.amin,
    "ReduceSum": torch.sum,
}


def _reduction(node: ir.Node) -> Op:
    axes = ints(node, 1) or []
    if not axes and attribute(node, "noop_with_empty_axes", 0):
        return Op(_keep)
    over = tuple(axes) or tuple(range(rank_of(node)))
    keep = bool(attribute(node, "keepdims", 1))
    return Op(partial(_reduce, reduction=_REDUCE[node.op_type], axes=over, keep=keep))


def _reduce(
    x: Tensor, *_static: Tensor | None, reduction: Callable[..., Tensor], axes: tuple[int, ...], keep: bool
) -> Tensor:
    return reduction(x, dim=axes, keepdim=keep)


def _keep(x: Tensor, *_static: Tensor | None) -> Tensor:
    return x


for _name in _REDUCE:
    register(_name)(_reduction)
