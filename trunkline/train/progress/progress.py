"""Shows how far a run is, on stderr: a bar on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBar

from trunkline.train.progress.shown import Shown
from trunkline.train.progress.step_report import StepReport


class Progress(Protocol):
    """Receives a report of every step and evaluation, and shows what it likes of it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def step(self, report: StepReport) -> None:
        """Take the report of a step; called after every one."""

    def evaluation(self, phase: str, step: int, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Take the metrics of an evaluation after ``step`` steps."""


def make_progress(*, quiet: bool = False, stream: TextIO | None = None) -> Progress:
    """Return the progress that suits ``stream`` (default: stderr): a bar on a terminal, lines in a file."""
    stream = stream or sys.stderr
    if quiet:
        return Silence()
    return Bar(stream) if stream.isatty() else Lines(stream)


class Silence(Shown):
    """Shows nothing."""

    def step(self, report: StepReport) -> None:
        """Show nothing."""

    def evaluation(self, phase: str, step: int, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Show nothing."""


class Lines(Silence):
    """Plain lines: the first and last step, evaluations, and a step every ``every_s`` seconds."""

    def __init__(self, stream: TextIO, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._every_s = every_s
        self._clock = clock
        self._start: tuple[int, float] | None = None
        self._shown: float | None = None

    def step(self, report: StepReport) -> None:
        """Print a line where one is due."""
        now = self._clock()
        if self._start is None:
            self._start = (report.step, now)
        due = self._shown is None or now - self._shown >= self._every_s
        if due or report.step == report.steps:
            self._shown = now
            self._print(f"{report.phase} {report.step}/{report.steps}  {_losses(report)}{self._remaining(report, now)}")
        # The next phase has steps of another length: its ETA starts from its own first step.
        if report.step == report.steps:
            self._start = self._shown = None

    def evaluation(self, phase: str, step: int, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Print all metrics."""
        self._print(f"{phase} {step} evaluation  {_metrics(metrics)}")

    def _remaining(self, report: StepReport, now: float) -> str:
        first, began = self._start or (report.step, now)
        if report.step in (first, report.steps):  # no step was timed yet, or none is left
            return ""
        seconds = (now - began) / (report.step - first) * (report.steps - report.step)
        return f"  ETA {int(seconds) // 60}:{int(seconds) % 60:02d}"

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class Bar(Silence):
    """A bar with the time that is left, and the losses behind it."""

    def __init__(self, stream: TextIO) -> None:
        self._bar = RichBar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[values]}"),
            console=Console(file=stream),
        )
        self._rows: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, report: StepReport) -> None:
        """Move the phase's bar."""
        if report.phase not in self._rows:
            self._rows[report.phase] = self._bar.add_task(report.phase, total=report.steps, values="")
        self._bar.update(self._rows[report.phase], completed=report.step, values=_losses(report))

    def evaluation(self, phase: str, step: int, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Print all metrics above the bar."""
        # Without markup: rich would take the [brackets] of a name for a style.
        self._bar.console.print(f"{phase} {step} evaluation  {_metrics(metrics)}", markup=False, highlight=False)


def _losses(report: StepReport) -> str:
    values = "  ".join(f"{task} {loss:.4g}" for task, loss in report.losses.items())
    return f"{values}  {report.images_per_s:.1f} images/s" if report.images_per_s else values


def _metrics(metrics: Mapping[str, Mapping[str, float]]) -> str:
    shown = []
    for task, values in metrics.items():
        shown += [f"{task}.{name} {value:.4g}" for name, value in values.items()]
    return "  ".join(shown)
