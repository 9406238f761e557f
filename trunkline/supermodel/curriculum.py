"""A curriculum over choices: they open one after the other, from the last backwards, and until then run as one says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trunkline.recipe import Moment
from trunkline.supermodel.choices import Draw, Relaxation, one_hot


@dataclass(frozen=True, slots=True)
class Curriculum:
    """A relaxation of the last choices of each group; those before them take one option (AdaShare).

    Of n choices the last one is open from the start, and all are after ``full`` walks through the phase's turns. What
    is not open yet has no gradient.

    Attributes:
        inner: The relaxation of what is open.
        full: Walks through all turns after which everything is open; 0 for a start with everything.
        forced: Number of the option that the others take.

    >>> from trunkline.supermodel.choices import Soft
    >>> curriculum = Curriculum(Soft(), full=6)
    >>> [curriculum.open(3, Moment("search", "sample", cycle=cycle)) for cycle in (0, 2, 3, 6, 9)]
    [1, 1, 2, 3, 3]
    """

    inner: Relaxation
    full: int
    forced: int = 0

    @property
    def hard(self) -> bool:
        """Where the inner relaxation is: one option is all that the others ever take."""
        return self.inner.hard

    @property
    def needs_total(self) -> bool:
        """Where the inner relaxation does."""
        return self.inner.needs_total

    def __call__(self, draw: Draw) -> Tensor:
        """Return the weights of the options."""
        weights = self.inner(draw)
        closed = len(weights) - self.open(len(weights), draw.moment)
        picked = torch.full((closed,), self.forced, device=weights.device)
        return torch.cat([one_hot(picked, weights.shape[-1]).to(weights.dtype), weights[closed:]])

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return those of the inner relaxation."""
        return self.inner.scalars(moment)

    def open(self, choices: int, moment: Moment) -> int:
        """Return how many of a group's choices are open, the last ones."""
        if moment.cycle >= self.full:
            return choices
        return 1 + moment.cycle * (choices - 1) // self.full
