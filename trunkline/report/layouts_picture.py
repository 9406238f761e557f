"""Recommended layouts: their trees, and where they stand among what is possible, by score and work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.report.style import INK, SHARED, bare, figure, plain, task_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Blocks = Sequence[Sequence[Sequence[str]]]
"""For each block, the groups of tasks that run it together."""
_TREES_A_ROW = 3


@dataclass(frozen=True, slots=True)
class TreeMark:
    """A layout in the picture.

    Attributes:
        name: What it is called.
        blocks: Its groups.
        cost: Its work, as a share of independent models.
        score: In percent.
        error: Standard error of the score; ``None`` where it is not known.
    """

    name: str
    blocks: Blocks
    cost: float
    score: float
    error: float | None


def draw_layouts(
    marks: Sequence[TreeMark], front: Sequence[tuple[float, float]], tasks: Sequence[str], path: Path
) -> None:
    """Draw the front of score against work with the recommended layouts on it, and below each layout's tree.

    Args:
        marks: The recommended layouts, the best first.
        front: Work and score of the layouts that no other beats in both, the cheapest first.
        tasks: Task names, in output order.
        path: The PNG file.
    """
    rows = -(-len(marks) // _TREES_A_ROW)
    height = 0.5 + 0.22 * len(tasks)
    with figure(8.4, 3.4 + rows * height, path) as drawn:
        grid = drawn.add_gridspec(rows + 1, _TREES_A_ROW, height_ratios=[3.4, *[height] * rows])
        _draw_front(drawn.add_subplot(grid[0, :]), marks, front)
        for number, mark in enumerate(marks):
            place = grid[1 + number // _TREES_A_ROW, number % _TREES_A_ROW]
            _draw_tree(drawn.add_subplot(place), mark, number, tasks)


def _draw_front(axes: Axes, marks: Sequence[TreeMark], front: Sequence[tuple[float, float]]) -> None:
    axes.plot(
        [cost for cost, _ in front], [score for _, score in front], color=INK, linewidth=1.2, marker=".", zorder=1
    )
    for number, mark in enumerate(marks):
        if mark.error is not None:
            axes.vlines(mark.cost, mark.score - mark.error, mark.score + mark.error, color=SHARED, linewidth=0.8)
        axes.scatter([mark.cost], [mark.score], s=90, color=SHARED, zorder=3)
        place = (mark.cost, mark.score)
        axes.annotate(str(number + 1), place, ha="center", va="center", fontsize=6, color="white", zorder=4)
    axes.set_xlabel("MACs, share of one backbone a task", fontsize=8)
    axes.set_ylabel("estimated score (%), standard error", fontsize=8)
    axes.set_title("Estimated score against work: up and left is better", fontsize=10, loc="left")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_tree(axes: Axes, mark: TreeMark, number: int, tasks: Sequence[str]) -> None:
    """Draw each block of each group as a line, at the height of the middle of its tasks."""
    heights = {task: -place for place, task in enumerate(_leaves(mark.blocks, tasks))}
    before: list[tuple[set[str], float]] = []
    for block, groups in enumerate(mark.blocks):
        here = []
        for group in groups:
            height = sum(heights[task] for task in group) / len(group)
            shared = len(group) > 1
            colour = SHARED if shared else task_colour(list(tasks).index(group[0]))
            axes.plot([block, block + 1], [height, height], color=colour, linewidth=2.4 if shared else 1.6)
            for members, start in before:
                if set(group) < members:
                    axes.plot([block, block], [start, height], color=INK, linewidth=0.8, zorder=0)
            here.append((set(group), height))
        before = here
    for members, height in before:
        text = plain(", ".join(task for task in tasks if task in members), 24)
        axes.annotate(text, (len(mark.blocks), height), (4, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_title(plain(f"{number + 1}  {mark.name}  {mark.score:+.2f} %"), fontsize=8, loc="left")
    axes.set_xlim(-0.1, len(mark.blocks) * 1.7)
    axes.set_ylim(0.6 - len(tasks), 0.6)
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)


def _leaves(blocks: Blocks, tasks: Sequence[str]) -> list[str]:
    """Return the tasks so that those who are together longer stand beside each other."""
    order = list(tasks)
    for groups in reversed(blocks):
        place = {task: min(order.index(other) for other in group) for group in groups for task in group}
        order.sort(key=place.__getitem__)
    return order
