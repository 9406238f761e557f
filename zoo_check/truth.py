"""What is right for a module, asked of torch and of the package that built it: parameters, and feature maps.

Maps are shapes ``[C, H, W]``. A head should read the last one before the network pools or flattens; a head of several
reads the last at each stride from 4 to 32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo_check.makers import tensors_of
from zoo_check.plan import Architecture
from zoo_check.weights import images

Map = list[int]

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Maps:
    """The right default features.

    Attributes:
        known: Whether the package says where they are.
        last: The map for a head that reads one.
        last_too: What the classifier makes of it before it pools, by a convolution as in EfficientViT: as good.
        tokens: Whether the map stands in the network as a sequence only; to find none is as good then.
        pyramid: The maps for a head that reads several, the finest first; empty where that is not known.
    """

    known: bool
    last: Map | None = None
    last_too: Map | None = None
    tokens: bool = False
    pyramid: tuple[Map, ...] = ()


def used_parameters(module: nn.Module, size: tuple[int, int]) -> dict[str, Tensor]:
    """Return the parameters, shared ones once, that the outputs depend on; the frozen ones too."""
    frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        total = torch.stack([output.float().square().sum() for output in tensors_of(module(images(1, size)))]).sum()
        named = dict(module.named_parameters())
        gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    pairs = zip(named.items(), gradients, strict=True)
    return {name: parameter for (name, parameter), gradient in pairs if gradient is not None}


def batchnorm_calls(module: nn.Module, size: tuple[int, int]) -> int:
    """Return how many times a BatchNormalization is computed for an image."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    with _hooked([part for part in module.modules() if isinstance(part, _BatchNorm)], count):
        module(images(1, size))
    return calls


@torch.no_grad()
def maps_of(module: nn.Module, architecture: Architecture) -> Maps:
    """Return the right default features of ``module``."""
    if architecture.arguments.get("features_only") or architecture.variant == "backbone":
        return _own_outputs(module, architecture)
    if architecture.family in ("torchvision segmentation", "segmentation models", "scenes"):
        return _own_outputs(module, architecture)
    if architecture.family == "detection backbone":
        return Maps(known=False)
    if architecture.maker == "timm":
        return _of_timm(module, architecture)
    if architecture.maker == "pytorchcv":
        return _of_pytorchcv(module, architecture)
    return _at(module, architecture, architecture.last, architecture.stages)


def _own_outputs(module: nn.Module, architecture: Architecture) -> Maps:
    """A network that ends in feature maps is left whole; several of one size are no pyramid."""
    found = tensors_of(module(images(1, architecture.size)))
    widths = {output.shape[-1] for output in found}
    if any(output.dim() != 4 for output in found) or len(widths) < len(found):
        return Maps(known=False)
    maps = sorted((list(output.shape[1:]) for output in found), key=lambda shape: -shape[1] * shape[2])
    return Maps(known=True, last=maps[-1], pyramid=tuple(maps) if len(maps) > 1 else ())


def _of_timm(module: Any, architecture: Architecture) -> Maps:
    """The package says where its stages are, and computes up to the last map with ``forward_features``."""
    found = module.forward_features(images(1, architecture.size))
    last = _map(found, module, architecture, channels=int(module.num_features))
    if last is None:
        return Maps(known=False)
    info = getattr(module, "feature_info", [])
    entries: list[dict[str, Any]] = info.get_dicts() if hasattr(info, "get_dicts") else list(info)
    widths = {str(entry["module"]): int(entry["num_chs"]) for entry in entries if entry["reduction"] in STRIDES}
    maps = _assembled(module, architecture, last, widths)
    too = None if found.dim() == 3 else _in_head(module, found, last)
    return replace(maps, last_too=too, tokens=found.dim() == 3)


def _in_head(module: Any, features: Tensor, last: Map) -> Map | None:
    """Return the last map of the size of ``last`` that the classifier computes, if any."""
    found: list[Map] = []

    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and list(output.shape[2:]) == last[1:] != [1, 1]:
            found.append(list(output.shape[1:]))

    with _hooked([part for part in module.modules() if isinstance(part, nn.Conv2d)], note):
        module.forward_head(features)
    return found[-1] if found else None


