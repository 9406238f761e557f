"""One look for all pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from trunkline.files.write import atomic_write
from trunkline.text import printable, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHARED = "#2f6f9f"
SKIPPED = "#e4e4e4"
INK = "#222222"
TASKS = (
    "#ee8866",
    "#882255",
    "#aaaa00",
    "#332288",
    "#44aa99",
    "#661100",
    "#88ccee",
    "#eedd88",
    "#ee3377",
    "#997700",
)
"""From Paul Tol's schemes, in an order in which the first ones differ most, for readers of any colour vision."""
SHADES = "cividis"
"""Of probabilities: light grows steadily, whatever colours a reader can tell apart."""
MOST_NAMES = 60
"""How many names of units can be read side by side."""
_LONGEST_NAME = 30


def task_colour(index: int) -> str:
    """Return the colour of a task, the same in every picture."""
    return TASKS[index % len(TASKS)]


@contextmanager
def figure(width: float, height: float, path: Path) -> Iterator[Figure]:
    """Give a figure of ``width`` × ``height`` inches and write it to ``path``, atomically: PNG, or as its end says."""
    # Without pyplot: that would look for a display, and keep every figure.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    yield drawn
    content = BytesIO()
    # No stamp of software or time, and no ids by chance: equal runs give equal pictures.
    if path.suffix == ".svg":
        with rc_context({"svg.hashsalt": "trunkline"}):
            drawn.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    else:
        drawn.savefig(content, format="png", dpi=120, metadata={"Software": None})
    atomic_write(path, content.getvalue())


def plain(text: str, limit: int = 40) -> str:
    """Return text that matplotlib draws as it is: no formulas, no control characters, no endless names."""
    # matplotlib takes text between dollars for a formula.
    return shortened(printable(text, "?").replace("$", r"\$"), limit)


def short(name: str) -> str:
    """Return what a way of sharing is called in a picture: a plan's file without its folder.

    >>> short("plan:runs/plans/random-3.json"), short("share-until:2")
    ('random-3', 'share-until:2')
    """
    return PurePath(name).stem if name.startswith("plan:") else name


def entitle(drawn: Figure, title: str) -> None:
    """Write the title above a whole picture, from its left edge on, as much of it as there is room for."""
    # A letter of this size is about a twelfth of an inch wide.
    room = int(12 * drawn.get_figwidth())
    drawn.suptitle(plain(title, room), x=0.01, ha="left", fontsize=10)


def width_of(units: int) -> float:
    """Return how many inches a picture with a column a unit is wide."""
    # Between what a title needs and what a page shows; beyond that, columns get narrower.
    return max(6.4, min(22.0, 2.2 + 0.24 * units))


def height_of_names(units: Sequence[str]) -> float:
    """Return how many inches the units' names take below a picture, and what stands below them."""
    longest = max((len(_ends_of(name, _LONGEST_NAME)) for name in units), default=0)
    return 0.3 + 0.055 * longest


def name_units(axes: Axes, units: Sequence[str], first: float = 0.0) -> None:
    """Write the units' names along the horizontal axis, the first one at ``first``; of very many, some."""
    step = -(-len(units) // MOST_NAMES) if units else 1
    shown = range(0, len(units), step)
    names = [plain(_ends_of(units[i], _LONGEST_NAME)) for i in shown]
    axes.set_xticks([first + i for i in shown], names, rotation=90, fontsize=6, color=INK)


def bare(axes: Axes) -> None:
    """Take away ticks and frame."""
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def beside(axes: Axes, text: str, place: tuple[float, float], points: int) -> None:
    """Write text so many points to the right of a place, or, where that is less than 0, to the left."""
    side = "left" if points > 0 else "right"
    axes.annotate(
        plain(text, 20), place, (points, 0), textcoords="offset points", ha=side, va="center", fontsize=8, color=INK
    )


def scale_beside(drawn: Figure, image: Any, axes: Any, label: str) -> None:
    """Draw what the shades of an image mean, to the right of ``axes``, as a bar of one width in every picture."""
    aspect = max(6.0, drawn.get_figheight() / 0.22)
    bar = drawn.colorbar(image, ax=axes, fraction=0.03, pad=0.01, aspect=aspect)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)


def _ends_of(name: str, limit: int) -> str:
    # Names of layers differ at their ends, those of edges at both.
    half = limit // 2
    return name if len(name) <= limit else f"{name[: half - 1]}…{name[-half:]}"
