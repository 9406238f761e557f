"""A small network with every thing that is compared, its export, and what is right for it."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo_check.exported import Exported

SIZE = (24, 32)
LABEL = "tiny"


class Tiny(nn.Module):
    """Two stages with BatchNormalization, a scale that starts small, a classifier, and a layer that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12))
        self.scale = nn.Parameter(torch.full((12, 1, 1), 1e-6))
        self.classifier = nn.Linear(12, 5)
        self.unused = nn.Linear(3, 3)
        self.stem[0].weight.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.body(self.stem(image)) * self.scale).mean((2, 3)))


USED = 8 * 3 * 16 + 8 + 16 + 12 * 8 * 9 + 24 + 12 + 12 * 5 + 5
"""Parameters of Tiny that its outputs depend on."""


def facts_of(**changes: object) -> Exported:
    """Return what is right for Tiny, with changes."""
    known = {
        "parameters": USED,
        "stored": USED,
        "maps_known": True,
        "last": [12, 3, 4],
        "pyramid": [[8, 6, 8], [12, 3, 4]],
    }
    origin = {"architecture": "tiny", "maker": "torchvision", "family": "tiny", "kind": "cnn"}
    form = {"exporter": "torchscript", "opset": 13, "keeps_batchnorm": True, "size": list(SIZE), "batch": None}
    return Exported(**{"label": LABEL, **origin, **form, **known, **changes})  # type: ignore[arg-type]


def export_tiny(module: nn.Module, folder: Path, **changes: object) -> Path:
    """Write the export with facts beside it, and return the folder."""
    facts = facts_of(**changes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(1, 3, *SIZE),),
            folder / f"{facts.label}.onnx",
            dynamo=False,
            opset_version=13,
            dynamic_axes={"input": {0: "batch"}},
            input_names=["input"],
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    facts.write(folder)
    return folder
