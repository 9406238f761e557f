"""The report of one training step, and the throughput in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class StepReport:
    """The numbers of one step.

    Attributes:
        phase: Name of the phase.
        turn: Name of the turn within it.
        step: Steps completed, this one included.
        steps: Steps of the whole phase.
        losses: Unweighted loss of this step's batch, by task.
        terms: Unweighted loss terms, by name.
        rates: Learning rates of the step, by group of parameters.
        images_per_s: Throughput since the last pause; 0 where unknown.
        scalars: Numbers that the model reports, such as its temperature.

    >>> report = StepReport("train", "weights", 1, 100, {"depth": 0.25}, scalars={"temperature": 5.0})
    >>> record = report.record()
    >>> record["temperature"], record["step"], record["losses"]
    (5.0, 1, {'depth': 0.25})
    """

    phase: str
    turn: str
    step: int
    steps: int
    losses: Mapping[str, float]
    terms: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    images_per_s: float = 0.0
    scalars: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return the line of ``metrics.jsonl``."""
        # What the model reports comes first, so that it can replace no key of ours.
        return {
            **self.scalars,
            "kind": "step",
            "phase": self.phase,
            "turn": self.turn,
            "step": self.step,
            "losses": self.losses,
            "terms": self.terms,
            "lr": self.rates,
            "images_per_s": self.images_per_s,
        }


class Throughput:
    """Images per second since the last restart: pauses for evaluations and checkpoints do not count."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Count from here, as if no image had been seen."""
        self._images, self._began = 0, self._clock()

    def add(self, images: int) -> None:
        """Count the images of a step."""
        self._images += images

    @property
    def images_per_s(self) -> float:
        """The mean since the last restart."""
        # A coarse clock may not have moved yet.
        return self._images / max(self._clock() - self._began, 1e-9)
