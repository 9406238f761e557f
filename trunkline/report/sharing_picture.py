"""A picture of a plan: who runs whose weights at every unit (AutoMTL's Fig. 3b)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.report.style import (
    SHARED,
    SKIPPED,
    bare,
    entitle,
    figure,
    height_of_names,
    name_units,
    plain,
    task_colour,
    width_of,
)
from trunkline.sharing.tree import Groups, instance_of, sharing_groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Tile:
    """What a task runs at a unit, as it is drawn.

    Attributes:
        unit: Number of the unit.
        task: Number of the task.
        colour: Its colour; equal ones at a unit are one set of weights.
        part: The share of the unit's inner width that it runs.
    """

    unit: int
    task: int
    colour: str
    part: float = 1.0


def tiles_of(plan: Mapping[str, Any]) -> list[Tile]:
    """Return what to draw of a plan's JSON, unit by unit.

    >>> plan = {"tasks": ["a", "b", "c"], "units": {"conv1": {"a": 0, "b": 0, "c": "skip"}}, "tie": True}
    >>> [tile.colour == SHARED for tile in tiles_of(plan)]
    [True, True, False]
    """
    units, tasks, tie = plan["units"], list(plan["tasks"]), plan.get("tie", True)
    tiles = []
    for number, (row, groups) in enumerate(zip(units.values(), sharing_groups(units, tasks, tie=tie), strict=True)):
        owners = _owners(row, groups, tasks[0], tie=tie)
        for index, task in enumerate(tasks):
            if task not in owners:
                tiles.append(Tile(number, index, SKIPPED))
                continue
            owner, choice = owners[task], row[task]
            colour = SHARED if owner is None else task_colour(tasks.index(owner))
            tiles.append(Tile(number, index, colour, choice["channels"] if isinstance(choice, Mapping) else 1.0))
    return tiles


def draw_plan(plan: Mapping[str, Any], path: Path) -> None:
    """Draw a plan's JSON: one column a unit, one row a task, equal colours in a column share weights."""
    units, tasks = list(plan["units"]), list(plan["tasks"])
    tiles = tiles_of(plan)
    with figure(width_of(len(units)), 0.7 + height_of_names(units) + 0.34 * len(tasks), path) as drawn:
        axes = drawn.add_subplot()
        for tile in tiles:
            _draw(axes, tile)
        axes.set_xlim(-0.6, len(units) - 0.4)
        # Downwards, so that the first task is the top row.
        axes.set_ylim(len(tasks) - 0.4, -0.6)
        axes.set_yticks(range(len(tasks)), [plain(task, 20) for task in tasks], fontsize=8)
        axes.set_xlabel(f"{plan.get('granularity', 'unit')}s, from the image on", fontsize=8)
        name_units(axes, units)
        bare(axes)
        title = f"Who shares weights: in a column, one colour is one set ({plan['backbone']['name']}, {plan['method']})"
        entitle(drawn, title)
        _explain(drawn, tasks, {tile.colour for tile in tiles})


def _explain(drawn: Figure, tasks: Sequence[str], colours: Set[str]) -> None:
    """Write below the picture what its colours mean, of those that are in it."""
    from matplotlib.patches import Patch

    meanings = {SHARED: "shared", SKIPPED: "skipped"}
    meanings |= {task_colour(number): f"of {plain(task, 20)}" for number, task in enumerate(tasks)}
    handles = [Patch(color=colour, label=meaning) for colour, meaning in meanings.items() if colour in colours]
    columns = max(1, int(drawn.get_figwidth() / 1.5))
    drawn.legend(handles=handles, ncols=columns, fontsize=7, frameon=False, loc="outside lower left")


def _owners(row: Mapping[str, Any], groups: Groups, first: str, *, tie: bool) -> dict[str, str | None]:
    """Return by task whose colour it has; ``None`` where it is the common one, no entry where it skips the unit."""
    owners: dict[str, str | None] = {}
    for group in groups:
        # The trunk: instance 0, or, where numbers mean nothing because nothing is tied, what the first task shares.
        is_trunk = instance_of(row[group[0]]) == 0 if tie else first in group
        owner = None if len(group) > 1 and is_trunk else group[0]
        owners |= dict.fromkeys(group, owner)
    return owners


def _draw(axes: Axes, tile: Tile) -> None:
    from matplotlib.patches import Rectangle

    # A channel view is a bar as high as the share that it runs. The axis points downwards, so it hangs from below.
    place = (tile.unit - 0.46, tile.task + 0.42)
    axes.add_patch(Rectangle(place, 0.92, -0.84 * tile.part, color=tile.colour, linewidth=0))
