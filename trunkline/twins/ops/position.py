"""The position of the largest or smallest element along an axis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.graph.graph import attribute
from trunkline.twins.op import Op
from trunkline.twins.ops.common.static_inputs import rank_of
from trunkline.twins.registry import register

_SEARCH: dict[str, Callable[..., Tensor]] = {"ArgMax": torch.argmax, "ArgMin": torch.argmin}


def _search(node: ir.Node) -> Op:
    """The position along ``axis``; of equal elements the first, or the last with ``select_last_index``."""
    settings = {
        "search": _SEARCH[node.op_type],
        "axis": attribute(node, "axis", 0) % rank_of(node),
        "keep": bool(attribute(node, "keepdims", 1)),
        "last": bool(attribute(node, "select_last_index", 0)),
    }
    return Op(partial(_position, **settings))


def _position(x: Tensor, *, search: Callable[..., Tensor], axis: int, keep: bool, last: bool) -> Tensor:
    # torch finds the first of equal elements, so the last one is looked for from the end.
    if not last:
        return search(x, dim=axis, keepdim=keep)
    return x.shape[axis] - 1 - search(x.flip(axis), dim=axis, keepdim=keep)


for _name in _SEARCH:
    register(_name)(_search)
