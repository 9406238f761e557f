"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

SHARED = Path(os.environ.get("TRUNKLINE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data, which is not part of the repository."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the development data folder is not here")
    return folder
