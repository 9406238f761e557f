"""A relaxation of its own for some turns of a phase: weights may learn under other samples than logits do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from trunkline.recipe import Moment
from trunkline.supermodel.choices import Draw, Relaxation


@dataclass(frozen=True)
class ByTurn:
    """Chooses as the turn's relaxation does.

    Attributes:
        turns: Relaxations by name of the turn; none of them hard.
        other: For all other turns; not hard either.

    >>> import torch
    >>> from trunkline.supermodel.choices import Average, Soft
    >>> relaxation = ByTurn({"weights": Average()}, Soft())
    >>> logits, allowed = torch.tensor([[0.0, 2.0]]), torch.tensor([[True, True]])
    >>> def at(turn: str) -> Tensor:
    ...     return relaxation(Draw(logits, allowed, Moment("search", "search", turn), seed=0, group="depth"))
    >>> at("weights"), at("policy")
    (tensor([[0.5000, 0.5000]]), tensor([[0.1192, 0.8808]]))
    """

    turns: Mapping[str, Relaxation]
    other: Relaxation

    def __post_init__(self) -> None:
        """Refuse hard relaxations.

        Raises:
            ValueError: One of them is: whether a pass runs a plan's own cells may not change from turn to turn.
        """
        if any(relaxation.hard for relaxation in (*self.turns.values(), self.other)):
            raise ValueError("relaxations that differ by turn are all soft")

    @property
    def hard(self) -> bool:
        """Never."""
        return False

    @property
    def needs_total(self) -> bool:
        """Where any of them does."""
        return any(relaxation.needs_total for relaxation in (*self.turns.values(), self.other))

    def __call__(self, draw: Draw) -> Tensor:
        """Return the weights of the options, ``[n, K]``."""
        return self._now(draw.moment)(draw)

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return numbers worth logging, of this turn's relaxation."""
        return self._now(moment).scalars(moment)

    def _now(self, moment: Moment) -> Relaxation:
        return self.turns.get(moment.turn, self.other)
