"""Operators that move, cut and join, and compute nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.graph.graph import attribute, shape_of
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.static_inputs import input_at, rank_of, static_ints
from trunkline.twins.registry import register


@register("Concat")
def concat(node: ir.Node) -> Op:
    """Join any number of inputs along one axis."""
    return Op(partial(_concat, axis=attribute(node, "axis")))


@register("Split")
def split(node: ir.Node) -> Op:
    """Cut one axis into as many outputs as the node has; without sizes, evenly, the last one smaller."""
    axis = attribute(node, "axis", 0) % rank_of(node)
    sizes = static_ints(node, 1) or _even_sizes(node, axis)
    return Op(partial(_split, sizes=tuple(sizes), axis=axis))


@register("Reshape")
def reshape(node: ir.Node) -> Op:
    """A size of 0 keeps the input's (unless ``allowzero``), a size of −1 is what is left."""
    sizes = static_ints(node, 1)
    if sizes is None:
        raise unsupported_setting(node, "no shape")
    return Op(partial(_reshape, sizes=tuple(sizes), keep_zeros=bool(attribute(node, "allowzero", 0))))


@register("Flatten")
def flatten(node: ir.Node) -> Op:
    """Merge the axes before ``axis`` into one, and those from it on into another."""
    axis = attribute(node, "axis", 1)
    return Op(partial(_flatten, axis=axis + rank_of(node) if axis < 0 else axis))


@register("Transpose")
def transpose(node: ir.Node) -> Op:
    """Reorder the axes; without ``perm``, reverse them."""
    order = attribute(node, "perm") or list(reversed(range(rank_of(node))))
    return Op(partial(_permute, order=tuple(order)))


@register("Squeeze")
def squeeze(node: ir.Node) -> Op:
    """Drop axes of size 1: the given ones, or all that the Graph knows to be 1."""
    axes = static_ints(node, 1)
    if axes is None:
        data = node.inputs[0]
        assert data is not None
        # The batch is free, so it stays, also in a run of one image.
        axes = [axis for axis, size in enumerate(shape_of(data)) if size == 1]
    return Op(partial(_squeeze, axes=tuple(axes)))


@register("Unsqueeze")
def unsqueeze(node: ir.Node) -> Op:
    """Insert axes of size 1; the axes are counted in the output."""
    axes = static_ints(node, 1) or []
    rank = rank_of(node) + len(axes)
    return Op(partial(_unsqueeze, axes=tuple(sorted(axis % rank for axis in axes))))


@register("Expand")
def expand(node: ir.Node) -> Op:
    """Broadcast to a shape, in both directions."""
    return Op(partial(_expand, sizes=tuple(static_ints(node, 1) or ())))


@register("Tile")
def tile(node: ir.Node) -> Op:
    """Repeat whole axes; input 1 holds the number of times for each axis."""
    return Op(partial(_tile, times=tuple(static_ints(node, 1) or ())))


@register("DepthToSpace")
def depth_to_space(node: ir.Node) -> Op:
    """``[N, C·b², H, W]`` to ``[N, C, H·b, W·b]``; in mode ``DCR`` the blocks are outermost, in ``CRD`` C."""
    blocks_first = attribute(node, "mode", "DCR") == "DCR"
    return Op(partial(_depth_to_space, block=attribute(node, "blocksize"), blocks_first=blocks_first))


@register("SpaceToDepth")
def space_to_depth(node: ir.Node) -> Op:
    """``[N, C, H·b, W·b]`` to ``[N, C·b², H, W]``, blocks outermost."""
    return Op(partial(_space_to_depth, block=attribute(node, "blocksize")))


def _even_sizes(node: ir.Node, axis: int) -> Sequence[int]:
    """Return the sizes of equal parts; by ONNX's rule the last one is smaller where they do not come out even."""
    data = input_at(node, 0)
    assert data is not None
    size = shape_of(data)[axis]
    if size is None:
        raise unsupported_setting(node, "the batch axis cut into equal parts", "give the sizes of the parts")
    part = math.ceil(size / attribute(node, "num_outputs", len(node.outputs)))
    return [min(part, size - start) for start in range(0, size, part)]


def _concat(*inputs: Tensor, axis: int) -> Tensor:
    return torch.cat(inputs, dim=axis)


def _split(x: Tensor, *_static: Tensor | None, sizes: tuple[int, ...], axis: int) -> tuple[Tensor, ...]:
    return torch.split(x, list(sizes), dim=axis)


def _reshape(x: Tensor, *_static: Tensor | None, sizes: tuple[int, ...], keep_zeros: bool) -> Tensor:
    if keep_zeros:
        return x.reshape(sizes)
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)])


def _flatten(x: Tensor, *, axis: int) -> Tensor:
    # The product of no sizes is 1: axis 0 gives a single row.
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def _permute(x: Tensor, *, order: tuple[int, ...]) -> Tensor:
    return x.permute(order)


def _squeeze(x: Tensor, *_static: Tensor | None, axes: tuple[int, ...]) -> Tensor:
    return x.squeeze(axes)


def _unsqueeze(x: Tensor, *_static: Tensor | None, axes: tuple[int, ...]) -> Tensor:
    # Ascending, so that each axis is inserted where the output will have it.
    for axis in axes:
        x = x.unsqueeze(axis)
    return x


def _expand(x: Tensor, *_static: Tensor | None, sizes: tuple[int, ...]) -> Tensor:
    # ONNX broadcasts in both directions: a 1 in the shape keeps the input's size, which torch's expand would refuse.
    rank = max(x.dim(), len(sizes))
    own = [1] * (rank - x.dim()) + list(x.shape)
    wanted = [1] * (rank - len(sizes)) + list(sizes)
    return x.expand([size if want == 1 else want for size, want in zip(own, wanted, strict=True)])


def _tile(x: Tensor, *_static: Tensor | None, times: tuple[int, ...]) -> Tensor:
    return x.repeat(times)


def _depth_to_space(x: Tensor, *, block: int, blocks_first: bool) -> Tensor:
    n, c, h, w = x.shape
    depth = c // block**2
    if blocks_first:
        parts = x.reshape(n, block, block, depth, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, depth, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, depth, h * block, w * block)


def _space_to_depth(x: Tensor, *, block: int) -> Tensor:
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * block**2, h // block, w // block)
