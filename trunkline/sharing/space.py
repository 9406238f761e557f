"""A space: a backbone, and the options that its tasks have at every unit.

A sharing plan is a space with one option an entry. A search starts from one with several, and ends by picking one of
each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import shape_of
from trunkline.graph.roles import is_parameter
from trunkline.sharing.backbone import Backbone, UnitTable
from trunkline.sharing.columns import Columns
from trunkline.sharing.join_check import join_problems
from trunkline.sharing.open_join import ChoiceId, OpenJoin
from trunkline.sharing.option import Option, Options
from trunkline.sharing.plan import Choice, SharingPlan, check_task_names
from trunkline.sharing.plan_check import check_plan, make_plan
from trunkline.sharing.units import Granularity, Unit
from trunkline.sharing.view import ViewSpan
from trunkline.text import quoted


@dataclass(frozen=True, slots=True)
class Space:
    """What the tasks of a backbone may share, all of it known: nothing about the backbone is worked out again.

    Attributes:
        backbone: The backbone that the tasks share.
        table: Its units at the space's granularity.
        tasks: Task names in output order.
        entries: Options by unit and task; one option where nothing is open.
        tie: Whether an instance that is reached with different inputs is one set of weights, or a clone for each.
            While choices are open it is one in any case: the clones are made when the plan is lowered.
        batchnorm: ``tied`` or ``task``, as in a :class:`~trunkline.sharing.plan.SharingPlan`.
        joins: Fragments between the columns.
        chosen_by: Who chooses an instance of a block. ``task``: each task at each unit (BMTAS). ``node``: what reads
            it. Instances are nodes of a tree then: what task k chooses at a unit is what instance k of the next unit
            reads, and behind the last unit what the head of task k reads (Learn-to-Branch).

    AutoMTL's space: every task runs the shared instance, its own one, or the skip (Sec. 3.1).

    >>> from trunkline.ingest.read import read
    >>> def options(unit, task):
    ...     return [Option(0), Option(task + 1), Option(skip=True)]
    >>> space = Space.over(Backbone(read("zoo:tiny")), ["depth", "seg"], "operator", options)
    >>> choice = space.choices[0]
    >>> choice
    ChoiceId(place='conv1', task='depth', read=None, of='unit')
    >>> plan = space.plan({choice: 0 for choice in space.choices})
    >>> plan.choice("conv1", "depth"), plan.method
    (0, 'manual')
    """

    backbone: Backbone
    table: UnitTable
    tasks: tuple[str, ...]
    entries: Mapping[str, Mapping[str, Options]]
    tie: bool = True
    batchnorm: Literal["tied", "task"] = "tied"
    joins: tuple[OpenJoin, ...] = ()
    chosen_by: Literal["task", "node"] = "task"

    def __post_init__(self) -> None:
        """Refuse choices by nodes where there are no nodes.

        Raises:
            ValueError: Nodes choose, but a unit's options are not its T instances, or there are joins besides.
        """
        if self.chosen_by == "task":
            return
        nodes = tuple(Option(number) for number in range(len(self.tasks)))
        alike = all(options == nodes for row in self.entries.values() for options in row.values())
        if self.joins or self.table.granularity != "block" or not alike:
            raise ValueError("nodes choose among one instance a task of every block, and nothing else is open")

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
            backbone: The backbone that the tasks share.
            tasks: Task names in output order.
            granularity: ``operator`` or ``block``.
            options: Gives what the task of a number may run at a unit. What the backbone does not allow there (a skip
                of another shape, a view of a block without an inner map) is left out. Views have the share that
                they have in whole channels, so those that round to one number are one option.
            settings: ``tie``, ``batchnorm``, ``joins`` and ``chosen_by``.

        Raises:
            InvalidConfig: The backbone has no units of this granularity, a task has no option somewhere, or there are
                choices with which a join cannot run.
        """
        check_task_names(tasks)
        table = backbone.table(granularity)
        if not table.units:
            raise InvalidConfig(f"{quoted(backbone.name)} has no {granularity} with weights: there is nothing to share")
        entries: dict[str, dict[str, Options]] = {}
        for index, unit in enumerate(table.units):
            row = {}
            for number, task in enumerate(tasks):
                row[task] = _legal(table, backbone, index, options(unit, number))
            if not all(row.values()):
                raise InvalidConfig("no task may run anything here", place=f"units.{unit.name}")
            entries[unit.name] = row
        space = cls(backbone, table, tuple(tasks), entries, **settings)
        # Now, because a search would otherwise end with a plan that is refused, or not run at all.
        problems = list(join_problems(Columns(backbone, table, tasks, entries), space.joins)) if space.joins else []
        if problems:
            raise InvalidConfig(problems)
        return space

    @classmethod
    def of_plan(cls, plan: SharingPlan, backbone: Backbone) -> Space:
        """Return a plan as a space.

        Raises:
            InvalidConfig: The plan does not fit the backbone.
        """
        check_plan(plan, backbone)
        columns = Columns.of_plan(plan, backbone)
        joins = tuple(OpenJoin(join) for join in plan.joins)
        return cls(backbone, columns.table, plan.tasks, columns.entries, plan.tie, plan.batchnorm, joins)

    def read_again(self, backbone: Backbone) -> Space:
        """Return the same space over its backbone as it was read for another image size.

        Raises:
            InvalidConfig: It has other units, skips or weights at that size.
        """
        table = backbone.table(self.table.granularity)
        if _at_any_size(table, backbone) != _at_any_size(self.table, self.backbone):
            height, width = shape_of(backbone.graph.input)[2:]
            text = f"{quoted(backbone.name)} has other units, skips or weights for images of {height} x {width}"
            raise InvalidConfig(text, place="search.resolution", advice="take another size, or leave it out")
        return replace(self, backbone=backbone, table=table)

    @property
    def choices(self) -> tuple[ChoiceId, ...]:
        """Everything that is open, unit by unit and task by task, then the joins'."""
        found: list[ChoiceId] = []
        for unit in self.table.units:
            row = self.entries[unit.name]
            found += [ChoiceId(unit.name, task) for task in self.tasks if len(row[task]) > 1]
        for join in self.joins:
            found += join.choices
        return tuple(found)

    @property
    def crosses(self) -> bool:
        """Whether a column may go on with what another one has computed."""
        return bool(self.joins) or self.chosen_by == "node"

    def option_count(self, choice: ChoiceId) -> int:
        """Return how many options a choice has."""
        if choice.read is not None:
            return 2  # off and on
        if choice.of == "unit":
            return len(self.entries[choice.place][choice.task])
        return next(len(join.join.reads) for join in self.joins if choice in join.choices)

    def fixed(self, picks: Mapping[ChoiceId, int]) -> Space:
        """Return the space in which every choice has only the option that is picked, by its number."""
        joins = tuple(OpenJoin(join.picked(picks)) for join in self.joins)
        # What nodes chose is said by task from here on: the instances on the way from its head to the root.
        return replace(self, entries=self._decided(picks), joins=joins, chosen_by="task")

    def plan(self, picks: Mapping[ChoiceId, int], *, method: str = "manual", provenance: Any = None) -> SharingPlan:
        """Return the plan in which every choice has the option that is picked, checked against the backbone.

        Args:
            picks: Number of the option taken, by choice.
            method: Name of what picked.
            provenance: Free facts about how, as JSON.

        Raises:
            InvalidConfig: A task skips everything, or what a join reads of it.
        """
        fixed = self.fixed(picks)
        units: dict[str, dict[str, Choice]] = {}
        for unit, row in fixed.entries.items():
            units[unit] = {task: row[task][0].choice for task in self.tasks}
        # Checked, because each option is possible by itself, but all of a task's skips together are not.
        return make_plan(
            self.backbone,
            self.tasks,
            units,
            granularity=self.table.granularity,
            tie=self.tie,
            batchnorm=self.batchnorm,
            joins=tuple(join.join for join in fixed.joins),
            method=method,
            provenance=provenance or {},
        )

    def _decided(self, picks: Mapping[ChoiceId, int]) -> dict[str, Mapping[str, Options]]:
        """Return the one option that each task has at each unit."""
        entries: dict[str, Mapping[str, Options]] = {}
        chooser = {task: task for task in self.tasks}
        for unit in reversed(self.table.names):
            entries[unit] = {task: self._picked(unit, chooser[task], picks) for task in self.tasks}
            if self.chosen_by == "node":
                chooser = {task: self.tasks[options[0].instance] for task, options in entries[unit].items()}
        return {unit: entries[unit] for unit in self.entries}

    def _picked(self, unit: str, task: str, picks: Mapping[ChoiceId, int]) -> Options:
        options = self.entries[unit][task]
        if len(options) == 1:
            return options
        return (options[picks[ChoiceId(unit, task)]],)