def _of_pytorchcv(module: Any, architecture: Architecture) -> Maps:
    """Pytorchcv's classifiers are a sequence of stages called ``features`` that ends in the pooling."""
    features = getattr(module, "features", None)
    if architecture.family in ("poses", "detectors") or not isinstance(features, nn.Sequential):
        return Maps(known=False)
    names = [name for name, _ in features.named_children()]
    if not names or names[-1] != "final_pool":
        return Maps(known=False)
    stages = tuple(f"features.{name}" for name in names if name.startswith("stage"))
    if any(_ends_on_its_way_down(module.get_submodule(name)) for name in stages):
        stages = ()  # what such a stage gives belongs to the next one, and its own map has no name
    return _at(module, architecture, f"features.{names[-2]}", stages)


def _ends_on_its_way_down(stage: nn.Module) -> bool:
    """Whether the last layer of a stage, as HarDNet's and DiracNet's, has a stride, and no other."""
    layers = [part for part in stage.modules() if isinstance(part, (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d))]
    strided = [layer for layer in layers if np.max(layer.stride) > 1]
    return bool(strided) and strided == layers[-1:]


def _at(module: nn.Module, architecture: Architecture, last: str, stages: Sequence[str]) -> Maps:
    found = _outputs_at(module, architecture, [last]).get(last)
    if found is None or found.dim() != 4:  # not named, or a stage of several branches
        return Maps(known=False)
    return _assembled(module, architecture, list(found.shape[1:]), dict.fromkeys(stages, 0))


def _assembled(module: nn.Module, architecture: Architecture, last: Map, widths: dict[str, int]) -> Maps:
    """Return the last map, and of the stages before it the last at each stride; ``widths`` may say their channels."""
    by_stride: dict[int, Map] = {}
    names = _with_followers(module, list(widths))
    for name, found in _outputs_at(module, architecture, names).items():
        shape = _map(found, module, architecture, channels=widths.get(name, 0))
        if shape is not None:
            by_stride[_power_of_two(architecture.size[1] / shape[2])] = shape
    finer = [by_stride[stride] for stride in STRIDES if stride in by_stride and by_stride[stride][1] > last[1]]
    return Maps(known=True, last=last, pyramid=(*finer, last) if finer else ())


def _power_of_two(stride: float) -> int:
    """Return the stride that is meant: without padding, as in Inception, a map is a little smaller."""
    return int(2 ** round(math.log2(stride)))


def _with_followers(module: nn.Module, names: Sequence[str]) -> list[str]:
    """Return the stages in order, and those between: timm names one of several at a stride, not always the last."""
    between = {name.rpartition(".")[0] for name in names} & {"blocks", "features", "stages"}
    known = [name for name, _ in module.named_modules()]
    parts = [name for name in known if name in names or name.rpartition(".")[0] in between]
    first = next((index for index, name in enumerate(parts) if name in names), 0)
    return parts[first:]


def _outputs_at(module: nn.Module, architecture: Architecture, names: Sequence[str]) -> dict[str, Tensor]:
    """Return what these submodules give; timm names some stages that are no submodule, as HRNet's."""
    found: dict[str, Tensor] = {}
    parts = dict(module.named_modules())
    of = {parts[name]: name for name in names if name in parts}

    def note(part: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor):
            found[of[part]] = output

    with _hooked(list(of), note):
        module(images(1, architecture.size))
    return {name: found[name] for name in names if name in found}


@contextmanager
def _hooked(parts: Sequence[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    handles = [part.register_forward_hook(hook) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _map(found: object, module: nn.Module, architecture: Architecture, *, channels: int) -> Map | None:
    """Return ``[C, H, W]``, also of a tensor with its channels last and of a sequence; ``None`` of anything else."""
    if not isinstance(found, Tensor):
        return None
    if found.dim() == 4:
        first, rows, columns = found.shape[1:]
        return [columns, first, rows] if first != channels == columns else [first, rows, columns]
    if found.dim() != 3:
        return None
    positions, width = found.shape[1:]
    if positions == 1:  # a class token, no map
        return None
    positions -= int(getattr(module, "num_prefix_tokens", 0))
    height_of_image, width_of_image = architecture.size
    for rows in range(1, positions + 1):
        if rows * rows * width_of_image == positions * height_of_image:  # H·W positions, with the image's aspect
            return [width, rows, positions // rows]
    return None
