"""What a GPU itself takes for a run: the time between two CUDA events on the stream that runs it.

The bench's latency is the clock of who waits for the result, launches included. Where the device takes much less, the
network is bound by its launches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class DeviceTimer:
    """Two events on a stream; after a run was waited for, :attr:`ms` is the time between them.

    Args:
        stream: That of the run; the current one where not given.
    """

    def __init__(self, stream: Any = None) -> None:
        import torch  # slow to load

        self._stream = stream
        self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        self._has_run = False

    @contextmanager
    def around(self) -> Iterator[None]:
        """Mark the beginning and the end of what is queued inside."""
        self._start.record(self._stream)
        yield
        self._end.record(self._stream)
        self._has_run = True

    @property
    def ms(self) -> float | None:
        """Milliseconds of the last run, which must have been waited for; ``None`` before the first."""
        return float(self._start.elapsed_time(self._end)) if self._has_run else None
