"""Write a run's report: ``report.md`` and its pictures, from the JSON files of the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trunkline.files.write import atomic_write
from trunkline.report.edge_histogram import draw_edge_histogram, has_edges
from trunkline.report.join_picture import draw_joins
from trunkline.report.loss_picture import draw_losses, read_records
from trunkline.report.policy_picture import draw_correlation, draw_policy
from trunkline.report.run_files import RunFiles, in_form, read_run
from trunkline.report.share_picture import draw_shares
from trunkline.report.sharing_picture import draw_plan
from trunkline.report.tables import Table, in_markdown
from trunkline.report.trade_off import draw_trade_off
from trunkline.report.tree_picture import draw_tree

PREDICTIONS = "predictions.png"


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
    files = read_run(run)
    tables = files.tables()
    pictures = _pictures(files)
    path = run / "report.md"
    # Last of all, so that no report shows pictures that could not be drawn.
    atomic_write(path, _document(files, tables, pictures).encode())
    return Report(path, tuple(tables), tuple(run / name for name in pictures.values()))


def _pictures(files: RunFiles) -> dict[str, str]:
    """Draw what the finished stages allow, and return the file names by caption."""
    run, found, pictures = files.folder, files.found, {}
    if files.compared:
        draw_trade_off(files.compared, found["bench"], run / "trade_off.png")
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
    with in_form(run / "plan.json"):
        draw_plan(plan, run / "sharing.png")
        pictures["Who shares what"] = "sharing.png"
        if draw_tree(plan, run / "tree.png"):
            pictures["Where tasks part"] = "tree.png"
    sites = (found["search"] or {}).get("sites")
    if plan.get("joins") and sites:
        with in_form(run / "search.json"):
            draw_joins(plan, sites, run / "joins.png")
        pictures["Who reads what of whom"] = "joins.png"
    shares = (found["train"] or {}).get("shares")
    if shares:
        with in_form(run / "train.json"):
            draw_shares(plan, shares, run / "shares.png")
        pictures["How much columns take of each other"] = "shares.png"
    return pictures


def _policy_pictures(run: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw what a search learned, and how alike tasks are by it."""
    policy, pictures = found["policy"], {}
    if not policy:
        return {}
    with in_form(run / "policy.json"):
        draw_policy(policy, run / "policy.png")
        pictures["What the search learned"] = "policy.png"
        if draw_correlation(policy, run / "correlation.png"):
            pictures["How alike the tasks are"] = "correlation.png"
        if has_edges(policy):
            draw_edge_histogram(policy, run / "edges.png")
            pictures["How decided the edges are"] = "edges.png"
    return pictures


def _document(files: RunFiles, tables: list[Table], pictures: Mapping[str, str]) -> str:
    found, trained = files.found, files.trained()
    plan = found["plan"] or {"tasks": [], "backbone": {"name": files.folder.name}, "method": "–"}
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
