"""MaxUnpool: every number goes back to where its maximum was found; all else is zero."""

from __future__ import annotations

import math
from functools import partial

import onnx_ir as ir
from torch import Tensor

from trunkline.graph.graph import shape_of
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.registry import register


@register("MaxUnpool")
def max_unpool(node: ir.Node) -> Op:
    """Inputs: data ``[N, C, ...]`` and, of the same shape, positions in the flattened result.

    Raises:
        UnsupportedOp: The result's shape is computed or fixes the batch size.
    """
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        raise unsupported_setting(node, "output_shape", "leave it out: kernel_shape, strides and pads say the size")
    # The reader has inferred the result's shape from kernel, strides and pads; only its batch is free.
    sizes = tuple(size or 1 for size in shape_of(node.outputs[0])[1:])
    return Op(partial(_max_unpool, sizes=sizes))


def _max_unpool(x: Tensor, positions: Tensor, *, sizes: tuple[int, ...]) -> Tensor:
    # ONNX counts positions over the whole result, batch included.
    empty = x.new_zeros(x.shape[0] * math.prod(sizes))
    return empty.scatter(0, positions.flatten(), x.flatten()).reshape(x.shape[0], *sizes)
