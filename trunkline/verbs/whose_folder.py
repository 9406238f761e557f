"""Runs and comparisons have folders of their own: each would replace files of the other."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import InvalidConfig
from trunkline.pipeline.project import COMPARISON, PLAN, SEARCH, TRAIN

_OF_RUNS = (PLAN, SEARCH, TRAIN)
_OF_COMPARISONS = (COMPARISON, "runs")


def refuse_run(out: Path) -> None:
    """Raise InvalidConfig where a folder holds a run."""
    _refuse(out, _OF_RUNS, "a run")


def refuse_comparison(out: Path) -> None:
    """Raise InvalidConfig where a folder holds a comparison."""
    _refuse(out, _OF_COMPARISONS, "a comparison")


def _refuse(out: Path, names: tuple[str, ...], what: str) -> None:
    found = [name for name in names if (out / name).exists()]
    if found:
        raise InvalidConfig(f"holds {what}: it has {found[0]}", place=str(out), advice="use another folder")
