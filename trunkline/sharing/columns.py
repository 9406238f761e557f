"""The columns of tasks, as joins find them: which values each of them lacks, and which it has only later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trunkline.graph.computed_weights import depends_on_image
from trunkline.graph.graph import name_of
from trunkline.sharing.backbone import Backbone, UnitTable
from trunkline.sharing.option import Option, Options
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.units import Unit
from trunkline.text import quoted


@dataclass(frozen=True, slots=True)
class Columns:
    """What tasks may run of a backbone, decided or open.

    Attributes:
        backbone: The backbone that the tasks share.
        table: Its units.
        tasks: Task names in output order.
        entries: Options by unit and task; one option where nothing is open.
    """

    backbone: Backbone
    table: UnitTable
    tasks: Sequence[str]
    entries: Mapping[str, Mapping[str, Options]]

    @classmethod
    def of_plan(cls, plan: SharingPlan, backbone: Backbone) -> Columns:
        """Return the columns of a plan whose units fit the backbone."""
        entries: dict[str, dict[str, Options]] = {}
        for unit, row in plan.units.items():
            entries[unit] = {task: (Option.of(choice),) for task, choice in row.items()}
        return cls(backbone, backbone.table(plan.granularity), plan.tasks, entries)


@dataclass(frozen=True, slots=True)
class Hidden:
    """Why a join cannot have a value of a column.

    Attributes:
        reason: The reason, for people.
        until: Number of the value with which it appears in the column; ``None`` if it never does.
    """

    reason: str
    until: int | None = None


def order_of_values(backbone: Backbone) -> dict[str, int]:
    """Return, by value that columns have, its number in the order in which they are computed."""
    written = [backbone.graph.input]
    for node in backbone.needed:
        # A weight that is computed belongs to its reader, and no column has it.
        written += [value for value in node.outputs if value.name and depends_on_image(value)]
    return {name_of(value): number for number, value in enumerate(written)}


def hidden_values(columns: Columns, order: Mapping[str, int]) -> dict[tuple[str, str], Hidden]:
    """Return, by task and value inside a unit, what no join can read or replace in that task's column.

    Args:
        columns: Of all tasks.
        order: Number of each value, in the order in which they are computed.
    """
    hidden: dict[tuple[str, str], Hidden] = {}
    for unit in columns.table.units:
        for task in columns.tasks:
            options = columns.entries[unit.name][task]
            for value, until in _hidden_in(columns, unit, options, order).items():
                text = f"{quoted(value)} cannot be joined: {quoted(task)} {_deed(options)} {quoted(unit.name)}"
                hidden[task, value] = Hidden(text, until)
    return hidden


def _hidden_in(columns: Columns, unit: Unit, options: Options, order: Mapping[str, int]) -> dict[str, int | None]:
    """Return the values of a unit that a column lacks with these options, and when those that it gets appear."""
    if len(options) > 1 and columns.table.granularity == "block":
        return _hidden_in_open_block(columns, unit, order)
    lost: dict[str, int | None] = {}
    for option in options:
        lost.update(dict.fromkeys(_outputs(columns, _lost_nodes(columns, unit, option))))
    # What the unit hands on is there, and whole, whatever the task runs.
    lost.pop(unit.output, None)
    return lost


def _hidden_in_open_block(columns: Columns, unit: Unit, order: Mapping[str, int]) -> dict[str, int | None]:
    # Each option has values of its own. When all nodes are passed, those that others read are mixed: the block's
    # output and the feature maps in it. The output may come before the last node, which belongs to such a map then.
    end = min(order[value] for value in _outputs(columns, unit.nodes[-1:]))
    mixed = {unit.output, *map(name_of, columns.backbone.graph.outputs)}
    hidden: dict[str, int | None] = {}
    for value in _outputs(columns, unit.nodes):
        if value not in mixed:
            hidden[value] = None
        elif value in order and order[value] < end:
            hidden[value] = end
    return hidden


def _outputs(columns: Columns, nodes: Sequence[str]) -> list[str]:
    values = [value for node in nodes for value in columns.backbone.nodes[node].outputs]
    return [value.name for value in values if value.name]


def _lost_nodes(columns: Columns, unit: Unit, option: Option) -> tuple[str, ...]:
    """Return the nodes of a unit that an option does not run, or runs with fewer channels than a join would read."""
    if option.skip:
        return unit.nodes
    span = None if option.channels == 1.0 else columns.backbone.span(unit)
    return () if span is None else span.narrowed


def _deed(options: Options) -> str:
    skips = any(option.skip for option in options)
    narrow = any(option.channels != 1.0 for option in options)
    if len(options) == 1:
        return "skips" if skips else "runs a channel view of"
    if skips:
        return "may skip"
    return "may run a channel view of" if narrow else "chooses among options of"
