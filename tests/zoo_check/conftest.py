"""Makes the package at the repository's root importable, and a small export to check."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture
def tiny() -> nn.Module:
    from tiny_export import Tiny

    torch.manual_seed(0)
    return Tiny().eval()


@pytest.fixture
def exported(tiny: nn.Module, tmp_path: Path) -> Path:
    """The folder with the export of ``tiny``."""
    from tiny_export import SIZE, export_tiny

    from zoo_check.weights import randomise

    randomise(tiny, SIZE)
    return export_tiny(tiny, tmp_path)
