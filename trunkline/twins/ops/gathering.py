"""Operators that read or write elements at positions held in a tensor."""

from __future__ import annotations

import math
from functools import partial

import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.graph.graph import array_of, attribute
from trunkline.text import quoted
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.static_inputs import input_at, is_stored, rank_of
from trunkline.twins.registry import register

_TORCH_REDUCTION = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
"""ONNX's names of reductions, and torch's."""


@register("Gather")
def gather(node: ir.Node) -> Op:
    """Inputs: data, integer indices of any shape, which takes the place of the axis."""
    axis = attribute(node, "axis", 0) % rank_of(node)
    indices = input_at(node, 1)
    if indices is None or not is_stored(node, 1):
        return Op(partial(_gather_computed, axis=axis))
    array = array_of(indices)
    return Op(partial(_gather, axis=axis, indices=tuple(int(i) for i in array.ravel()), shape=array.shape))


@register("GatherElements")
def gather_elements(node: ir.Node) -> Op:
    """Inputs: data, indices: one index along ``axis`` for each element of the result."""
    return Op(partial(_gather_elements, axis=attribute(node, "axis", 0) % rank_of(node)))


@register("GatherND")
def gather_nd(node: ir.Node) -> Op:
    """Inputs: data, indices ``[..., k]``: positions on the first k axes after ``batch_dims``."""
    return Op(partial(_gather_nd, batch=attribute(node, "batch_dims", 0)))


@register("ScatterElements")
def scatter_elements(node: ir.Node) -> Op:
    """Inputs: data, indices along ``axis``, updates of their shape; the result is the data with them put in."""
    axis = attribute(node, "axis", 0) % rank_of(node)
    return Op(partial(_scatter_elements, axis=axis, reduction=_reduction(node)))


@register("ScatterND")
def scatter_nd(node: ir.Node) -> Op:
    """Inputs: data, indices ``[..., k]`` on its first k axes, updates ``[..., rest of the data's shape]``."""
    return Op(partial(_scatter_nd, reduction=_reduction(node)))


def _reduction(node: ir.Node) -> str:
    wanted: str = attribute(node, "reduction", "none")
    if wanted != "none" and wanted not in _TORCH_REDUCTION:
        raise unsupported_setting(
            node, f"reduction {quoted(str(wanted))}", f"supported: none, {', '.join(_TORCH_REDUCTION)}"
        )
    return wanted


def _gather(x: Tensor, *_static: Tensor | None, axis: int, indices: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    # Negative indices count from the end, which a twin only knows here: the axis may be the batch.
    size = x.shape[axis]
    # An index without axes takes the axis away.
    if not shape:
        return x.select(axis, indices[0] % size)
    positions = torch.tensor([i % size for i in indices], device=x.device, dtype=torch.long)
    picked = x.index_select(axis, positions)
    return picked.reshape((*x.shape[:axis], *shape, *x.shape[axis + 1 :]))


def _gather_computed(x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    picked = x.index_select(axis, _wrapped(indices, x.shape[axis]).reshape(-1))
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _gather_elements(x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    return x.gather(axis, _wrapped(indices, x.shape[axis]))


def _gather_nd(x: Tensor, indices: Tensor, *, batch: int) -> Tensor:
    """Index with one tensor per axis; the batch axes, which data and indices share, are counted through."""
    common = [
        torch.arange(size, device=x.device).reshape(-1, *[1] * (indices.dim() - 2 - axis))
        for axis, size in enumerate(indices.shape[:batch])
    ]
    return x[(*common, *indices.long().unbind(-1))]


def _scatter_elements(x: Tensor, indices: Tensor, updates: Tensor, *, axis: int, reduction: str) -> Tensor:
    return _put(x, axis, _wrapped(indices, x.shape[axis]), updates, reduction)


def _scatter_nd(x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str) -> Tensor:
    """Number the places that the indices can name, and scatter whole rows to them."""
    depth = indices.shape[-1]
    sizes = x.shape[:depth]
    place = torch.zeros(indices.shape[:-1], dtype=torch.long, device=x.device)
    # scatter works along one axis, so the k indexed axes become a single one, counted row by row.
    for axis, size in enumerate(sizes):
        place = place * size + _wrapped(indices[..., axis], size)
    rows = x.reshape(math.prod(sizes), -1)
    where = place.reshape(-1, 1).expand(-1, rows.shape[1])
    return _put(rows, 0, where, updates.reshape(where.shape), reduction).reshape(x.shape)


def _put(x: Tensor, axis: int, indices: Tensor, updates: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return x.scatter(axis, indices, updates)
    # The data takes part in the reduction, in ONNX as by torch's default (include_self).
    return x.scatter_reduce(axis, indices, updates, _TORCH_REDUCTION[reduction])


def _wrapped(indices: Tensor, size: int) -> Tensor:
    """Count negative indices from the end."""
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)
