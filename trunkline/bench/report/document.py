"""Write a run's report: ``report.md`` and its pictures, from the JSON files of the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trunkline.bench.report.loss_picture import draw_losses, read_records
from trunkline.bench.report.sharing_picture import draw_plan, draw_policy
from trunkline.bench.report.tables import Table, accuracy_table, cost_table, latency_table, parity_table
from trunkline.errors import InvalidConfig
from trunkline.files import atomic_write

PREDICTIONS = "predictions.png"
PARTS = ("plan", "policy", "search", "train", "export", "bench", "delta")
"""JSON files of a run; each is there once its stage is done."""
PARTS = ("plan", "policy", "search", "train", "export", "bench", "delta")
"""JSON files of a run; each is there once its stage is done."""


@dataclass(frozen=True, slots=True)
class Report:
    """A written report.

    Attributes:
        path: The Markdown file.
        tables: Its tables.
        pictures: Its PNG files.
    """

    path: Path
    tables: tuple[Table, ...]
    pictures: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return paths and tables as plain data."""
        tables = [asdict(table) for table in self.tables]
        return {"report": str(self.path), "pictures": [str(path) for path in self.pictures], "tables": tables}


def write_report(run: Path) -> Report:
    """Write the report of whatever stages the run has finished.

    Raises:
        InvalidConfig: The folder holds no run.
        WorkFailed: The disk is full.
    """
    found = {name: _read(run / f"{name}.json") for name in PARTS}
    if not any(found.values()):
        raise InvalidConfig("there is no run in this folder", place=str(run), advice="`trunkline run` makes one")
    tables = _tables(run, found)
    pictures = _pictures(run, found)
    path = run / "report.md"
    atomic_write(path, _document(run, found, tables, pictures).encode())
    return Report(path, tuple(tables), tuple(run / name for name in pictures.values()))


def _tables(run: Path, found: Mapping[str, Any]) -> list[Table]:
    tables = []
    if found["search"]:
        tables.append(cost_table(found["search"]))
    models = [found["train"], *(_read(path) for path in sorted(run.glob("train-*.json")))]
    if found["train"]:
        tables.append(accuracy_table([model for model in models if model], found["delta"] or {}))
    if found["export"]:
        tables.append(parity_table(found["export"]))
    if found["bench"]:
        tables.append(latency_table(found["bench"]))
    return tables


def _pictures(run: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw what there is to draw; returns file names by caption."""
    pictures = {}
    if found["plan"]:
        draw_plan(found["plan"], run / "sharing.png")
        pictures["Who shares what"] = "sharing.png"
    if found["policy"]:
        draw_policy(found["policy"], run / "policy.png")
        pictures["What the search learned"] = "policy.png"
    records = [record for stage in ("search", "train") for record in read_records(run / stage / "metrics.jsonl")]
    if draw_losses(records, run / "losses.png"):
        pictures["Losses"] = "losses.png"
    if (run / PREDICTIONS).is_file():
        pictures["Predictions on validation images"] = PREDICTIONS
    return pictures


def _document(run: Path, found: Mapping[str, Any], tables: list[Table], pictures: Mapping[str, str]) -> str:
    plan = found["plan"] or {"tasks": [], "backbone": {"name": run.name}, "method": "–"}
    verdict = ""
    if found["export"]:
        passed = found["export"]["parity"]["passed"]
        verdict = f"Parity of `model.onnx`: **{'passed' if passed else 'failed'}**.\n"
    parts = [
        f"# {plan['backbone']['name']}: {', '.join(plan['tasks'])}\n",
        f"Method: {plan['method']}. {verdict}",
        *(table.to_markdown() for table in tables),
        *(f"### {caption}\n\n![{caption}]({name})\n" for caption, name in pictures.items()),
    ]
    return "\n".join(parts)


def _read(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidConfig(f"this is not JSON: {error}", place=str(path)) from error
