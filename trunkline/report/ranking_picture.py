"""What rankings of trees expected against what the trees came to: a panel for each ranking, a mark for each tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.report.style import INK, SHARED, SKIPPED, figure, plain, short, task_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Json = Mapping[str, Any]
COLUMNS = 3
PANEL_WIDTH, PANEL_HEIGHT = 2.9, 2.7
"""Of a panel, in inches."""


def draw_rankings(rankings: Sequence[Json], path: Path) -> bool:
    """Draw the picture; return whether there was something to draw.

    The tree that a ranking has first is marked. A ranking that was right would have all marks on a rising curve, and
    its first one at the top.
    """
    shown = [found for found in rankings if found["trees"]]
    if not shown:
        return False
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    with figure(max(4.6, columns * PANEL_WIDTH), rows * PANEL_HEIGHT + 0.3, path) as drawn:
        panels = drawn.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for number, (panel, found) in enumerate(zip(panels, shown, strict=False)):
            _draw_panel(panel, found, task_colour(number))
        for panel in panels[len(shown) :]:
            panel.set_visible(False)
        for panel in panels[::columns]:
            panel.set_ylabel("Δ mean, measured (%)", fontsize=8)
    return True


def _draw_panel(axes: Axes, found: Json, colour: str) -> None:
    trees = found["trees"]
    axes.axhline(0.0, color=SKIPPED, linewidth=0.8, zorder=0)
    axes.scatter([tree["score"] for tree in trees], [tree["delta"] for tree in trees], s=16, color=SHARED, zorder=2)
    first = next(tree for tree in trees if tree["name"] == found["first"])
    name = plain(f"its first: {short(found['first'])}", 30)
    axes.scatter([first["score"]], [first["delta"]], s=70, facecolors="none", edgecolors=colour, zorder=3, label=name)
    spearman = found["spearman"]["value"]
    said = "" if spearman is None else f", Spearman {spearman:+.2f}"
    axes.set_title(plain(f"{found['by']}{said}"), fontsize=9, loc="left", color=INK)
    axes.set_xlabel("score", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=6, frameon=False, loc="lower right", handlelength=1.0)
