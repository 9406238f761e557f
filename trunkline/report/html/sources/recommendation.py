"""A JSON file of recommended layouts, as `recommend --json` prints it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from trunkline.report.html.data_uri import drawn_uri
from trunkline.report.html.page import Chapter, Listing, Part, Picture, Section
from trunkline.report.html.sources.base import ReportSource, content_of
from trunkline.report.layouts_picture import TreeMark, draw_layouts
from trunkline.report.run_files import in_form
from trunkline.report.tables import Table

Json = Mapping[str, Any]
_MOST = 12
"""Layouts in the picture; the table has all."""


class RecommendationSource(ReportSource):
    """Trees of blocks, the best by what models of two tasks have shown."""

    name: ClassVar[str] = "recommendation"
    expected: ClassVar[str] = "a JSON file of layouts, as `trunkline recommend --json` prints it"

    @classmethod
    def takes(cls, path: Path) -> bool:
        """Return whether it is a file with layouts."""
        return "layouts" in content_of(path)

    @classmethod
    def read(cls, path: Path, title: str) -> Chapter:
        """Return the chapter of a recommendation."""
        content = content_of(path)
        with in_form(path):
            sections = (
                Section("Layouts", tuple(_layouts(content))),
                Section("Why each branch is where it is", tuple(_explanations(content))),
            )
            facts = {"tasks": ", ".join(content["tasks"]), "blocks": ", ".join(_names(content))}
            return Chapter(title, cls.name, str(path), tuple(_summary(content)), sections, (), facts)


def _summary(content: Json) -> Iterator[str]:
    layouts, tasks = content["layouts"], content["tasks"]
    feasible = content["feasible"]
    within = "" if feasible is None else f", of which {feasible:,} are within the budgets"
    yield f"{len(tasks)} tasks can share {len(content['blocks'])} blocks in {content['count']:,} ways{within}."
    if not layouts:
        return
    first = layouts[0]
    error = "" if first["score_error"] is None else f" ± {first['score_error']:.2f}"
    yield (
        f"The first of {len(layouts)} is expected to come to {first['score']:+.2f}{error} % against single-task models "
        f"and changes the MACs of their backbones by {first['macs_percent']:+.0f} %."
    )
    if content["proved"]:
        yield "They are proved to be the best by these estimates; no layout was trained."
    else:
        yield "They are not proved to be the best, and no layout was trained."


def _layouts(content: Json) -> Iterator[Part]:
    tasks, layouts = list(content["tasks"]), content["layouts"]
    marks = [
        TreeMark(
            name="" if entry["index"] is None else f"#{entry['index']}",
            blocks=entry["layout"],
            cost=1 + entry["macs_percent"] / 100,
            score=entry["score"],
            error=entry["score_error"],
        )
        for entry in layouts[:_MOST]
    ]
    if not marks:
        return

    def draw(path: Path) -> None:
        draw_layouts(marks, [], tasks, path)

    text = (
        f"Above, the estimated score of {len(marks)} layouts against their work; below, the tree of each: blue is "
        f"shared, a task's colour its own. The first: {_in_words(content, layouts[0])}."
    )
    yield Picture("Trees, the best first", text, drawn_uri(draw) or "", _table(content))


def _table(content: Json) -> Table:
    tasks = list(content["tasks"])
    rows = []
    for number, entry in enumerate(content["layouts"], start=1):
        error = "" if entry["score_error"] is None else f" ± {entry['score_error']:.2f}"
        estimates = (f"{entry['estimates'][task]:+.2f}" for task in tasks)
        costs = (f"{entry['macs_percent']:+.1f}", f"{entry['parameters_percent']:+.1f}")
        rows.append((f"{number}", f"{entry['score']:+.2f}{error}", *estimates, *costs, _in_words(content, entry)))
    columns = ("layout", "score (%)", *(f"{task} (%)" for task in tasks), "MACs (%)", "parameters (%)", "who runs what")
    return Table("Recommended layouts", columns, tuple(rows), ("Costs: change against one backbone a task.",))


def _in_words(content: Json, entry: Json) -> str:
    """Return where the groups of a layout change: ``conv1: a, b | c``."""
    said, before = [], None
    for name, groups in zip(_names(content), entry["layout"], strict=True):
        if groups != before:
            said.append(f"from {name} on {' | '.join(', '.join(group) for group in groups)}")
        before = groups
    return "; ".join(said)


def _names(content: Json) -> list[str]:
    return [str(block["name"]) for block in content["blocks"]]


def _explanations(content: Json) -> Iterator[Part]:
    for number, lines in enumerate(content.get("explanations") or [], start=1):
        yield Listing(f"Layout {number}", tuple(lines), folded=number > 1)
