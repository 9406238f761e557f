"""Ctrl-C and SIGTERM: finish the step, save, and end; a second one ends at once."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupted(KeyboardInterrupt):  # no Exception: `except Exception` in a library must not swallow it
    """The user, or the system, wants the run to end.

    Attributes:
        exit_code: 130 after Ctrl-C, 143 after SIGTERM.
        checkpoint: Where the run can go on from; None if nothing was saved just now.
    """

    def __init__(self, signal_number: int, checkpoint: Path | None = None) -> None:
        # What a shell reports of a program that a signal has ended.
        self.exit_code = 128 + signal_number
        self.checkpoint = checkpoint
        where = f"; checkpoint: {checkpoint}" if checkpoint else "; earlier checkpoints are good"
        super().__init__(f"interrupted by {signal.Signals(signal_number).name}{where}")


class Interruption:
    """While open, the first SIGINT or SIGTERM is only noted; a second one raises :class:`Interrupted` at once.

    Outside the main thread Python allows no signal handlers, and this does nothing.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            raise Interrupted(number)
        self.signal_number = number
