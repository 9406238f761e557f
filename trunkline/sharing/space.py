"""A space: a backbone, and the options that its tasks have at every unit.

A sharing plan is a space with one option an entry. A search starts from one with several, and ends by picking one of
each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from trunkline.errors import InvalidConfig
from trunkline.sharing.backbone import Backbone, UnitTable
from trunkline.sharing.join import Join
from trunkline.sharing.plan import SKIP, BackboneId, Choice, SharingPlan, View, check_task_names
from trunkline.sharing.plan_check import check_plan
from trunkline.sharing.units import Granularity, Unit


@dataclass(frozen=True, slots=True)
class Option:
    """What a task may run at a unit.

    Attributes:
        instance: Number of the weight instance; 0 is the backbone's own.
        skip: Whether it runs what stands in for the unit instead.
        channels: Share of the unit's inner width, see :class:`~trunkline.sharing.plan.View`.
    """

    instance: int = 0
    skip: bool = False
    channels: float = 1.0

    @classmethod
    def of(cls, choice: Choice) -> Option:
        """Return the option that a plan's entry stands for."""
        if isinstance(choice, View):
            return cls(choice.instance, channels=choice.channels)
        return cls(skip=True) if choice == SKIP else cls(int(choice))

    @property
    def choice(self) -> Choice:
        """The plan's entry for it."""
        if self.skip:
            return SKIP
        return self.instance if self.channels == 1.0 else View(instance=self.instance, channels=self.channels)


@dataclass(frozen=True, slots=True)
class ChoiceId:
    """A choice that is open: at a unit, or at a read of a join.

    Attributes:
        place: Name of the unit, or of the join.
        task: Whose choice it is.
        read: Of a join whose reads are chosen one by one, the number of the read.
    """

    place: str
    task: str
    read: int | None = None


@dataclass(frozen=True, slots=True)
class OpenJoin:
    """A join, and what is open about its reads.

    Attributes:
        join: With all the reads that it may have.
        open: ``none``; ``one``: exactly one of the reads is taken, so the fragment has one input; ``each``: every read
            but the first is taken or left out by a choice of its own, whose options are "off" and "on".
    """

    join: Join
    open: Literal["none", "one", "each"] = "none"

    @property
    def choices(self) -> tuple[ChoiceId, ...]:
        """The choices that it brings."""
        if self.open == "one":
            return (ChoiceId(self.join.name, self.join.task),)
        if self.open == "each":
            return tuple(ChoiceId(self.join.name, self.join.task, read) for read in range(1, len(self.join.reads)))
        return ()

    @property
    def made_for(self) -> Join:
        """The join that its fragment is made for: with all reads, or, where one is taken, with one."""
        return self.join.model_copy(update={"reads": self.join.reads[:1]}) if self.open == "one" else self.join

    def picked(self, picks: Mapping[ChoiceId, int]) -> Join:
        """Return the join with the reads that are picked."""
        if self.open == "one":
            return self.join.model_copy(update={"reads": (self.join.reads[picks[self.choices[0]]],)})
        if self.open == "each":
            left_out = tuple(choice.read for choice in self.choices if not picks[choice])
            return self.join.model_copy(update={"left_out": left_out})
        return self.join


