"""The cost term of a search, by what it counts: multiply-accumulates, parameters, or milliseconds of a table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from trunkline.errors import InvalidConfig
from trunkline.graph.computed_weights import computes_weight, stored_inputs_of
from trunkline.graph.cost import Cost
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.roles import is_parameter, size_of
from trunkline.sharing.cost_table import CostTable
from trunkline.sharing.space import Space
from trunkline.supermodel.expected_cost import ExpectedCost, ExpectedParameters
from trunkline.supermodel.expected_reads import ExpectedReads, check_reads
from trunkline.supermodel.expected_share import ExpectedShare
from trunkline.supermodel.expected_tree import ExpectedTree
from trunkline.supermodel.read_costs import counted_reads, timed_reads
from trunkline.supermodel.stored_work import stored_work
from trunkline.supermodel.workload import Workload, keys_of, workload
from trunkline.text import quoted

Counted = Literal["macs", "parameters", "milliseconds"]
Executed = ExpectedCost | ExpectedTree
NodeCosts = tuple[Mapping[str, float], Sequence[float]]
"""What a node costs each time it runs, by name, and what each unit's skip costs a task."""
ExecutedKind = Callable[[Space, Workload, Mapping[str, float], Sequence[float]], ExpectedShare]
"""Makes the term of what is executed from a space, what there is to run of it, and :data:`NodeCosts`."""

EXECUTED: Mapping[str, type[Executed]] = {"task": ExpectedCost, "node": ExpectedTree}
"""What is executed, by who chooses."""


def cost_term(
    space: Space,
    heads: Mapping[str, Graph],
    count: Counted,
    table: Path | None = None,
    executed: ExecutedKind | None = None,
) -> ExpectedShare:
    """Return the expected cost of the model that a policy over ``space`` will be lowered to.

    See :class:`~trunkline.supermodel.expected_cost.ExpectedCost` for an example.

    Args:
        space: What is open.
        heads: By task; what no head reads is not run.
        count: What is counted.
        table: A cost table, for ``milliseconds``. It times operators, and joins; of a block, operators are added up.
        executed: Computes what is executed, where a method has a formula of its own; the exact one if absent.

    Raises:
        InvalidConfig: The table is missing or not for this backbone, there are too many tasks, or what an untied space
            stores does not follow from what it runs.
    """
    if any(join.open == "each" for join in space.joins):
        return _of_reads(space, heads, count, table)
    if count == "parameters" and space.tie:
        # Not the sum over executions: two executions of a tied unit store its weights once.
        alone = Cost.total(space.backbone.costs.values()).parameters
        return ExpectedParameters(space, stored_work(space, heads), alone)
    if count == "milliseconds":
        costs, skip_costs = _milliseconds(space, _read(table, space))
    elif count == "parameters":
        costs, skip_costs = _untied_parameters(space)
    else:
        costs, skip_costs = _macs(space)
    made = executed or EXECUTED[space.chosen_by]
    return made(space, workload(space, heads), costs, skip_costs)


def _macs(space: Space) -> NodeCosts:
    macs = {name: float(cost.macs) for name, cost in space.backbone.costs.items()}
    return macs, [0.0 if skip is None else float(skip.macs) for skip in space.table.skips]


def _of_reads(space: Space, heads: Mapping[str, Graph], count: Counted, table: Path | None) -> ExpectedReads:
    check_reads(space)
    if count == "milliseconds":
        return ExpectedReads(space, timed_reads(space, heads, _read(table, space)))
    return ExpectedReads(space, counted_reads(space, heads, count))


def _read(table: Path | None, space: Space) -> CostTable:
    if table is None:
        raise InvalidConfig('`cost = "milliseconds"` needs `cost_table`', place="search.cost_table")
    return CostTable.load(table, space.backbone, space.joins)


def _milliseconds(space: Space, table: CostTable) -> NodeCosts:
    if space.table.granularity == "operator":
        return table.node_ms, [table.units[name].skip_ms for name in space.table.names]
    # A block takes as long as the operators in it; what stands in for a block is the identity, which takes no time.
    return table.node_ms, [0.0] * len(space.table.units)


def _untied_parameters(space: Space) -> NodeCosts:
    """Every execution of an untied space has weights of its own, so stored numbers follow executed nodes."""
    widths = {option.channels for option in itertools.chain(*keys_of(space))}
    if widths - {1.0}:
        # Views of different widths read one set of weights where they get the same input: two executions, one storage.
        text = "what an untied plan with channel views stores does not follow from what it runs"
        raise InvalidConfig(text, place="search.cost", advice='use `cost = "macs"`')
    sizes: dict[str, float] = {}
    owners: dict[str, int | None] = {}
    counted: set[str] = set()
    for node in space.backbone.graph.nodes:
        if computes_weight(node):
            continue
        unit = space.table.of_node.get(name_of(node))
        for value in filter(is_parameter, stored_inputs_of(node)):
            name = name_of(value)
            if owners.setdefault(name, unit) != unit:
                text = f"{quoted(name)} belongs to several units, so it is not known how often an untied plan stores it"
                raise InvalidConfig(text, place="search.cost", advice='use `cost = "macs"`')
            # A weight counts at the first node that reads it: that node runs exactly as often as it is stored.
            if name not in counted:
                sizes[name_of(node)] = sizes.get(name_of(node), 0.0) + size_of(value)
                counted.add(name)
    return sizes, [0.0] * len(space.table.units)
