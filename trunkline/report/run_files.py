"""What a run's folder holds for a report: the JSON files of the stages that are done, read and checked once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig
from trunkline.report.tables import Table, accuracy_table, cost_table, latency_table, parity_table, precision_table
from trunkline.report.trade_off import Way, trade_off_table, ways
from trunkline.report.training import how_trained
from trunkline.text import escaped

PARTS = ("plan", "policy", "search", "train", "export", "precisions", "bench", "delta")
"""JSON files of a run; each is there once its stage is done."""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The content of a run's JSON files.

    Attributes:
        folder: The run's folder.
        found: The content of each of :data:`PARTS`; ``None`` where its stage is not done.
        models: What the trainings wrote, the run's model first; empty where it is not trained yet.
        compared: What was both trained next to single-task models and measured next to them.
    """

    folder: Path
    found: Mapping[str, Any]
    models: tuple[Any, ...]
    compared: tuple[Way, ...]

    def tables(self) -> list[Table]:
        """Return a table for each stage that is done, the comparison of all ways of sharing first."""
        found, tables = self.found, []
        if self.compared:
            tables.append(trade_off_table(self.compared, found["bench"]))
        if found["search"]:
            with in_form(self.folder / "search.json"):
                tables.append(cost_table(found["search"]))
        if self.models:
            with in_form(self.folder / "train*.json"):
                tables.append(accuracy_table(self.models, found["delta"] or {}))
        if found["export"]:
            with in_form(self.folder / "export.json"):
                tables.append(parity_table(found["export"]))
        if found["precisions"]:
            with in_form(self.folder / "precisions.json"):
                tables.append(precision_table(found["precisions"]))
        if found["bench"]:
            with in_form(self.folder / "bench.json"):
                tables.append(latency_table(found["bench"]))
        return tables

    def trained(self) -> list[str]:
        """Return how its models were trained, in sentences."""
        if not self.models:
            return []
        with in_form(self.folder / "train*.json"):
            return how_trained(self.models)


def read_run(folder: Path) -> RunFiles:
    """Read the JSON files of a run.

    Raises:
        InvalidConfig: The folder holds no run, or a file is not what Trunkline writes.
    """
    found = {name: json_if_any(folder / f"{name}.json") for name in PARTS}
    if not any(found.values()):
        raise InvalidConfig("there is no run in this folder", place=str(folder), advice="`trunkline run` makes one")
    # Baselines; sorted, so that equal runs give equal reports.
    baselines = sorted(folder.glob("train-*.json")) if found["train"] else []
    models = [found["train"], *map(json_if_any, baselines)] if found["train"] else []
    compared: list[Way] = []
    if models and found["bench"]:
        with in_form(folder / "bench.json"):
            compared = ways(models, found["delta"] or {}, found["bench"])
    return RunFiles(folder, found, tuple(models), tuple(compared))


@contextmanager
def in_form(path: Path) -> Iterator[None]:
    """Raise InvalidConfig, naming the file, where its JSON has another form."""
    try:
        yield
    # What it takes to find that out: a missing key, a list or None for an object, text for a number.
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, ArithmeticError) as error:
        what = escaped(f"{type(error).__name__}: {error}")
        advice = "run the stage again; it goes on from its checkpoint"
        raise InvalidConfig(f"is not what Trunkline writes ({what})", place=str(path), advice=advice) from error


def sessions_of(folder: Path) -> list[dict[str, Any]]:
    """Return the starts of a stage, in order; empty where its folder says nothing of them.

    Raises:
        InvalidConfig: Its ``sessions.json`` is not what Trunkline writes.
    """
    path = folder / "sessions.json"
    content = json_if_any(path)
    if content is None:
        return []
    with in_form(path):
        return [dict(session) for session in content["sessions"]]


def json_if_any(path: Path) -> Any:
    """Return the content of a JSON file, ``None`` where there is none.

    Raises:
        InvalidConfig: It is not JSON.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidConfig(f"this is not JSON: {error}", place=str(path)) from error
