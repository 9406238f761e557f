"""One look for all pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.files.write import atomic_write
from trunkline.text import printable, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARED = "#2f6f9f"
SKIPPED = "#e4e4e4"
INK = "#222222"
TASKS = ("#d1495b", "#edae49", "#66a182", "#8d6a9f", "#3d8d9e", "#a0643c", "#7a7a7a", "#c08497")


def task_colour(index: int) -> str:
    """Return the colour of a task, the same in every picture."""
    return TASKS[index % len(TASKS)]


@contextmanager
def figure(width: float, height: float, path: Path) -> Iterator[Figure]:
    """Give a figure of ``width`` × ``height`` inches and write it to ``path`` as PNG, atomically."""
    # Without pyplot: that would look for a display, and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    yield drawn
    content = BytesIO()
    # No software stamp: equal runs give equal pictures.
    drawn.savefig(content, format="png", dpi=120, metadata={"Software": None})
    atomic_write(path, content.getvalue())


def plain(text: str, limit: int = 40) -> str:
    """Return text that matplotlib draws as it is: no formulas, no control characters, no endless names."""
    # matplotlib takes text between dollars for a formula.
    return shortened(printable(text, "?").replace("$", r"\$"), limit)
