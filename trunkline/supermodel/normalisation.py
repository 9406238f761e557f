"""BatchNormalization whose affine is mixed over options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class BatchNormWeights:
    """One instance of a BatchNormalization: four vectors ``[C]``."""

    scale: Tensor
    bias: Tensor
    mean: Tensor
    var: Tensor


def mixed_batch_norm(
    x: Tensor,
    shares: Sequence[Tensor],
    instances: Sequence[BatchNormWeights],
    *,
    epsilon: float,
    momentum: float,
    training: bool,
) -> Tensor:
    """Return Σ_k p_k·BN_k(x) in one normalisation; ``x`` is ``[N, C, ...]``.

    In training all instances see the same batch statistics, so mixing scale and bias is exact. In evaluation
    each has its own running statistics, and the affines that they amount to are mixed.

    Args:
        x: Input.
        shares: p_k for each instance.
        instances: Weights and running statistics; the statistics move in training.
        epsilon: Added to the variance.
        momentum: ONNX's: the share of the old running value that is kept.
        training: Whether batch statistics are used.
    """
    if training:
        return _by_batch(x, shares, instances, epsilon, momentum)
    scale, bias = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1])
    for share, one in zip(shares, instances, strict=True):
        slope = one.scale / torch.sqrt(one.var + epsilon)
        scale = scale + share * slope
        bias = bias + share * (one.bias - one.mean * slope)
    shape = (1, -1, *[1] * (x.dim() - 2))
    return x * scale.view(shape) + bias.view(shape)


def _by_batch(
    x: Tensor, shares: Sequence[Tensor], instances: Sequence[BatchNormWeights], epsilon: float, momentum: float
) -> Tensor:
    scale = sum(
        (p * one.scale for p, one in zip(shares[1:], instances[1:], strict=True)), shares[0] * instances[0].scale
    )
    bias = sum((p * one.bias for p, one in zip(shares[1:], instances[1:], strict=True)), shares[0] * instances[0].bias)
    mean, var = torch.zeros_like(instances[0].mean), torch.zeros_like(instances[0].var)
    y = F.batch_norm(x, mean, var, scale, bias, training=True, momentum=1.0, eps=epsilon)
    with torch.no_grad():
        for one in instances:
            one.mean.lerp_(mean, 1 - momentum)
            one.var.lerp_(var, 1 - momentum)
    return y
