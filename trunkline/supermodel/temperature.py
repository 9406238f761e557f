"""How soft a sample of options is, as a function of the moment: the temperature of a Gumbel-softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from trunkline.recipe import Moment


class Temperature(Protocol):
    """A temperature by moment: anything that has :meth:`at`, so that a method may bring a schedule of its own."""

    @property
    def needs_total(self) -> bool:
        """Whether it depends on the number of steps of the phase, so that a longer phase would have had another."""

    def at(self, moment: Moment) -> float:
        """Return the temperature, above 0."""


class Decay(BaseModel):
    """A temperature that falls in steps: ``start · decay^(step // every)``, at least ``floor``.

    AutoMTL's release decays 5 by 0.965 every hundred policy steps; with 100 policy steps in 500 that is ``every=500``,
    with 50 in 100 it is ``every=200``. The paper gives no schedule.

    >>> Decay(start=4.0, decay=0.5, every=10).at(Moment("search", "sample", step=25, of=100))
    1.0
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(5.0, gt=0)
    decay: float = Field(0.965, gt=0, le=1)
    every: int = Field(500, ge=1, description="steps of the phase, those of all its turns together")
    floor: float = Field(1e-6, gt=0)

    @property
    def needs_total(self) -> bool:
        """Whether it depends on how many steps there will be: never."""
        return False

    def at(self, moment: Moment) -> float:
        """Return the temperature."""
        return max(self.floor, self.start * self.decay ** (moment.step // self.every))


@dataclass(frozen=True, slots=True)
class Linear:
    """A temperature that goes from ``start`` to ``end`` with the phase (BMTAS: 5.0 to 0.1).

    >>> Linear(5.0, 1.0).at(Moment("search", "sample", step=50, of=100))
    3.0
    """

    start: float = 5.0
    end: float = 0.1

    @property
    def needs_total(self) -> bool:
        """Whether it depends on how many steps there will be."""
        return self.start != self.end

    def at(self, moment: Moment) -> float:
        """Return the temperature."""
        return self.start + (self.end - self.start) * moment.done


@dataclass(frozen=True, slots=True)
class SquareRoot:
    """A temperature that falls from ``start`` to ``end`` with the square root of the steps: ``start / √(1 + c·step)``.

    c is such that it ends where it should, whatever the number of steps.

    >>> fall = SquareRoot(10.0, 1.0)
    >>> [round(fall.at(Moment("search", "sample", step=step, of=99)), 2) for step in (0, 1, 99)]
    [10.0, 7.07, 1.0]
    """

    start: float
    end: float

    @property
    def needs_total(self) -> bool:
        """Whether it depends on how many steps there will be."""
        return self.start != self.end

    def at(self, moment: Moment) -> float:
        """Return the temperature."""
        falls_by = (self.start / self.end) ** 2 - 1
        return float(self.start / (1 + falls_by * moment.done) ** 0.5)


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A temperature that falls from ``start`` towards 0 with a power of what is left of the phase (MTL-NAS: 2).

    It stops short of 0, which nothing can be divided by: the release reaches it in its last step.

    >>> Polynomial().at(Moment("search", "sample", step=50, of=100))
    0.25
    """

    start: float = 1.0
    power: float = 2.0
    floor: float = 1e-6

    @property
    def needs_total(self) -> bool:
        """Whether it depends on how many steps there will be: always."""
        return True

    def at(self, moment: Moment) -> float:
        """Return the temperature."""
        return float(max(self.floor, self.start * (1.0 - moment.done) ** self.power))