def _at_any_size(table: UnitTable, backbone: Backbone) -> object:
    """Return what must not change with the image size, so that choices and weights mean the same."""
    skips = [skip and (skip.kind, skip.weight_shape, skip.kept) for skip in table.skips]
    shapes = {name: shape_of(value) for name, value in backbone.graph.initializers.items() if is_parameter(value)}
    return [(unit.name, unit.nodes) for unit in table.units], skips, shapes


def _legal(table: UnitTable, backbone: Backbone, index: int, options: Sequence[Option]) -> Options:
    allowed = [option for option in options if not option.skip or table.skips[index] is not None]
    # Computed only where a view is offered, because most searches have none.
    if any(option.channels != 1.0 for option in allowed):
        allowed = _views(allowed, backbone.span(table.units[index]))
    # Once each: two equal options would split the probability of one computation.
    return tuple(dict.fromkeys(allowed))


def _views(options: Sequence[Option], span: ViewSpan | None) -> list[Option]:
    """Return the options that a unit with this inner map has, those of as many channels with one share."""
    found: list[Option] = []
    for option in options:
        if option.channels == 1.0:
            found.append(option)
        elif span is not None:
            # What rounds to the same number of channels is one computation, and what rounds to all is the whole unit.
            found.append(replace(option, channels=span.width(option.channels) / span.channels))
    return found