Options = tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """What the tasks of a backbone may share, all of it known: nothing about the backbone is asked again.

    Attributes:
        backbone: The backbone.
        table: Its units.
        tasks: Task names in output order.
        entries: By unit and task, the options; one where nothing is open.
        tie: Whether an instance that is reached with different inputs is one set of weights, or a clone for each.
            While choices are open it is one in any case: the clones are made when the plan is lowered.
        batchnorm: As in a plan.
        joins: Fragments between the columns.
    """

    backbone: Backbone
    table: UnitTable
    tasks: tuple[str, ...]
    entries: Mapping[str, Mapping[str, Options]]
    tie: bool = True
    batchnorm: Literal["tied", "task"] = "tied"
    joins: tuple[OpenJoin, ...] = ()

    @classmethod
    def over(
        cls,
        backbone: Backbone,
        tasks: Sequence[str],
        granularity: Granularity,
        options: Callable[[Unit, int], Sequence[Option]],
        **settings: Any,
    ) -> Space:
        """Return the space of all units.

        Args:
            backbone: The backbone.
            tasks: In output order.
            granularity: Of the units.
            options: Gives what the task of a number may run at a unit. What the backbone does not allow there (a skip
                of another shape, a view of a block without an inner map) is left out.
            settings: ``tie``, ``batchnorm`` and ``joins``.

        Raises:
            InvalidConfig: The backbone has no such unit, or a task has no option somewhere.
        """
        check_task_names(tasks)
        table = backbone.table(granularity)
        if not table.units:
            raise InvalidConfig(f"{backbone.name} has no {granularity} with weights: there is nothing to share")
        entries: dict[str, dict[str, Options]] = {}
        for index, unit in enumerate(table.units):
            row = {task: _legal(table, backbone, index, options(unit, t)) for t, task in enumerate(tasks)}
            if not all(row.values()):
                raise InvalidConfig("no task may run anything here", place=f"units.{unit.name}")
            entries[unit.name] = row
        return cls(backbone, table, tuple(tasks), entries, **settings)

    @classmethod
    def of_plan(cls, plan: SharingPlan, backbone: Backbone) -> Space:
        """Return a plan as a space.

        Raises:
            InvalidConfig: The plan does not fit the backbone.
        """
        check_plan(plan, backbone)
        entries = {
            unit: {task: (Option.of(choice),) for task, choice in row.items()} for unit, row in plan.units.items()
        }
        joins = tuple(OpenJoin(join) for join in plan.joins)
        table = backbone.table(plan.granularity)
        return cls(backbone, table, plan.tasks, entries, plan.tie, plan.batchnorm, joins)

    @property
    def choices(self) -> tuple[ChoiceId, ...]:
        """Everything that is open, unit by unit and task by task, then the joins'."""
        units = [
            ChoiceId(unit.name, task)
            for unit in self.table.units
            for task in self.tasks
            if len(self.entries[unit.name][task]) > 1
        ]
        return (*units, *(choice for join in self.joins for choice in join.choices))

    def options(self, choice: ChoiceId) -> int:
        """Return how many options a choice has."""
        if choice.read is not None:
            return 2
        if choice.place in self.entries:
            return len(self.entries[choice.place][choice.task])
        return next(len(join.join.reads) for join in self.joins if choice in join.choices)

    def fixed(self, picks: Mapping[ChoiceId, int]) -> Space:
        """Return the space in which every choice is made as picked."""
        entries = {unit: {task: self._picked(unit, task, picks) for task in self.tasks} for unit in self.entries}
        joins = tuple(OpenJoin(join.picked(picks)) for join in self.joins)
        return replace(self, entries=entries, joins=joins)

    def plan(self, picks: Mapping[ChoiceId, int], *, method: str = "manual", provenance: Any = None) -> SharingPlan:
        """Return the plan in which every choice is made as picked, checked against the backbone.

        Raises:
            InvalidConfig: A task skips everything.
        """
        fixed = self.fixed(picks)
        plan = SharingPlan(
            backbone=BackboneId(name=self.backbone.name, fingerprint=self.backbone.fingerprint),
            tasks=self.tasks,
            granularity=self.table.granularity,
            tie=self.tie,
            batchnorm=self.batchnorm,
            units={unit: {task: row[task][0].choice for task in self.tasks} for unit, row in fixed.entries.items()},
            joins=tuple(join.join for join in fixed.joins),
            method=method,
            provenance=provenance or {},
        )
        check_plan(plan, self.backbone)
        return plan

    def _picked(self, unit: str, task: str, picks: Mapping[ChoiceId, int]) -> Options:
        options = self.entries[unit][task]
        return options if len(options) == 1 else (options[picks[ChoiceId(unit, task)]],)


def _legal(table: UnitTable, backbone: Backbone, index: int, options: Sequence[Option]) -> Options:
    allowed = [option for option in options if not option.skip or table.skips[index] is not None]
    if any(option.channels != 1.0 for option in allowed) and backbone.span(table.units[index]) is None:
        allowed = [option for option in allowed if option.channels == 1.0]
    return tuple(dict.fromkeys(allowed))
