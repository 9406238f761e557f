"""A measurement as bars: the median of each model, its interval, and the time that its work alone would allow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.report.runtime_tables import measurements, runtime_name
from trunkline.report.style import INK, SHARED, SKIPPED, figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Json = Mapping[str, Any]
_ROW_INCHES = 0.28
_WIDTH_INCHES = 7.5


def draw_bench(bench: Json, path: Path) -> None:
    """Draw every measurement below the other; a median that was not steady is hollow.

    Args:
        bench: What ``bench --json`` prints.
        path: The PNG file.
    """
    found = measurements(bench)
    heights = [1.1 + _ROW_INCHES * len(one["models"]) for one in found]
    with figure(_WIDTH_INCHES, sum(heights), path) as drawn:
        axes = drawn.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
        for place, one in zip(axes, found, strict=True):
            _draw_one(place, one)


def _draw_one(axes: Axes, one: Json) -> None:
    models = one["models"]
    for row, model in enumerate(models):
        low, high = model["p50_ci_ms"]
        fill = SHARED if model["stable"] else "white"
        axes.barh(row, model["p50_ms"], height=0.62, color=fill, edgecolor=SHARED)
        axes.plot([low, high], [row, row], color=INK, linewidth=1.2)
        bound = model["bound_ms"]
        if bound is not None:
            axes.plot([bound, bound], [row - 0.4, row + 0.4], color=INK, linestyle=":", linewidth=1.2)
        end = max(high, bound or 0.0)
        axes.annotate(_said(model), (end, row), (4, 0), textcoords="offset points", fontsize=7, va="center")
    axes.set_yticks(range(len(models)), [plain(model["name"], 30) for model in models], fontsize=7)
    axes.invert_yaxis()
    # Room for the numbers behind the longest bar.
    axes.set_xlim(0, 1.25 * max(model["p50_ci_ms"][1] for model in models))
    axes.tick_params(labelsize=7)
    axes.grid(axis="x", color=SKIPPED, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    title = f"{runtime_name(one)}, batch {one['settings']['batch']}, {models[0]['threads']} thread(s)"
    axes.set_title(title, fontsize=9, loc="left")
    hollow = "" if one["stable"] else "; hollow: not steady"
    meaning = f"median and 99 % interval (ms); dotted: what its MACs allow at the first model's rate{hollow}"
    axes.set_xlabel(meaning, fontsize=7)


def _said(model: Json) -> str:
    change = model["change_percent"]
    text = f"{model['p50_ms']:.2f}"
    return text if change is None else f"{text}, Δ {change:+.1f} %"
