"""Normalisation by batch, by instance, and across neighbouring channels."""

from __future__ import annotations

from functools import partial

import onnx_ir as ir
import torch.nn.functional as F
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.ingest.graph import attribute, name_of
from trunkline.supermodel.twins.registry import Op, refuse, register


@register("BatchNormalization")
def batch_normalization(node: ir.Node) -> Op:
    """Inputs: data ``[N, C, ...]``, then scale, bias, running mean and running variance, each ``[C]``.

    In training the batch's own statistics are used, and the running tensors that are handed in are updated in
    place: ``running = momentum · running + (1 − momentum) · batch``, with ONNX's sense of momentum and, as in
    torch, the unbiased variance. In evaluation the running statistics are used.
    """
    if attribute(node, "training_mode", 0):
        raise refuse(node, "training_mode=1", "export the model in evaluation mode; Trunkline trains it all the same")
    momentum, epsilon = attribute(node, "momentum", 0.9), attribute(node, "epsilon", 1e-5)
    return Op(partial(_batch_norm, momentum=momentum, epsilon=epsilon, name=name_of(node)), modal=True)


@register("InstanceNormalization")
def instance_normalization(node: ir.Node) -> Op:
    """Inputs: data ``[N, C, ...]``, scale ``[C]``, bias ``[C]``."""
    return Op(partial(_instance_norm, epsilon=attribute(node, "epsilon", 1e-5)))


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
    if training and x.numel() == x.shape[1]:
        raise InvalidConfig(
            f"BatchNormalization cannot train on one value per channel (its input is {list(x.shape)})",
            place=name,
            advice="use a batch of two images or more",
        )
    return F.batch_norm(x, mean, var, scale, bias, training, 1.0 - momentum, epsilon)


def _instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


def _lrn(x: Tensor, *, size: int, alpha: float, beta: float, bias: float) -> Tensor:
    """ONNX puts the odd neighbour of an even ``size`` after the channel, torch before it."""
    before = (size - 1) // 2
    channels = x.shape[1]
    squares = F.pad(x.square(), [0, 0] * (x.dim() - 2) + [before, size - 1 - before])
    total = squares.narrow(1, 0, channels)
    for shift in range(1, size):
        total = total + squares.narrow(1, shift, channels)
    return x / (bias + alpha / size * total).pow(beta)
