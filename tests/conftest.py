"""What every test may use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# With importlib, pytest adds no folder to the path: the repository (for the tools beside the package), what several
# rooms share, and what the tests of one room share.
TESTS = Path(__file__).resolve().parent
WITH_HELPERS = ("helpers", "abuse", "graph", "ingest", "train", "twins")
sys.path[:0] = [str(TESTS.parent), *(str(TESTS / room) for room in WITH_HELPERS)]

# The gate gives one answer for one commit: Hypothesis draws what the test's own text says. `make test-slow` explores.
settings.register_profile("gate", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

os.environ.setdefault("MPLBACKEND", "Agg")

SHARED = Path(os.environ.get("TRUNKLINE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data, which is not part of the repository."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the development data folder is not here")
    return folder
