"""An option: what a task may run at a unit, as a space holds it and a plan writes it."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.sharing.plan import SKIP, Choice, View


@dataclass(frozen=True, slots=True)
class Option:
    """What a task may run at a unit.

    Attributes:
        instance: Number of the weight instance; 0 is the backbone's own.
        skip: Whether it runs what stands in for the unit instead.
        channels: Share of the unit's inner width, see :class:`~trunkline.sharing.plan.View`.

    >>> Option.of("skip"), Option(instance=2).choice
    (Option(instance=0, skip=True, channels=1.0), 2)
    """

    instance: int = 0
    skip: bool = False
    channels: float = 1.0

    @classmethod
    def of(cls, choice: Choice) -> Option:
        """Return the option that a plan's entry stands for."""
        if isinstance(choice, View):
            return cls(choice.instance, channels=choice.channels)
        if choice == SKIP:
            return cls(skip=True)
        return cls(int(choice))

    @property
    def choice(self) -> Choice:
        """The same option as an entry of a plan."""
        if self.skip:
            return SKIP
        # A view of all channels is the instance itself, so it shares with those that run it whole.
        if self.channels == 1.0:
            return self.instance
        return View(instance=self.instance, channels=self.channels)


Options = tuple[Option, ...]
