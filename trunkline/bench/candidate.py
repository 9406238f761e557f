"""What competes: one model, or several run one after another as a single answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trunkline.bench.footprint import UNKNOWN_FOOTPRINT, Footprint
from trunkline.bench.parameters import Parameters
from trunkline.bench.runtimes.base import TimedSession
from trunkline.bench.runtimes.inputs import Array, FedInput
from trunkline.errors import WorkFailed


@dataclass(frozen=True, slots=True)
class Macs:
    """Multiply-accumulates that are really executed for one image.

    Attributes:
        backbone: Those of all nodes but the heads'.
        heads: Those of the task heads.
    """

    backbone: int
    heads: int = 0

    @property
    def total(self) -> int:
        """Backbone and heads together."""
        return self.backbone + self.heads

    def __add__(self, other: Macs) -> Macs:
        return Macs(self.backbone + other.backbone, self.heads + other.heads)

    def to_json(self) -> dict[str, int]:
        """Return plain data."""
        return {"macs": self.total, "backbone_macs": self.backbone, "head_macs": self.heads}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A named competitor.

    Attributes:
        name: Its name in the report.
        sessions: What is run, in this order; N independent single-task models are one candidate of N sessions.
        macs: Executed work, where it could be counted.
        parameters: Stored numbers, where they could be counted.
        footprint: What it takes of disk, memory and time to start, as far as that was measured.
        difference: Largest difference of its outputs from onnxruntime's on the CPU, relative to the largest value of
            each; infinite where shapes differ, ``None`` where they were not compared.
        quantised: Whether it computes in 8-bit integers; ``None`` where that is not known.
    """

    name: str
    sessions: tuple[TimedSession, ...]
    macs: Macs | None = None
    parameters: Parameters | None = None
    footprint: Footprint = UNKNOWN_FOOTPRINT
    difference: float | None = None
    quantised: bool | None = None

    def __post_init__(self) -> None:
        if not self.sessions:
            raise ValueError(f"candidate {self.name!r} has no session")

    @property
    def provider(self) -> str:
        """Name of what executes it; several are joined by commas."""
        return ", ".join(dict.fromkeys(session.provider for session in self.sessions))

    @property
    def threads(self) -> int:
        """The most threads any session uses."""
        return max(session.threads for session in self.sessions)

    @property
    def spinning(self) -> bool | None:
        """Whether any session's idle threads spin; ``None`` where that is known of none."""
        known = [session.spinning for session in self.sessions if session.spinning is not None]
        return any(known) if known else None

    @property
    def inputs(self) -> tuple[FedInput, ...]:
        """What all sessions are fed with, session by session."""
        return tuple(one for session in self.sessions for one in session.inputs)

    @property
    def region(self) -> str:
        """What is timed, in words."""
        region, count = self.sessions[0].region, len(self.sessions)
        return region if count == 1 else f"{count} sessions one after another, each: {region}"

    @property
    def device_ms(self) -> float | None:
        """What devices of their own took for the last run of every session; ``None`` where one does not tell."""
        told = [session.device_ms for session in self.sessions]
        return None if None in told else sum(part for part in told if part is not None)

    def feed(self, index: int) -> None:
        """Choose the same input for every session."""
        for session in self.sessions:
            session.feed(index)

    def run(self) -> None:
        """Run every session once."""
        for session in self.sessions:
            session.run()

    def outputs(self) -> list[dict[str, Array]]:
        """Return the last outputs, session by session."""
        return [session.outputs() for session in self.sessions]


class OutputCheck:
    """Makes sure that a candidate computes the same finite numbers while it is timed as it did before.

    A run that returns early, from a cache or with stale memory would otherwise win.
    """

    def __init__(self, candidate: Candidate, tolerance: float) -> None:
        self._candidate = candidate
        self._tolerance = tolerance
        self._expected: dict[int, list[dict[str, Array]]] = {}

    def __call__(self, index: int) -> None:
        """Compare the last outputs, made from input ``index``, with the first ones made from it.

        Raises:
            WorkFailed: An output is not finite, or it differs by more than the tolerance.
        """
        found = self._candidate.outputs()
        for outputs, expected in zip(found, self._expected.get(index, found), strict=True):
            for name, array in outputs.items():
                self._check(name, array, expected.get(name))
        self._expected.setdefault(index, found)

    def _check(self, name: str, array: Array, expected: Array | None) -> None:
        place = f"{self._candidate.name}, output {name}"
        if not np.all(np.isfinite(array)):
            raise WorkFailed(
                "a value is not finite, so its speed means nothing",
                place=place,
                advice="check the weights, and the range of the values where the precision is below float32",
            )
        if expected is None or expected.shape != array.shape or self._differs(array, expected):
            raise WorkFailed(
                "two runs on the same input gave different outputs",
                place=place,
                advice="the model draws random numbers, or the runtime returned before it had finished",
            )

    def _differs(self, array: Array, expected: Array) -> bool:
        # A detector may find nothing; there is no largest value then.
        if array.size == 0:
            return False
        # In float64: a difference of float16 could overflow, one of unsigned integers wrap around.
        first, second = expected.astype(np.float64), array.astype(np.float64)
        scale = float(np.max(np.abs(first)))
        return bool(np.max(np.abs(first - second)) > self._tolerance * scale)
