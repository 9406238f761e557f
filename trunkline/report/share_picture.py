"""A picture of how much each join takes of what it reads, where that is a number, as Cross-Stitch's α is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trunkline.report.style import INK, bare, entitle, figure, plain, scale_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAGE = 9.5
"""Inches; what has no place beside the others stands below them."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Joins of one kind at one site.

    Attributes:
        title: The site.
        tasks: Whose column goes on with it, from above.
        reads: What is read, from left to right.
        values: How much of it, ``[tasks, reads]``; NaN where a join does not read it.
    """

    title: str
    tasks: tuple[str, ...]
    reads: tuple[str, ...]
    values: NDArray[np.float64]


def panels_of(plan: Mapping[str, Any], shares: Mapping[str, Mapping[str, float]]) -> list[Panel]:
    """Return what is drawn of a plan's joins.

    Args:
        plan: The plan's JSON.
        shares: How much of each read a join takes, by its name and the read's number as text.
    """
    joins = {join["name"]: join for join in plan["joins"]}
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for name, join in joins.items():
        if name in shares:
            groups.setdefault((join["site"], join["kind"], join.get("gives", "site")), []).append(join)
    return [_panel(group, shares, joins) for group in groups.values()]


def draw_shares(plan: Mapping[str, Any], shares: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw a matrix for each site: how much of each map, one column each, a task goes on with, one row each."""
    panels = panels_of(plan, shares)
    width = 1.0 + 0.36 * max(len(panel.reads) for panel in panels)
    height = 1.15 + 0.28 * max(len(panel.tasks) for panel in panels)
    columns = max(1, min(len(panels), int(_PAGE / width)))
    rows = math.ceil(len(panels) / columns)
    limit = max(float(np.nanmax(np.abs(panel.values))) for panel in panels)
    with figure(max(6.4, 1.0 + columns * width), 0.8 + rows * height, path) as drawn:
        all_axes = drawn.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(all_axes, panels, strict=False):
            image = _draw(axes, panel, limit)
        for number, axes in enumerate(all_axes):
            axes.set_visible(number < len(panels))
        entitle(drawn, f"How much of each map (across) each task goes on with (down), {plan['method']}")
        scale_beside(drawn, image, list(all_axes), "weight of the map")


def _panel(group: Sequence[Mapping[str, Any]], shares: Mapping[str, Any], joins: Mapping[str, Any]) -> Panel:
    labels = [_labels(join, joins) for join in group]
    reads = list(dict.fromkeys(label for row in labels for label in row))
    values = np.full((len(group), len(reads)), np.nan)
    for number, (join, row) in enumerate(zip(group, labels, strict=True)):
        for read, share in shares[join["name"]].items():
            values[number, reads.index(row[int(read)])] = share
    first = group[0]
    behind = "head" if first.get("gives") == "tap" else first["site"]
    return Panel(behind, tuple(join["task"] for join in group), tuple(reads), values)


def _labels(join: Mapping[str, Any], joins: Mapping[str, Any]) -> list[str]:
    """Return what the reads of a join are called: the column, and the site, as far as they are not its own."""
    found = []
    for read in join["reads"]:
        source = joins[read["join"]] if read.get("join") is not None else None
        task, site = (source["task"], source["site"]) if source else (read["task"], read["at"])
        if source and task == join["task"]:
            found.append(site)
        else:
            found.append(task if site == join["site"] else f"{task} {site}")
    return found


def _draw(axes: Axes, panel: Panel, limit: float) -> Any:
    # Both signs, because a trained weight may be below 0; blue and red-brown differ for everybody.
    image = axes.imshow(panel.values, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    # Adding 0 takes the sign from what is rounded to -0.
    for (y, x), value in np.ndenumerate(panel.values):
        if not np.isnan(value):
            colour = "white" if abs(value) > 0.6 * limit else INK
            axes.text(x, y, f"{round(value, 2) + 0.0:.2f}", ha="center", va="center", fontsize=6, color=colour)
    axes.set_xticks(range(len(panel.reads)), [plain(read, 22) for read in panel.reads], rotation=90, fontsize=6)
    axes.set_yticks(range(len(panel.tasks)), [plain(task, 16) for task in panel.tasks], fontsize=7)
    axes.set_title(plain(panel.title, 24), fontsize=7)
    bare(axes)
    return image
