"""The table of architectures, a file for each package that builds them."""

from __future__ import annotations

from zoo_check.architectures import (
    pytorchcv,
    segmentation,
    timm_convolutions,
    timm_hybrids,
    timm_transformers,
    torchvision,
    yolo,
)
from zoo_check.plan import Architecture, Export, exports

ARCHITECTURES: tuple[Architecture, ...] = (
    *torchvision.ARCHITECTURES,
    *timm_convolutions.ARCHITECTURES,
    *timm_hybrids.ARCHITECTURES,
    *timm_transformers.ARCHITECTURES,
    *pytorchcv.ARCHITECTURES,
    *segmentation.ARCHITECTURES,
    *yolo.ARCHITECTURES,
)


def planned() -> list[Export]:
    """Return every export of the table."""
    return [export for architecture in ARCHITECTURES for export in exports(architecture)]


def families() -> list[str]:
    """Return the names of the families."""
    return sorted({architecture.family for architecture in ARCHITECTURES})
