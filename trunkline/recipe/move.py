"""How gradients move a group of parameters: an optimiser, and a schedule of its learning rate."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e30, allow_inf_nan=False)]
"""At most 1e30, far below the end of float32: a number that is out of all proportion is refused, not trained to NaN."""


class RecipeData(BaseModel):
    """Data that cannot be changed, in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimiser(RecipeData):
    """How gradients move parameters.

    Attributes:
        kind: ``adam`` (with L2 decay inside the gradient, as in the papers) or ``sgd``.
        lr: Learning rate before the schedule.
        betas: Decay rates of Adam's two running averages; SGD ignores them.
        momentum: Of SGD; Adam ignores it.
        nesterov: Whether SGD looks ahead by its momentum (DEN); Adam ignores it.
        weight_decay: L2 decay of every parameter in the group that has a gradient.
    """

    kind: Literal["adam", "sgd"] = "adam"
    lr: Positive = 1e-3
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: NotNegative = 0.0

    @model_validator(mode="after")
    def _momentum_to_look_ahead(self) -> Self:
        if self.nesterov and self.kind == "sgd" and not self.momentum:
            raise ValueError("`nesterov` looks ahead by the momentum, which is 0")
        return self

    def faster(self, factor: float) -> Self:
        """Return the same with ``factor`` times the learning rate.

        >>> Optimiser(kind="sgd", lr=0.5).faster(4.0).lr
        2.0
        """
        return self.model_copy(update={"lr": self.lr * factor})


class Schedule(RecipeData):
    """The factor on the learning rate, as a pure function of the step.

    Attributes:
        kind: ``constant``; ``step``: times ``gamma`` after every ``size`` steps; ``drops``: times ``gamma`` at each of
            ``at``; ``poly``: ``(1 - step / total) ** power``; ``cosine``: half a cosine from 1 to 0.
        size: Steps between two decays; needed by, and only read by, ``step``.
        at: Where ``drops`` are, as shares of all steps (DEN: at a half and at three quarters).
        gamma: Factor of one decay of ``step`` or ``drops``.
        power: Exponent of ``poly``.
        floor: The factor never falls below this.

    >>> Schedule(kind="step", size=100, gamma=0.5).factor(250, total=1_000)
    0.25
    """

    kind: Literal["constant", "step", "drops", "poly", "cosine"] = "constant"
    size: Count | None = None
    at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.75)
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.5
    power: Positive = 0.9
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _size_where_needed(self) -> Self:
        if self.kind == "step" and self.size is None:
            raise ValueError('a "step" schedule needs `size`, the steps between two decays')
        return self

    @property
    def needs_total(self) -> bool:
        """Whether the factor depends on how many steps there will be."""
        return self.kind in ("drops", "poly", "cosine")

    def factor(self, step: int, total: int) -> float:
        """Return the factor at ``step`` (from 0) of ``total``."""
        # Beyond the end, `poly` would take a power of a negative number, which is complex in Python.
        done = min(step / total, 1.0)
        factor = 1.0
        if self.kind == "step" and self.size is not None:
            factor = self.gamma ** (step // self.size)
        elif self.kind == "drops":
            factor = self.gamma ** sum(done >= share for share in self.at)
        elif self.kind == "poly":
            factor = (1.0 - done) ** self.power
        elif self.kind == "cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * done))
        return max(factor, self.floor)


class Move(RecipeData):
    """A group of parameters, and how gradients move it.

    Attributes:
        group: Name of the model's group, such as ``policy``; ``weights`` is all of ``weights.backbone``,
            ``weights.joins`` and ``weights.heads``.
        optimiser: How gradients move it.
        schedule: Learning rate over the turn's own steps: steps of other turns do not count.
        per_user: Whether a weight's learning rate is divided by the number of tasks that use it, so that what many
            share does not move many times as fast (BMTAS, Sec. 4; stated by its authors for their baselines too).

    >>> move = Move(group="weights.joins", optimiser=Optimiser(lr=0.1), schedule=Schedule(kind="poly", power=1.0))
    >>> move.lr(step=50, total=100)
    0.05
    """

    group: Name = "weights"
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    per_user: bool = False

    def lr(self, step: int, total: int) -> float:
        """Return the learning rate of the turn's own step ``step`` of ``total``."""
        return self.optimiser.lr * self.schedule.factor(step, total)
