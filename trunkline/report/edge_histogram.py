"""A picture of how decided a search over edges is: the histogram of their probabilities, as MTL-NAS has it (Fig. S1).

Where an entropy has done its work, all edges stand at 0 or at 1. What stands between them counted in part while the
weights learned, and does not any more once it is dropped or kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.report.style import figure, plain, task_colour

BINS = 25
"""Each is 0.04 wide, as in the paper."""


def has_edges(policy: Mapping[str, Any]) -> bool:
    """Whether what a policy decides about is on or off."""
    return list(policy["options"]) == ["off", "on"]


def edge_histogram(policy: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return how many edges into each task's column have a probability in each bin from 0 to 1.

    >>> rows = [[[0.9, 0.1], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]]  # no edge leads into the second column
    >>> found = edge_histogram({"tasks": ["depth", "seg"], "probabilities": rows})
    >>> found["depth"][2], found["depth"][24], sum(found["depth"]), sum(found["seg"])
    (1, 1, 2, 0)
    """
    found = {}
    for number, task in enumerate(policy["tasks"]):
        counts = [0] * BINS
        for off, on in (edge[number] for edge in policy["probabilities"]):
            # What is not there has a probability of neither.
            if off or on:
                counts[min(BINS - 1, int(on * BINS))] += 1
        found[task] = counts
    return found


def draw_edge_histogram(policy: Mapping[str, Any], path: Path) -> None:
    """Draw the histogram, the columns' edges on top of each other."""
    from matplotlib.ticker import MaxNLocator

    counts = edge_histogram(policy)
    with figure(6.4, 3.0, path) as drawn:
        axes = drawn.add_subplot()
        starts = [number / BINS for number in range(BINS)]
        bottom = [0] * BINS
        for number, (task, heights) in enumerate(counts.items()):
            colour, into = task_colour(number), f"into {plain(task)}"
            axes.bar(starts, heights, 0.9 / BINS, bottom=bottom, align="edge", color=colour, label=into)
            bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
        axes.set_xlim(0, 1)
        axes.set_xlabel("probability that an edge is kept", fontsize=8)
        axes.set_ylabel("edges", fontsize=8)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(f"How decided {sum(bottom)} edges are", fontsize=10, loc="left")
        drawn.legend(ncols=len(counts), fontsize=7, frameon=False, loc="outside lower left")
