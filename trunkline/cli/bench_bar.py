"""How far a measurement is: a bar on a terminal, drawn between rounds, where nothing is timed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from trunkline.bench.protocol import Progress

_EVERY_S = 0.5


@contextmanager
def bench_bar(stream: TextIO | None = None) -> Iterator[Progress | None]:
    """Give what is told the rounds done and those to do; nothing where ``stream``, stderr, is no terminal."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield None
        return
    # Not at the top: importing rich would delay every start of the command line.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichBar

    columns = (TextColumn("rounds"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn())
    # No thread that draws by itself: it would take the core that is measured.
    with RichBar(*columns, console=Console(file=stream), auto_refresh=False, transient=True) as bar:
        task, drawn_at = bar.add_task("", total=None), -_EVERY_S

        def show(done: int, planned: int) -> None:
            nonlocal drawn_at
            now = time.monotonic()
            bar.update(task, completed=done, total=max(done, planned))
            if now - drawn_at >= _EVERY_S:
                drawn_at = now
                bar.refresh()

        yield show
