"""Steps in which everything is drawn evenly, among steps in which nothing is: how nested widths are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from trunkline.recipe import Moment
from trunkline.seeds import seed_of
from trunkline.supermodel.choices import Draw, OneHot, ScoreFunction

_EVENLY = ScoreFunction(explore=1.0)


@dataclass(frozen=True, slots=True)
class RandomSteps:
    """In a share of the steps all choices are drawn, every option as likely; in the others they take their first one.

    Which steps these are is the same for all groups, so that in the others all tasks run one model.

    Attributes:
        share: Of the steps in which choices are drawn, from 0 to 1.

    >>> always = RandomSteps(1.0)
    >>> [always.draws(Moment("widths", "random", step=step), seed=0) for step in range(3)]
    [True, True, True]
    """

    share: float

    @property
    def hard(self) -> bool:
        """Always: a pass runs one option of each choice."""
        return True

    @property
    def needs_total(self) -> bool:
        """Never: a step is drawn whatever comes behind it."""
        return False

    def __call__(self, draw: Draw) -> Tensor:
        """Return 1 for the option that is taken."""
        if self.draws(draw.moment, draw.seed):
            return _EVENLY(draw)
        return OneHot({draw.group: 0})(draw)

    def draws(self, moment: Moment, seed: int) -> bool:
        """Return whether choices are drawn in this step."""
        drawn = seed_of(f"random-steps/{moment.phase}/{moment.step}", seed)
        return drawn < self.share * 2**64

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return none."""
        return {}
