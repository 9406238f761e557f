"""A picture of the tree that a plan is, where tasks that have parted share nothing any more: blocks are its edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.report.style import (
    INK,
    SHARED,
    bare,
    beside,
    entitle,
    figure,
    height_of_names,
    name_units,
    task_colour,
    width_of,
)
from trunkline.sharing.tree import Branch, branches_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEAD = 0.6
"""How long a head is drawn, in units."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A unit of a branch, as it is drawn.

    Attributes:
        unit: Number of the unit; it is drawn from here to the next.
        start: Height at which the edge starts: that of its branch, or, at a branching point, of the one before.
        height: Height of its branch.
        tasks: Who runs it.
        skipped: Whether they skip it.
    """

    unit: int
    start: float
    height: float
    tasks: tuple[str, ...]
    skipped: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """What is drawn of a tree.

    Attributes:
        leaves: The tasks, from above.
        edges: An edge for each unit of each branch.
        points: Where tasks part: number of units before, height.
        heads: The height of the last branch of each leaf, which its head reads.
    """

    leaves: tuple[str, ...]
    edges: tuple[Edge, ...]
    points: tuple[tuple[int, float], ...]
    heads: tuple[float, ...]


def tree_of(plan: Mapping[str, Any]) -> Tree | None:
    """Return the tree of a plan's JSON; ``None`` where it is none, or has but one task.

    >>> units = {"a": {"x": 0, "y": 0}, "b": {"x": 0, "y": 1}}
    >>> tree = tree_of({"tasks": ["x", "y"], "units": units, "tie": False})
    >>> tree.points, [(edge.unit, edge.start, edge.height) for edge in tree.edges]
    (((1, 0.5),), [(0, 0.5, 0.5), (1, 0.5, 0.0), (1, 0.5, 1.0)])
    """
    tasks = list(plan["tasks"])
    # Joins make graphs of columns, and with normalisations of their own tasks part behind the first unit.
    if len(tasks) < 2 or plan.get("joins") or plan.get("batchnorm", "tied") != "tied":
        return None
    branches = branches_of(plan["units"], tasks, tie=plan.get("tie", True))
    if branches is None:
        return None
    leaves = _leaves(branches)
    heights = [_middle([leaves.index(task) for task in branch.tasks]) for branch in branches]
    edges = []
    for branch, height in zip(branches, heights, strict=True):
        before = _root(leaves) if branch.parent is None else heights[branch.parent]
        for unit in range(branch.first, branch.end):
            start = before if unit == branch.first else height
            edges.append(Edge(unit, start, height, branch.tasks, unit in branch.skipped))
    last = {task: height for branch, height in zip(branches, heights, strict=True) for task in branch.tasks}
    heads = tuple(last[task] for task in leaves)
    return Tree(tuple(leaves), tuple(edges), tuple(_points(branches, heights, leaves)), heads)


def draw_tree(plan: Mapping[str, Any], path: Path) -> bool:
    """Draw the tree of a plan's JSON, tasks as leaves and units as edges; return whether it is a tree."""
    tree, units, tasks = tree_of(plan), list(plan["units"]), list(plan["tasks"])
    if tree is None:
        return False
    with figure(width_of(len(units)), 0.5 + height_of_names(units) + 0.36 * len(tasks), path) as drawn:
        axes = drawn.add_subplot()
        for edge in tree.edges:
            _draw(axes, edge, tasks)
        for x, y in tree.points:
            axes.plot([x], [y], "o", color=INK, markersize=6, zorder=4)
        for y, (task, height) in enumerate(zip(tree.leaves, tree.heads, strict=True)):
            colour, end = task_colour(tasks.index(task)), len(units) + _HEAD
            axes.plot([len(units), end], [height, y], color=colour, linewidth=1.2)
            axes.plot([end], [y], "s", color=colour, markersize=7, zorder=4)
            beside(axes, task, (end, y), 8)
        beside(axes, "image", (0, _root(tree.leaves)), -8)
        axes.set_xlim(-0.1, len(units) + _HEAD + 0.1)
        axes.set_ylim(len(tasks) - 0.5, -0.5)
        axes.set_yticks([])
        name_units(axes, units, 0.5)
        bare(axes)
        axes.set_xlabel(f"{plan.get('granularity', 'unit')}s, from the image on; dotted: skipped", fontsize=8)
        title = f"Where tasks part; blue: run once for several tasks ({plan['backbone']['name']}, {plan['method']})"
        entitle(drawn, title)
    return True


def _leaves(branches: Sequence[Branch]) -> list[str]:
    """Return the tasks in an order in which no edges cross."""
    # By the branches that a task runs through: children of one branch stay side by side.
    ways: dict[str, list[int]] = {}
    for number, branch in enumerate(branches):
        for task in branch.tasks:
            ways.setdefault(task, []).append(number)
    return sorted(ways, key=lambda task: ways[task])


def _root(leaves: Sequence[str]) -> float:
    return (len(leaves) - 1) / 2


def _middle(places: Sequence[int]) -> float:
    return (min(places) + max(places)) / 2


def _points(branches: Sequence[Branch], heights: Sequence[float], leaves: Sequence[str]) -> list[tuple[int, float]]:
    found = [(branch.first, heights[branch.parent]) for branch in branches if branch.parent is not None]
    if sum(branch.parent is None for branch in branches) > 1:
        found.append((0, _root(leaves)))
    end = max(branch.end for branch in branches)
    ends = zip(branches, heights, strict=True)
    found += [(end, height) for branch, height in ends if branch.end == end and len(branch.tasks) > 1]
    return sorted(set(found))


def _draw(axes: Axes, edge: Edge, tasks: Sequence[str]) -> None:
    colour = SHARED if len(edge.tasks) > 1 else task_colour(tasks.index(edge.tasks[0]))
    bend = edge.unit + (0.35 if edge.start != edge.height else 0.0)
    x, y = [edge.unit, bend, edge.unit + 1], [edge.start, edge.height, edge.height]
    style = (0, (0.6, 1.2)) if edge.skipped else "-"
    axes.plot(x, y, color=colour, linewidth=3.0, linestyle=style, solid_joinstyle="round", solid_capstyle="butt")
    axes.plot([edge.unit + 1], [edge.height], "o", color="white", markeredgecolor=colour, markersize=4, zorder=3)
