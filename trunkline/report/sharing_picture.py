"""Pictures of a plan and of the policy that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.report.style import INK, SHARED, SKIPPED, figure, plain, task_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OPTIONS = ("shared", "own", "skip")


def draw_plan(plan: Mapping[str, Any], path: Path) -> None:
    """Draw a plan's JSON: one column a unit, one row a task, equal colours share weights."""
    from matplotlib.patches import Patch

    units, tasks = list(plan["units"]), list(plan["tasks"])
    with figure(_width(len(units)), 1.5 + 0.42 * len(tasks), path) as drawn:
        axes = drawn.add_subplot()
        for x, unit in enumerate(units):
            _draw_unit(axes, x, [plan["units"][unit][task] for task in tasks])
        _label(axes, units, tasks)
        title = f"Sharing pattern of {plan['backbone']['name']} ({plan['method']})"
        axes.set_title(plain(title, 90), fontsize=10, loc="left")
        handles = [Patch(color=SHARED, label="shared"), Patch(color=SKIPPED, label="skip")]
        handles += [Patch(color=task_colour(i), label=f"own: {plain(task)}") for i, task in enumerate(tasks)]
        drawn.legend(handles=handles, ncols=len(handles), fontsize=7, frameon=False, loc="outside lower left")


def draw_policy(policy: Mapping[str, Any], path: Path) -> None:
    """Draw learned probabilities: one panel a task, one stacked bar a unit.

    Args:
        policy: ``{"units": […], "tasks": […], "probabilities": [units][tasks][3]}``.
        path: The PNG file to write.
    """
    units, tasks, p = list(policy["units"]), list(policy["tasks"]), policy["probabilities"]
    with figure(_width(len(units)), 0.9 + 1.15 * len(tasks), path) as drawn:
        panels = drawn.subplots(len(tasks), 1, sharex=True, squeeze=False)[:, 0]
        for t, (axes, task) in enumerate(zip(panels, tasks, strict=True)):
            bottom = [0.0] * len(units)
            for option, colour in zip(range(3), (SHARED, task_colour(t), SKIPPED), strict=True):
                heights = [p[u][t][option] for u in range(len(units))]
                axes.bar(range(len(units)), heights, 0.9, bottom=bottom, color=colour, label=OPTIONS[option])
                bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 1])
            axes.set_ylabel(plain(task, 16), fontsize=8)
            _bare(axes)
        panels[0].set_title("Learned policy: shared, own (task's colour), skip (grey)", fontsize=10, loc="left")
        _unit_ticks(panels[-1], units)


def _draw_unit(axes: Axes, x: int, instances: Sequence[object]) -> None:
    """Draw the column of one unit: an instance, or ``skip``, for each task."""
    users: dict[object, list[int]] = {}
    for y, instance in enumerate(instances):
        users.setdefault(instance, []).append(y)
    for y, instance in enumerate(instances):
        _cell(axes, x, y, _colour(instance, users[instance]))


def _width(units: int) -> float:
    # Between what a title needs and what a page shows; beyond that, columns get narrower.
    return max(6.0, min(22.0, 2.0 + 0.24 * units))


def _colour(instance: object, users: Sequence[int]) -> str:
    if instance == "skip":
        return SKIPPED
    if instance == 0:
        return SHARED
    # A group that shares an instance of its own gets another colour than its first task alone would have.
    return task_colour(users[0] + 3) if len(users) > 1 else task_colour(users[0])


def _cell(axes: Axes, x: int, y: int, colour: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x - 0.46, y - 0.42), 0.92, 0.84, color=colour, linewidth=0))


def _label(axes: Axes, units: Sequence[str], tasks: Sequence[str]) -> None:
    axes.set_xlim(-0.6, len(units) - 0.4)
    # Downwards, so that the first task is the top row.
    axes.set_ylim(len(tasks) - 0.4, -0.6)
    axes.set_yticks(range(len(tasks)), [plain(task, 20) for task in tasks], fontsize=8)
    _unit_ticks(axes, units)
    _bare(axes)


def _unit_ticks(axes: Axes, units: Sequence[str]) -> None:
    # At most 60 names can be read.
    count = len(units)
    step = count // 60 + 1 if count > 60 else 1
    shown = range(0, len(units), step)
    axes.set_xticks(list(shown), [plain(units[i], 22) for i in shown], rotation=90, fontsize=6, color=INK)


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
