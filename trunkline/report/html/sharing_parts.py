"""What a page shows of a plan: who shares what, as pictures and as the table they are drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from trunkline.report.html.data_uri import drawn_uri
from trunkline.report.html.page import Part, Picture
from trunkline.report.join_picture import draw_joins
from trunkline.report.share_picture import draw_shares, panels_of
from trunkline.report.sharing_picture import draw_plan
from trunkline.report.tables import Table
from trunkline.report.tree_picture import draw_tree, tree_of
from trunkline.sharing.tree import sharing_groups

Json = Mapping[str, Any]


def sharing_parts(plan: Json, sites: Json, shares: Json) -> list[Part]:
    """Return the pictures of a plan: its table of units and tasks, its tree, and its joins, where it has them.

    Args:
        plan: The plan's JSON.
        sites: How many units come before each value at which columns are joined.
        shares: How much of each read a join takes, after the training.
    """
    pictures = [plan_picture(plan, "Which task uses which operator"), _tree(plan), _joins(plan, sites)]
    pictures.append(_shares(plan, shares))
    return [picture for picture in pictures if picture is not None]


def plan_picture(plan: Json, title: str) -> Picture:
    """Return the picture of who runs whose weights at every unit (AutoMTL's Fig. 3b)."""
    uri = drawn_uri(partial(draw_plan, plan))
    assert uri is not None  # a plan always has something to draw
    groups = sharing_groups(plan["units"], list(plan["tasks"]), tie=plan.get("tie", True))
    shared = sum(any(len(group) > 1 for group in each) for each in groups)
    whole = sum(any(len(group) == len(plan["tasks"]) for group in each) for each in groups)
    text = (
        f"A column for each of {len(groups)} {plan.get('granularity', 'unit')}s and a row for each task; equal colours "
        f"in a column are one set of weights. {whole} are shared by all tasks, {shared - whole} by some, and "
        f"{len(groups) - shared} by none."
    )
    return Picture(title, text, uri, plan_table(plan))


def plan_table(plan: Json) -> Table:
    """Return a plan's entries: whose weights each task runs at each unit."""
    tasks = list(plan["tasks"])
    rows = []
    for unit, row in plan["units"].items():
        rows.append((unit, *(_entry(row[task]) for task in tasks)))
    notes = ("A number names a set of weights: equal numbers in a row are one set.",)
    if not plan.get("tie", True):
        notes = ("A number names a set of weights, and equal ones are one set as long as tasks have not parted.",)
    return Table("Whose weights each task runs", ("unit", *tasks), tuple(rows), notes)


def _entry(choice: object) -> str:
    if isinstance(choice, Mapping):
        return f"weights {choice['instance']}, {100 * choice['channels']:.0f} % of the channels"
    return "skipped" if choice == "skip" else f"weights {choice}"


def _tree(plan: Json) -> Picture | None:
    tree = tree_of(plan)
    uri = drawn_uri(partial(draw_tree, plan))
    if tree is None or uri is None:
        return None
    units = list(plan["units"])
    points = ", ".join(_point(number, units) for number in dict.fromkeys(number for number, _ in tree.points))
    text = f"The plan as a tree from the image to the tasks {', '.join(tree.leaves)}. "
    return Picture("Where tasks part", text + (f"Tasks part {points}." if points else "No tasks part."), uri)


def _point(number: int, units: list[str]) -> str:
    if number == 0:
        return "at the image"
    return "at their heads" if number >= len(units) else f"before {units[number]}"


def _joins(plan: Json, sites: Json) -> Picture | None:
    if not plan.get("joins") or not sites:
        return None

    def draw(path: Path) -> None:
        draw_joins(plan, dict(sites), path)

    uri = drawn_uri(draw)
    rows = tuple(
        (join["name"], join["kind"], join["task"], join["site"], ", ".join(_read(read) for read in join["reads"]))
        for join in plan["joins"]
    )
    table = Table("Joins", ("join", "kind", "goes on for", "at", "reads"), rows)
    text = f"Columns of the tasks from the image to their heads, and what {len(rows)} joins between them read."
    return Picture("Who reads what of whom", text, uri or "", table)


def _read(read: Json) -> str:
    if read.get("join") is not None:
        return f"join {read['join']}"
    return f"{read['task']} at {read['at']}"


def _shares(plan: Json, shares: Json) -> Picture | None:
    if not shares:
        return None

    def draw(path: Path) -> None:
        draw_shares(plan, shares, path)

    rows = []
    for panel in panels_of(plan, shares):
        for task, values in zip(panel.tasks, panel.values, strict=True):
            pairs = zip(panel.reads, values, strict=True)
            rows += [(f"{panel.title}, {task}", read, f"{value:.3f}") for read, value in pairs if not math.isnan(value)]
    table = Table("Weights of maps", ("site and task", "map", "weight"), tuple(rows))
    text = "How much of each map, across, each task goes on with, down, after the training."
    return Picture("How much columns take of each other", text, drawn_uri(draw) or "", table)
