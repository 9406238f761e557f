"""Shows how far a list of jobs is, on stderr: a bar on a terminal, a line for each job elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichBar

from trunkline.text import printable
from trunkline.train.progress.shown import Shown


class JobProgress(Shown):
    """Shows nothing."""

    def begun(self, name: str) -> None:
        """Show nothing."""

    def ended(self, name: str, failure: str) -> None:
        """Show nothing."""


class JobLines(JobProgress):
    """Plain lines: each job that ends, with the time that it took."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._begun: dict[str, float] = {}

    def begun(self, name: str) -> None:
        """Remember when it began."""
        self._begun[name] = self._clock()

    def ended(self, name: str, failure: str) -> None:
        """Print how it ended."""
        seconds = self._clock() - self._begun[name]
        how = f"failed: {failure}" if failure else "done"
        self._stream.write(printable(f"{name}: {how} ({seconds:.0f} s)", keep="\n") + "\n")
        self._stream.flush()


class JobBar(JobProgress):
    """A bar over all jobs, with those that run now behind it; a job that fails is a line above it."""

    def __init__(self, stream: TextIO, count: int) -> None:
        self._bar = RichBar(
            TextColumn("runs"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            console=Console(file=stream),
        )
        self._row = self._bar.add_task("runs", total=count, now="")
        self._running: list[str] = []

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begun(self, name: str) -> None:
        """Show it among those that run."""
        self._running.append(name)
        self._bar.update(self._row, now=", ".join(self._running))

    def ended(self, name: str, failure: str) -> None:
        """Move the bar."""
        self._running.remove(name)
        if failure:
            # Without markup: rich would take the [brackets] of a name for a style.
            self._bar.console.print(f"{name} failed: {failure}", markup=False, highlight=False)
        self._bar.update(self._row, advance=1, now=", ".join(self._running))


def make_job_progress(count: int, *, quiet: bool = False, stream: TextIO | None = None) -> JobProgress:
    """Return the progress of ``count`` jobs that suits ``stream`` (default: stderr)."""
    stream = stream or sys.stderr
    if quiet:
        return JobProgress()
    return JobBar(stream, count) if stream.isatty() else JobLines(stream)
