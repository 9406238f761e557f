"""Pictures of a plan and of the policy that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.report.style import INK, SHARED, SKIPPED, figure, plain, task_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        policy: ``{"options": […], "units": […], "tasks": […], "probabilities": [units][tasks][options]}``.
        path: The PNG file to write.
    """
    options, units, tasks = list(policy["options"]), list(policy["units"]), list(policy["tasks"])
    p = policy["probabilities"]
    with figure(_width(len(units)), 0.9 + 1.15 * len(tasks), path) as drawn:
        panels = drawn.subplots(len(tasks), 1, sharex=True, squeeze=False)[:, 0]
        for t, (axes, task) in enumerate(zip(panels, tasks, strict=True)):
            bottom = [0.0] * len(units)
            for number, option in enumerate(options):
                heights = [p[u][t][number] for u in range(len(units))]
                colour = _option_colour(option, number, t)
                axes.bar(range(len(units)), heights, 0.9, bottom=bottom, color=colour, label=option)
                bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 1])
            axes.set_ylabel(plain(task, 16), fontsize=8)
            _bare(axes)
        panels[0].set_title(plain(f"Learned policy: {', '.join(options)}, from below", 90), fontsize=10, loc="left")
        _unit_ticks(panels[-1], units)


def _option_colour(option: str, number: int, task: int) -> str:
    known = {"shared": SHARED, "own": task_colour(task), "skip": SKIPPED, "off": SKIPPED, "on": task_colour(task)}
    if option in known:
        return known[option]
    # Of numbered instances the first is the backbone's own, as in a plan.
    return SHARED if number == 0 else task_colour(number)


def _draw_unit(axes: Axes, x: int, choices: Sequence[object]) -> None:
    """Draw the column of one unit: an instance, a view of one, or ``skip``, for each task."""
    users: dict[object, list[int]] = {}
    for y, choice in enumerate(choices):
        users.setdefault(_instance(choice), []).append(y)
    for y, choice in enumerate(choices):
        instance = _instance(choice)
        # A channel view is a bar as high as the share of the channels that it runs.
        height = choice["channels"] if isinstance(choice, Mapping) else 1.0
        _cell(axes, x, y, _colour(instance, users[instance]), height)


def _instance(choice: object) -> object:
    return choice["instance"] if isinstance(choice, Mapping) else choice


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


def _cell(axes: Axes, x: int, y: int, colour: str, height: float) -> None:
    from matplotlib.patches import Rectangle

    # The axis points downwards, so a low bar hangs from the bottom of its row.
    axes.add_patch(Rectangle((x - 0.46, y + 0.42), 0.92, -0.84 * height, color=colour, linewidth=0))


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
