"""Write a comparison down: ``compare.md`` with its tables and pictures, and ``compare.csv`` with a row for each run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trunkline.files.write import atomic_write
from trunkline.report.comparison_csv import csv_of
from trunkline.report.comparison_tables import (
    accuracy_table,
    cost_table,
    effort_table,
    judged_table,
    metrics_table,
    rankings_table,
)
from trunkline.report.front_picture import AXES, draw_front
from trunkline.report.ranking_picture import draw_rankings
from trunkline.report.tables import Table, in_markdown

Json = Mapping[str, Any]
REPORT, ROWS, RANKINGS = "compare.md", "compare.csv", "rankings.png"


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """What was written.

    Attributes:
        path: The Markdown file.
        rows: The CSV file.
        tables: The tables in the Markdown file, in order.
        pictures: The PNG files that it shows.
    """

    path: Path
    rows: Path
    tables: tuple[Table, ...]
    pictures: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return paths and tables as plain data."""
        return {
            "report": str(self.path),
            "csv": str(self.rows),
            "pictures": [str(path) for path in self.pictures],
            "tables": [asdict(table) for table in self.tables],
        }


def write_comparison(content: Json, folder: Path) -> ComparisonReport:
    """Write a comparison's numbers, as :func:`trunkline.verbs.compare.compare` gives them, into its folder.

    Raises:
        WorkFailed: The disk is full.
    """
    judged = [table for table in (judged_table(content), rankings_table(content)) if table is not None]
    others = (cost_table(content), effort_table(content), metrics_table(content))
    tables = (accuracy_table(content), *judged, *others)
    pictures = {}
    for key, axis in AXES.items():
        name = f"delta_{key}.png"
        if draw_front(content["methods"], axis, folder / name):
            pictures[axis.title] = name
    if draw_rankings(content.get("rankings", []), folder / RANKINGS):
        pictures["Scores of trees against what they came to"] = RANKINGS
    atomic_write(folder / ROWS, csv_of(content["rows"]).encode())
    path = folder / REPORT
    atomic_write(path, _document(content, tables, pictures).encode())
    return ComparisonReport(path, folder / ROWS, tables, tuple(folder / name for name in pictures.values()))


def _document(content: Json, tables: tuple[Table, ...], pictures: Mapping[str, str]) -> str:
    done, every = content["runs"]["done"], content["runs"]["all"]
    heading = f"# {in_markdown(content['backbone'])}: {', '.join(content['tasks'])}\n"
    parts = [heading, f"{done} of {every} runs are done.\n"]
    parts += [table.to_markdown() for table in tables]
    parts += [f"### {title}\n\n![{title}]({name})\n" for title, name in pictures.items()]
    return "\n".join(parts)
