"""Pictures of a learned policy: how probable each option is (AutoMTL's Figs. 3a, 5, 6), and how alike tasks are (7)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trunkline.report.style import (
    INK,
    SHADES,
    bare,
    entitle,
    figure,
    height_of_names,
    name_units,
    plain,
    scale_beside,
    width_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 0.15
"""Inches that an option needs for its name."""


def policy_rows(policy: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return by task what is drawn of a policy's JSON: ``[options, units]``, NaN where a task has no option at a unit.

    >>> policy = {"options": ["run", "skip"], "units": ["conv1", "conv2"], "tasks": ["depth"]}
    >>> policy_rows({**policy, "probabilities": [[[0.75, 0.25]], [[0.0, 0.0]]]})["depth"].tolist()
    [[0.75, nan], [0.25, nan]]
    """
    tasks = list(policy["tasks"])
    # Of nodes that choose, what is read at each says less than which of them a task comes by.
    table = np.array(policy.get("by_task", policy["probabilities"]), np.float64)
    p = table.reshape(len(policy["units"]), len(tasks), len(policy["options"]))
    found = {}
    for number, task in enumerate(tasks):
        rows = p[:, number].T.copy()
        rows[:, ~rows.any(axis=0)] = np.nan
        found[task] = rows
    return found


def draw_policy(policy: Mapping[str, Any], path: Path) -> None:
    """Draw learned probabilities: one panel a task, in it one row an option, one column a unit; bright is probable.

    Args:
        policy: ``{"options": […], "units": […], "tasks": […], "probabilities": [units][tasks][options]}``.
        path: The PNG file to write.
    """
    options, units = [plain(option, 16) for option in policy["options"]], list(policy["units"])
    panels = policy_rows(policy)
    height = 0.5 + height_of_names(units) + len(panels) * (0.1 + _ROW * max(2, len(options)))
    with figure(width_of(len(units)), height, path) as drawn:
        all_axes = drawn.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (task, rows) in zip(all_axes, panels.items(), strict=True):
            image = axes.imshow(rows, cmap=SHADES, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            _part_cells(axes, len(options), len(units))
            axes.set_yticks(range(len(options)), options, fontsize=6)
            axes.set_ylabel(plain(task, 16), fontsize=8, rotation=0, ha="right", va="center")
            bare(axes)
        name_units(all_axes[-1], units)
        all_axes[-1].set_xlabel("units, from the image on", fontsize=8)
        entitle(drawn, f"What the search learned ({policy.get('method', '')}): probability of each option")
        scale_beside(drawn, image, all_axes, "probability")


def correlations(policy: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the cosines in a policy's JSON, ``[T, T]``; NaN where two tasks have no unit in common."""
    tasks, found = list(policy["tasks"]), policy.get("correlation") or {}
    rows = [[found.get(one, {}).get(other) for other in tasks] for one in tasks]
    return np.array(rows, np.float64).reshape(len(tasks), len(tasks))


def draw_correlation(policy: Mapping[str, Any], path: Path) -> bool:
    """Draw the cosine of each two tasks' policies, dark where it is high; return whether there was one to draw."""
    tasks, cosines = [plain(task, 20) for task in policy["tasks"]], correlations(policy)
    apart = cosines[~np.eye(len(tasks), dtype=bool)]
    if not np.isfinite(apart).any():
        return False
    side = 1.5 + 0.5 * len(tasks)
    # From the least on: most cosines of probabilities are near 1, and would all look alike.
    least = min(0.95, float(np.floor(np.nanmin(apart) * 20) / 20))
    with figure(max(4.6, side + 1.4), max(2.6, side), path) as drawn:
        axes = drawn.add_subplot()
        image = axes.imshow(cosines, cmap="Blues", vmin=least, vmax=1, interpolation="nearest")
        for (y, x), cosine in np.ndenumerate(cosines):
            dark = cosine > least + 0.6 * (1 - least)
            text = "–" if np.isnan(cosine) else f"{cosine:.2f}"
            axes.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if dark else INK)
        axes.set_xticks(range(len(tasks)), tasks, fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(tasks)), tasks, fontsize=8)
        bare(axes)
        entitle(drawn, "How alike the tasks' policies are")
        scale_beside(drawn, image, [axes], "cosine")
    return True


def _part_cells(axes: Axes, rows: int, columns: int) -> None:
    """Draw thin lines between cells, so that equal neighbours can be counted."""
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.7)
    axes.tick_params(which="minor", length=0)
