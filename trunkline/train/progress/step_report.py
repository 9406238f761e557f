"""What is known after a training step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is known after a step.

    Attributes:
        phase: Name.
        turn: Name.
        step: Steps completed, this one included.
        steps: Steps of the phase.
        losses: By task, of this step's batch, unweighted.
        terms: By name, unweighted.
        rates: Learning rates of the step, by group of parameters.
        images_per_s: Training speed of late; 0 where unknown.
        scalars: What the model reports, such as its temperature.
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


class Rate:
    """Images per second since the last restart: pauses for evaluations and checkpoints do not count."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Start counting anew."""
        self._images, self._began = 0, self._clock()

    def add(self, images: int) -> None:
        """Count the images of a step."""
        self._images += images

    @property
    def per_s(self) -> float:
        """The mean rate so far."""
        return self._images / max(self._clock() - self._began, 1e-9)
