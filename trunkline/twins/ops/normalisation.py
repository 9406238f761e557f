"""Normalisation by batch, by instance, by layer, by a norm, and across neighbouring channels."""

from __future__ import annotations

from functools import partial

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import attribute, name_of
from trunkline.text import shape_text
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.static_inputs import rank_of
from trunkline.twins.registry import register


@register("BatchNormalization")
def batch_normalization(node: ir.Node) -> Op:
    """Inputs: data ``[N, C, ...]``, then scale, bias, running mean and running variance, each ``[C]``.

    In training the batch's own statistics are used, and the running tensors that are handed in are updated in
    place: ``running = momentum · running + (1 − momentum) · batch``, with ONNX's sense of momentum and, as in
    torch, the unbiased variance. In evaluation the running statistics are used.
    """
    if attribute(node, "training_mode", 0):
        raise unsupported_setting(
            node, "training_mode=1", "export the model in evaluation mode; Trunkline trains it all the same"
        )
    momentum, epsilon = attribute(node, "momentum", 0.9), attribute(node, "epsilon", 1e-5)
    return Op(partial(_batch_norm, momentum=momentum, epsilon=epsilon, name=name_of(node)), modal=True)


@register("InstanceNormalization")
def instance_normalization(node: ir.Node) -> Op:
    """Inputs: data ``[N, C, ...]``, scale ``[C]``, bias ``[C]``."""
    return Op(partial(_instance_norm, epsilon=attribute(node, "epsilon", 1e-5)))


@register("LayerNormalization")
def layer_normalization(node: ir.Node) -> Op:
    """Inputs: data, scale, bias, which broadcast to the axes from ``axis`` on (Ba et al. 2016).

    Mean and inverse deviation are further outputs, computed where something reads them.
    """
    if attribute(node, "stash_type", 1) != 1:
        raise unsupported_setting(
            node, f"stash_type {attribute(node, 'stash_type')}", "statistics are taken in float32 (1)"
        )
    axis, epsilon = attribute(node, "axis", -1) % rank_of(node), attribute(node, "epsilon", 1e-5)
    function = _layer_norm_and_statistics if len(node.outputs) > 1 else _layer_norm
    return Op(partial(function, axis=axis, epsilon=epsilon))


@register("LpNormalization")
def lp_normalization(node: ir.Node) -> Op:
    """Divide by the sum of magnitudes (``p`` 1) or the Euclidean norm (2) along one axis; zeros stay zeros."""
    p = attribute(node, "p", 2)
    if p not in (1, 2):
        raise unsupported_setting(node, f"p {p}", "supported: 1, 2")
    return Op(partial(_lp_norm, p=p, axis=attribute(node, "axis", -1)))


@register("LRN")
def lrn(node: ir.Node) -> Op:
    """Local response normalisation across channels (Krizhevsky et al. 2012, section 3.3)."""
    settings = {
        "size": attribute(node, "size"),
        "alpha": attribute(node, "alpha", 1e-4),
        "beta": attribute(node, "beta", 0.75),
        "bias": attribute(node, "bias", 1.0),
    }
    return Op(partial(_lrn, **settings))


def _batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    momentum: float,
    epsilon: float,
    name: str,
    training: bool,
) -> Tensor:
    if training:
        require_spread(x, place=name)
    # torch's momentum is the weight of the new statistics, ONNX's that of the old ones.
    return F.batch_norm(x, mean, var, scale, bias, training, 1.0 - momentum, epsilon)


def require_spread(x: Tensor, *, place: str) -> None:
    """Refuse to normalise ``[N, C, ...]`` by its own statistics where a channel has a single value.

    Raises:
        InvalidConfig: One image on a map of one pixel.
    """
    if x.numel() == x.shape[1]:
        raise InvalidConfig(
            f"BatchNormalization cannot train on one value per channel (its input is {shape_text(x.shape)})",
            place=place,
            advice="use a batch of two images or more",
        )


def _instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float) -> Tensor:
    """Normalise each map by itself. F.instance_norm would refuse a map of one pixel, whose result is the bias."""
    return torch.instance_norm(x, scale, bias, None, None, True, 0.0, epsilon, torch.backends.cudnn.enabled)


def _layer_norm(x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int, epsilon: float) -> Tensor:
    sizes = x.shape[axis:]
    # F.layer_norm takes weights of exactly these sizes; ONNX's broadcast to them.
    if scale.shape == sizes and (bias is None or bias.shape == sizes):
        return F.layer_norm(x, sizes, scale, bias, epsilon)
    y = F.layer_norm(x, sizes, eps=epsilon) * scale
    return y if bias is None else y + bias


def _layer_norm_and_statistics(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result, mean and inverse deviation; the normalised axes stay with size 1."""
    # ONNX: stash_type 1 means that the statistics are float32, whatever the data is.
    variance, mean = torch.var_mean(x.float(), tuple(range(axis, x.dim())), correction=0, keepdim=True)
    inverse = (variance + epsilon).rsqrt()
    return _layer_norm(x, scale, bias, axis=axis, epsilon=epsilon), mean, inverse


def _lp_norm(x: Tensor, *, p: int, axis: int) -> Tensor:
    norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    # Zeros divided by their norm would not be numbers; runtimes leave them zero.
    return x / torch.where(norm == 0, 1.0, norm)


def _lrn(x: Tensor, *, size: int, alpha: float, beta: float, bias: float) -> Tensor:
    """Divide by the squares around. ONNX has the odd neighbour of an even ``size`` behind the channel, torch before."""
    channels = x.shape[1]
    # A window may be wider than all channels together.
    before, behind = min((size - 1) // 2, channels - 1), min(size // 2, channels - 1)
    squares = F.pad(x.square(), [0, 0] * (x.dim() - 2) + [before, behind])
    total = squares.narrow(1, 0, channels)
    # Each shift of the padded squares gives every channel one more neighbour.
    for shift in range(1, before + 1 + behind):
        total = total + squares.narrow(1, shift, channels)
    return x / (bias + alpha / size * total).pow(beta)
