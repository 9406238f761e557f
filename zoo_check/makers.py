"""Build an architecture without pretrained weights, and say which of its feature maps a head should read.

Runs where the packages are: in the zoo's own environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo_check.plan import Architecture


def make(architecture: Architecture) -> nn.Module:
    """Return the module in evaluation mode, with its start weights."""
    torch.manual_seed(0)
    module = _MAKERS[architecture.maker](architecture)
    return module.eval()


def _torchvision(architecture: Architecture) -> nn.Module:
    import torchvision
    from torchvision.models.detection import backbone_utils

    name, arguments = architecture.name, dict(architecture.arguments)
    narrow = arguments.pop("narrow", None)
    if name == "mobilenet_backbone":  # with its frozen norms a fresh network's maps fade to nothing
        arguments["norm_layer"] = nn.BatchNorm2d
    if name.endswith("_backbone"):
        made: nn.Module = _Maps(getattr(backbone_utils, name)(weights=None, trainable_layers=5, **arguments))
    elif name == "VisionTransformer":
        made = torchvision.models.VisionTransformer(**arguments)
    elif architecture.family == "torchvision segmentation":
        segmenter = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=21)
        made = _Maps(segmenter, only="out")
    elif name in ("googlenet", "inception_v3"):
        made = torchvision.models.get_model(name, weights=None, init_weights=True)
    else:
        made = torchvision.models.get_model(name, weights=None, **arguments)
    if isinstance(narrow, int):
        made.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, narrow), nn.ReLU(), nn.Dropout(), nn.Linear(narrow, 10))
    return made


def _timm(architecture: Architecture) -> nn.Module:
    import timm
    from timm.models import get_pretrained_cfg

    arguments = dict(architecture.arguments)
    settings = get_pretrained_cfg(architecture.name)
    if settings is not None and settings.fixed_input_size:
        arguments["img_size"] = architecture.size
    made: nn.Module = timm.create_model(architecture.name, pretrained=False, **arguments)
    return made


def _pytorchcv(architecture: Architecture) -> nn.Module:
    from pytorchcv.model_provider import get_model

    arguments = {"in_size": architecture.size} if _takes_size(architecture.name) else {}
    made: nn.Module = get_model(architecture.name, pretrained=False, **arguments)
    return made


def _takes_size(name: str) -> bool:
    """Networks that resize maps to the image's size are told that size; without it they compute it."""
    return name.endswith(("_cityscapes", "_voc", "_coco", "_celebamaskhq")) or name.startswith(("resattnet", "fishnet"))


def _segmentation(architecture: Architecture) -> nn.Module:
    import segmentation_models_pytorch as smp

    made: nn.Module = getattr(smp, architecture.name)(encoder_weights=None, classes=5, **architecture.arguments)
    return made


def _ultralytics(architecture: Architecture) -> nn.Module:
    from ultralytics.nn import tasks

    kinds = {"-cls": tasks.ClassificationModel, "-seg": tasks.SegmentationModel}
    kind = next((found for end, found in kinds.items() if f"{end}.yaml" in architecture.name), tasks.DetectionModel)
    made: nn.Module = kind(architecture.name, verbose=False)
    until = architecture.arguments.get("until")
    if isinstance(until, int):
        return _Backbone(made, until)
    for part in made.modules():
        if hasattr(part, "export"):  # what ultralytics' own exporter sets: the head then writes boxes and scores
            part.export, part.format = True, "onnx"  # type: ignore[assignment]
    return made


_MAKERS: Mapping[str, Callable[[Architecture], nn.Module]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "pytorchcv": _pytorchcv,
    "segmentation": _segmentation,
    "ultralytics": _ultralytics,
}


class _Maps(nn.Module):
    """A module that returns a dictionary of maps, as one that returns them in order."""

    def __init__(self, inner: nn.Module, *, only: str = "") -> None:
        super().__init__()
        self.inner, self.only = inner, only

    def forward(self, image: Tensor) -> Any:
        found = self.inner(image)
        return found[self.only] if self.only else tuple(found.values())


class _Backbone(nn.Module):
    """A YOLO detector's layers up to the pyramid pooling or what comes after; gives the maps at strides 8, 16, 32."""

    def __init__(self, detector: nn.Module, until: int) -> None:
        super().__init__()
        layers: Any = detector.model
        self.layers = nn.ModuleList(layers[index] for index in range(until + 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        by_size: dict[int, Tensor] = {}
        found = image
        for layer in self.layers:
            found = layer(found)
            by_size[found.shape[-1]] = found
        return tuple(by_size[size] for size in sorted(by_size, reverse=True)[-3:])


def tensors_of(outputs: object) -> list[Tensor]:
    """Return the tensors of what a module returned, in the order exporters write them."""
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    assert isinstance(outputs, Sequence)
    return [tensor for item in outputs for tensor in tensors_of(item)]
