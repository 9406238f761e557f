"""Give a fresh network numbers under which a wrong reading shows.

A fresh network hides mistakes: biases are 0, scales 1, running means 0, ConvNeXt's layer scales 1e-6, and exporters
store equal tensors once. Here every parameter that holds one number, or the numbers of another, gets noise, and every
BatchNormalization the statistics of noise that has passed through the network, moved a little.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo_check import noise
from zoo_check.makers import tensors_of

_IMAGES = 4
_NOISE = 0.1


@torch.no_grad()
def randomise(module: nn.Module, size: tuple[int, int]) -> None:
    """Change constant parameters and all running statistics in place; the module stays in evaluation mode."""
    torch.manual_seed(1)
    seen: set[bytes] = set()
    for parameter in module.parameters():
        content = parameter.cpu().numpy().tobytes()
        is_plain = _is_constant(parameter) or content in seen
        seen.add(content)
        if parameter.requires_grad and parameter.is_floating_point() and is_plain:
            parameter.add_(_NOISE * torch.randn_like(parameter) * parameter.abs().clamp(min=1.0))
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().momentum = 1.0
    module(images(_IMAGES, size))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        variance.mul_(torch.empty_like(variance).uniform_(0.8, 1.25)).clamp_(min=1e-3)
        mean.add_(_NOISE * torch.randn_like(mean) * variance.sqrt())


def images(count: int, size: Sequence[int]) -> Tensor:
    """Return ``count`` images ``[N, 3, H, W]``."""
    return torch.from_numpy(noise.images(count, size, seed=1))


@torch.no_grad()
def dependence(module: nn.Module, size: tuple[int, int]) -> float:
    """Return how far the outputs for two images lie apart, as a part of their magnitude; the least of all outputs.

    Near 0 the network computes the same for every image, and comparing outputs would prove nothing.
    """
    outputs = tensors_of(module(images(2, size)))
    return min(_apart(output) for output in outputs)


def _apart(output: Tensor) -> float:
    if not torch.isfinite(output).all():
        return 0.0
    return float((output[0] - output[1]).abs().max() / output.abs().max().clamp(min=1e-30))


def _is_constant(parameter: Tensor) -> bool:
    return bool((parameter == parameter.flatten()[0]).all())
