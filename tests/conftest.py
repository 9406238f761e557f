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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that does not say its kind."""
    kinds = ("golden", "properties", "parity", "abuse")
    for item in items:
        is_example = isinstance(item, pytest.DoctestItem)
        if not is_example and not any(item.get_closest_marker(kind) for kind in kinds):
            raise pytest.UsageError(f"{item.nodeid} has none of the markers {', '.join(kinds)}; see CONTRIBUTING.md")
