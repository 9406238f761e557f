"""A clock that moves only when a fake session runs, so that the protocol is tested without time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from trunkline.bench.device.state import DeviceState
from trunkline.bench.environment import Environment


class FakeClock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class FakeSession:
    """Takes the next of ``latencies_ms`` on the fake clock, and returns ``answer(input index, run number)``."""

    region = "fake"
    provider = "cpu"
    threads = 1
    spinning: bool | None = False
    device_ms: float | None = None
    inputs = ()

    def __init__(
        self,
        clock: FakeClock,
        latencies_ms: Iterable[float] | float,
        answer: Callable[[int, int], np.ndarray] = lambda index, count: np.array([float(index)]),
    ) -> None:
        self.clock = clock
        self.latencies = itertools.repeat(latencies_ms) if isinstance(latencies_ms, int | float) else iter(latencies_ms)
        self.answer = answer
        self.index = -1
        self.runs: list[int] = []
        self.closed = False

    def feed(self, index: int) -> None:
        self.index = index

    def run(self) -> None:
        self.runs.append(self.index)
        self.clock.now += round(next(self.latencies) * 1e6)

    def outputs(self) -> dict[str, np.ndarray]:
        return {"out": self.answer(self.index, len(self.runs))}

    def describe(self) -> dict[str, str]:
        return {"runtime": "fake 1.0"}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def session(clock: FakeClock) -> Callable[..., FakeSession]:
    return lambda latencies_ms, *args: FakeSession(clock, latencies_ms, *args)


@pytest.fixture(autouse=True)
def _a_device_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No verdict depends on how hot the machine of the tests is, or whether it has a quota."""
    monkeypatch.setattr("trunkline.bench.protocol.read_device", lambda **options: DeviceState())


@pytest.fixture
def environment() -> Environment:
    return Environment(cpu="Fake CPU", cores=2, system="Nowhere 1.0", versions={"python": "3.11"})
