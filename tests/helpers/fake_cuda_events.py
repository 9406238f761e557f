"""CUDA events without a GPU: each notes on which stream it was recorded, and what was done before."""

from __future__ import annotations

from typing import Any


class FakeEvents:
    """In the place of ``torch.cuda.Event``; its clock moves by 2.5 ms whenever an event is recorded."""

    def __init__(self, calls: list[Any] | None = None) -> None:
        self.calls: list[Any] = [] if calls is None else calls
        self.now = 0.0

    def __call__(self, *, enable_timing: bool) -> FakeEvent:
        assert enable_timing, "an event without it has no time"
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, events: FakeEvents) -> None:
        self.events, self.at = events, -1.0

    def record(self, stream: object) -> None:
        self.events.now += 2.5
        self.at = self.events.now
        self.events.calls.append(("event", stream))

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.at >= 0 and end.at >= 0
        return end.at - self.at
