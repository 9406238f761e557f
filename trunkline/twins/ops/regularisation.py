"""Operators that matter in training only."""

from __future__ import annotations

from functools import partial

import onnx_ir as ir
import torch.nn.functional as F
from torch import Tensor

from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.static_inputs import static_number
from trunkline.twins.registry import register


@register("Dropout")
def dropout(node: ir.Node) -> Op:
    """Drops with probability ``ratio`` in training, drawing from torch's own generator; else the identity."""
    ratio = static_number(node, 1, 0.5)
    # What is kept is scaled by 1 / (1 - ratio), which a ratio of 1 does not have.
    if not 0.0 <= ratio < 1.0:
        raise unsupported_setting(node, f"ratio {ratio}", "the ratio must be at least 0 and below 1")
    return Op(partial(_dropout, ratio=ratio), modal=True)


@register("Identity")
def identity(node: ir.Node) -> Op:
    """The input itself."""
    return Op(_identity)


def _dropout(x: Tensor, *_static: Tensor | None, ratio: float, training: bool) -> Tensor:
    return F.dropout(x, ratio, training)


def _identity(x: Tensor) -> Tensor:
    return x
