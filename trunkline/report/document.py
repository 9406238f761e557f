"""Write a run's report: ``report.md`` and its pictures, from the JSON files of the run's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig
from trunkline.files.write import atomic_write
from trunkline.report.edge_histogram import draw_edge_histogram, has_edges
from trunkline.report.join_picture import draw_joins
from trunkline.report.loss_picture import draw_losses, read_records
from trunkline.report.policy_picture import draw_correlation, draw_policy
from trunkline.report.share_picture import draw_shares
from trunkline.report.sharing_picture import draw_plan
from trunkline.report.tables import Table, accuracy_table, cost_table, in_markdown, latency_table, parity_table
from trunkline.report.trade_off import Way, draw_trade_off, trade_off_table, ways
from trunkline.report.training import how_trained
from trunkline.report.tree_picture import draw_tree
from trunkline.text import escaped

PREDICTIONS = "predictions.png"
PARTS = ("plan", "policy", "search", "train", "export", "bench", "delta")
"""JSON files of a run; each is there once its stage is done."""


@dataclass(frozen=True, slots=True)
class Report:
    """A written report.

    Attributes:
        path: The Markdown file.
        tables: The tables in it, in order.
        pictures: The PNG files that it shows.
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
    found = {name: _json_if_any(run / f"{name}.json") for name in PARTS}
    if not any(found.values()):
        raise InvalidConfig("there is no run in this folder", place=str(run), advice="`trunkline run` makes one")
    models = _models(run, found)
    compared = _compared(run, found, models)
    tables = _tables(run, found, models, compared)
    pictures = _pictures(run, found, compared)
    path = run / "report.md"
    with _from(run / "train*.json"):
        trained = how_trained(models) if models else []
    # Last of all, so that no report shows pictures that could not be drawn.
    atomic_write(path, _document(run, found, trained, tables, pictures).encode())
    return Report(path, tuple(tables), tuple(run / name for name in pictures.values()))


def _models(run: Path, found: Mapping[str, Any]) -> list[Any]:
    """Return what the trainings wrote, the run's model first; nothing where it is not trained yet."""
    if not found["train"]:
        return []
    # Baselines; sorted, so that equal runs give equal reports.
    baselines = sorted(run.glob("train-*.json"))
    return [found["train"], *map(_json_if_any, baselines)]


def _tables(run: Path, found: Mapping[str, Any], models: list[Any], compared: list[Way]) -> list[Table]:
    """Return a table for each stage that is done, the comparison of all ways of sharing first."""
    tables = []
    if compared:
        tables.append(trade_off_table(compared, found["bench"]))
    if found["search"]:
        with _from(run / "search.json"):
            tables.append(cost_table(found["search"]))
    if models:
        with _from(run / "train*.json"):
            tables.append(accuracy_table(models, found["delta"] or {}))
    if found["export"]:
        with _from(run / "export.json"):
            tables.append(parity_table(found["export"]))
    if found["bench"]:
        with _from(run / "bench.json"):
            tables.append(latency_table(found["bench"]))
    return tables


def _compared(run: Path, found: Mapping[str, Any], models: list[Any]) -> list[Way]:
    """Return what was both trained next to single-task models and measured next to them."""
    if not models or not found["bench"]:
        return []
    with _from(run / "bench.json"):
        return ways(models, found["delta"] or {}, found["bench"])


def _pictures(run: Path, found: Mapping[str, Any], compared: list[Way]) -> dict[str, str]:
    """Draw what the finished stages allow, and return the file names by caption."""
    pictures = {}
    if compared:
        draw_trade_off(compared, found["bench"], run / "trade_off.png")
        pictures["What sharing costs and saves"] = "trade_off.png"
    pictures |= _sharing_pictures(run, found)
    pictures |= _policy_pictures(run, found)
    records: list[dict[str, Any]] = []
    for stage in ("search", "train"):
        records += read_records(run / stage / "metrics.jsonl")
    if draw_losses(records, run / "losses.png"):
        pictures["Losses"] = "losses.png"
    if (run / PREDICTIONS).is_file():
        pictures["Predictions on test images"] = PREDICTIONS
    return pictures


def _sharing_pictures(run: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw the plan: who shares what, as a tree where it is one, and its joins where it has some."""
    plan, pictures = found["plan"], {}
    if not plan:
        return {}
    with _from(run / "plan.json"):
        draw_plan(plan, run / "sharing.png")
        pictures["Who shares what"] = "sharing.png"
        if draw_tree(plan, run / "tree.png"):
            pictures["Where tasks part"] = "tree.png"
    sites = (found["search"] or {}).get("sites")
    if plan.get("joins") and sites:
        with _from(run / "search.json"):
            draw_joins(plan, sites, run / "joins.png")
        pictures["Who reads what of whom"] = "joins.png"
    shares = (found["train"] or {}).get("shares")
    if shares:
        with _from(run / "train.json"):
            draw_shares(plan, shares, run / "shares.png")
        pictures["How much columns take of each other"] = "shares.png"
    return pictures


def _policy_pictures(run: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw what a search learned, and how alike tasks are by it."""
    policy, pictures = found["policy"], {}
    if not policy:
        return {}
    with _from(run / "policy.json"):
        draw_policy(policy, run / "policy.png")
        pictures["What the search learned"] = "policy.png"
        if draw_correlation(policy, run / "correlation.png"):
            pictures["How alike the tasks are"] = "correlation.png"
        if has_edges(policy):
            draw_edge_histogram(policy, run / "edges.png")
            pictures["How decided the edges are"] = "edges.png"
    return pictures


def _document(
    run: Path, found: Mapping[str, Any], trained: list[str], tables: list[Table], pictures: Mapping[str, str]
) -> str:
    plan = found["plan"] or {"tasks": [], "backbone": {"name": run.name}, "method": "–"}
    verdict = ""
    if found["export"]:
        passed = found["export"]["parity"]["passed"]
        verdict = f"Parity of `model.onnx`: **{'passed' if passed else 'failed'}**.\n"
    parts = [
        f"# {in_markdown(plan['backbone']['name'])}: {', '.join(plan['tasks'])}\n",
        f"Method: {in_markdown(plan['method'])}. {verdict}",
    ]
    if trained:
        parts.append("\n".join(trained) + "\n")
    parts += [table.to_markdown() for table in tables]
    parts += [f"### {caption}\n\n![{caption}]({name})\n" for caption, name in pictures.items()]
    return "\n".join(parts)


@contextmanager
def _from(path: Path) -> Iterator[None]:
    """Raise InvalidConfig, naming the run's file, where its JSON has another form."""
    try:
        yield
    # What it takes to find that out: a missing key, a list or None for an object, text for a number.
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        what = escaped(f"{type(error).__name__}: {error}")
        advice = "run the stage again; it goes on from its checkpoint"
        raise InvalidConfig(f"is not what Trunkline writes ({what})", place=str(path), advice=advice) from error


def _json_if_any(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidConfig(f"this is not JSON: {error}", place=str(path)) from error
