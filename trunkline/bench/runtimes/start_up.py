"""How long a model takes from its file to its first result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_NANOSECONDS_PER_MS = 1e6


class StartUp:
    """Adds up the parts of starting a model, so that what only the bench needs in between is left out.

    >>> ticks = iter([0, 3_000_000, 9_000_000, 10_000_000])
    >>> start_up = StartUp(lambda: next(ticks))
    >>> with start_up.part():
    ...     pass
    >>> with start_up.part():
    ...     pass
    >>> start_up.ms
    4.0
    """

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self.ms = 0.0

    @contextmanager
    def part(self) -> Iterator[None]:
        """Count what happens inside."""
        start = self._clock()
        yield
        self.ms += (self._clock() - start) / _NANOSECONDS_PER_MS
