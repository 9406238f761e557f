"""What may be open in a space: a choice at a unit, and a join whose reads are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trunkline.sharing.join import Join


@dataclass(frozen=True, slots=True)
class ChoiceId:
    """A choice that is open: at a unit, or at a read of a join.

    Attributes:
        place: Name of the unit, or of the join.
        task: Name of the task whose choice it is.
        read: Number of the read, for a join whose reads are chosen one by one; ``None`` otherwise.
        of: What ``place`` is. A join may be called like a unit.
    """

    place: str
    task: str
    read: int | None = None
    of: Literal["unit", "join"] = "unit"

    @property
    def label(self) -> str:
        """What it is called in a log, among the choices of its task."""
        return self.place if self.read is None else f"{self.place}[{self.read}]"


@dataclass(frozen=True, slots=True)
class OpenJoin:
    """A join, and what is open about its reads.

    Attributes:
        join: The join with all the reads that it may have.
        open: ``none``; ``one``: exactly one of the reads is taken, so the fragment has one input; ``each``: every read
            but the first is taken or left out by a choice of its own, whose options are "off" and "on".

    >>> from trunkline.sharing.join import Read
    >>> reads = (Read.column("pool1", "depth"), Read.column("pool1", "seg"), Read.column("conv1", "seg"))
    >>> join = OpenJoin(Join(name="fuse", kind="project", site="pool1", task="depth", reads=reads), open="each")
    >>> [choice.read for choice in join.choices]
    [1, 2]
    >>> off, on = 0, 1
    >>> join.picked({join.choices[0]: off, join.choices[1]: on}).left_out
    (1,)
    """

    join: Join
    open: Literal["none", "one", "each"] = "none"

    @property
    def choices(self) -> tuple[ChoiceId, ...]:
        """What is open about it."""
        name, task = self.join.name, self.join.task
        if self.open == "one":
            return (ChoiceId(name, task, of="join"),)
        if self.open == "each":
            # The first read is the column's own value, which stays: MTL-NAS chooses edges from other columns only.
            return tuple(ChoiceId(name, task, read, of="join") for read in range(1, len(self.join.reads)))
        return ()

    @property
    def made_for(self) -> Join:
        """The join that its fragment is made for: with all reads, or, where one is taken, with one."""
        if self.open != "one":
            return self.join
        return self.join.model_copy(update={"reads": self.join.reads[:1]})

    def picked(self, picks: Mapping[ChoiceId, int]) -> Join:
        """Return the join with the reads that are picked."""
        if self.open == "one":
            return self.join.model_copy(update={"reads": (self.join.reads[picks[self.choices[0]]],)})
        if self.open == "each":
            left_out = tuple(choice.read for choice in self.choices if not picks[choice])
            return self.join.model_copy(update={"left_out": left_out})
        return self.join
