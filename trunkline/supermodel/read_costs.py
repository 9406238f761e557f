"""What columns cost whose joins choose what they read, and what each read adds: counted, or by a table of times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from trunkline.errors import InvalidConfig
from trunkline.fragments.joins.base import Inputs
from trunkline.fragments.map_size import map_size
from trunkline.fragments.registry import make_join
from trunkline.graph.cost import graph_cost
from trunkline.graph.graph import Graph, shape_of
from trunkline.sharing.cost_table import CostTable
from trunkline.sharing.join import Join
from trunkline.sharing.join_check import fragments_of
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.open_join import ChoiceId, OpenJoin
from trunkline.sharing.space import Space
from trunkline.supermodel.workload import needed_by
from trunkline.text import quoted

CountedOfReads = Literal["macs", "parameters"]


@dataclass(frozen=True, slots=True)
class ReadCosts:
    """Costs of a space in which nothing but reads of joins is open, all in one unit.

    Attributes:
        least: Of columns and joins without any open read.
        independent: Of T independent backbones.
        reads: What each open read adds.
    """

    least: float
    independent: float
    reads: Mapping[ChoiceId, float]


def counted_reads(space: Space, heads: Mapping[str, Graph], count: CountedOfReads) -> ReadCosts:
    """Return costs in multiply-accumulates or parameters.

    Raises:
        InvalidConfig: What a join costs is no sum over its reads.
    """
    without = executed_cost(space.plan(dict.fromkeys(space.choices, 0)), space.backbone, heads)
    reads: dict[ChoiceId, float] = {}
    for join, sizes, place in _open_joins(space):
        reads |= _read_costs(join, sizes, count, place)
    least, independent = (float(getattr(cost, count)) for cost in (without.backbone, without.independent_backbone))
    return ReadCosts(least, independent, reads)


def timed_reads(space: Space, heads: Mapping[str, Graph], table: CostTable) -> ReadCosts:
    """Return costs in milliseconds.

    A table has two times of a join: with all reads, and with the column's own. Between them each read takes its part
    by how many channels it brings.

    Args:
        space: As above.
        heads: By task; what no head reads is not run.
        table: A table that was checked against the joins of ``space``.
    """
    times = table.node_ms
    columns = 0.0
    for task in space.tasks:
        needed = needed_by(heads.get(task), space.backbone.graph)
        columns += sum(ms for name, ms in times.items() if name in needed)
    reads: dict[ChoiceId, float] = {}
    for join, sizes, _ in _open_joins(space):
        time = table.joins[join.join.name]
        columns += time.own_ms
        channels = {choice: sizes[choice.read or 0][0] for choice in join.choices}
        # Noise can make a join with all reads quicker than with one.
        more = max(0.0, time.ms - time.own_ms)
        reads |= {choice: more * part / sum(channels.values()) for choice, part in channels.items()}
    return ReadCosts(columns, len(space.tasks) * sum(times.values()), reads)


def _open_joins(space: Space) -> Iterator[tuple[OpenJoin, Inputs, str]]:
    """Yield the joins with open reads, each with the sizes of all maps that it may read and its place in the plan."""
    fragments = fragments_of(tuple(join.made_for for join in space.joins), space.backbone)
    for number, join in enumerate(space.joins):
        if join.choices:
            inputs = fragments[join.join.weights_of].model.graph.inputs
            yield join, {n: map_size(shape_of(value)) for n, value in enumerate(inputs)}, f"joins.{number}"


def _read_costs(open_join: OpenJoin, sizes: Inputs, count: CountedOfReads, place: str) -> dict[ChoiceId, float]:
    """Return how much dearer a fragment is with each of its open reads."""
    join = open_join.join
    least = _cost(join, {0: sizes[0]}, count)
    found: dict[ChoiceId, float] = {}
    for choice in open_join.choices:
        assert choice.read is not None
        found[choice] = _cost(join, {0: sizes[0], choice.read: sizes[choice.read]}, count) - least
    whole = _cost(join, sizes, count)
    if abs(least + sum(found.values()) - whole) > 1e-6 * whole:
        text = f"what {quoted(join.kind)} costs is no sum over what it reads, so its expected cost is not known"
        raise InvalidConfig(text, place=place, advice="set `cost_weight = 0`")
    return found


def _cost(join: Join, inputs: Inputs, count: CountedOfReads) -> float:
    return float(getattr(graph_cost(make_join(join.kind, inputs, join.settings)), count))
