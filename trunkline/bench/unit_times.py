"""Measure what each unit of a backbone takes, and each join, for a search that is to save time.

Every unit, with its normalisation folded as at export, every skip that runs something, and every product of two
computed values becomes a small model. So does every join whose reads are to be chosen, with all of them and with the
first alone; joins that are equal are measured once. All of them take turns in each round, like any candidates of the
bench, and what a model that does nothing takes is subtracted. The network until the end of each block is measured with
them, so that the units of a block add up to what the block takes where it stands (:mod:`trunkline.bench.in_place`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from trunkline.bench.candidate import Candidate
from trunkline.bench.in_place import factors_in_place, networks_until
from trunkline.bench.join_parts import JoinPart, join_parts
from trunkline.bench.latency import Latency
from trunkline.bench.parts import nothing, part_of, skip_of
from trunkline.bench.protocol import Clock, Progress, measure
from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.settings import Settings
from trunkline.export.passes import optimise
from trunkline.graph.cost import node_macs
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.cost_table import CostTable, JoinTime, NodeTime, UnitTime
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.plan import BackboneId

NOTHING = "nothing"
"""The part that does nothing, and whose time is subtracted from all others."""

_NOTHING = (NOTHING, "")
_Key = tuple[str, str]
"""What a part is and its name: a ``unit``, ``skip``, ``node``, ``join``, a join that reads its ``own`` column, or the
network ``until`` the end of a block."""


@dataclass(frozen=True, slots=True)
class UnitTimes:
    """A measurement of all parts.

    Attributes:
        table: What the search reads.
        latencies: What was measured, part by part, first the model that does nothing.
    """

    table: CostTable
    latencies: tuple[Latency, ...]

    @property
    def unstable(self) -> list[Latency]:
        """The parts whose samples do not describe one steady latency."""
        return [latency for latency in self.latencies if not latency.stable]


def measure_units(
    backbone: Graph | Backbone,
    settings: Settings,
    runtime: Runtime,
    *,
    joins: Sequence[OpenJoin] = (),
    clock: Clock = time.perf_counter_ns,
    progress: Progress | None = None,
) -> UnitTimes:
    """Measure the units of ``backbone``, for one image.

    Args:
        backbone: At the image size that it will run at.
        settings: On what, and how long; ``batch`` must be 1.
        runtime: What runs the parts.
        joins: Joins between columns of this backbone; those of which nothing is open are left out.
        clock: Returns nanoseconds.
        progress: Called after each round with the rounds done and the rounds planned.

    Raises:
        WorkFailed: The runtime or provider is not available, or a part does not run or repeat on it.
    """
    if settings.batch != 1:
        raise ValueError("a table holds the time of one image")
    # So many parts are seldom all flat at once on a machine that does other things too.
    settings = replace(settings, warm_up_limit_seconds=min(settings.warm_up_limit_seconds, settings.limit_seconds))
    backbone = Backbone.of(backbone)
    of_joins = join_parts(joins, backbone)
    parts = dict(_parts(backbone))
    for part in of_joins:
        parts |= {("join", part.name): part.whole, ("own", part.name): part.own}
    with ExitStack() as stack:
        candidates = []
        for (kind, name), graph in parts.items():
            # Optimised as at export, so that a unit's normalisation is folded.
            session = runtime.prepare(optimise(graph), settings)
            stack.callback(session.close)
            candidates.append(Candidate(f"{kind} {name}".strip(), (session,)))
        latencies = tuple(measure(candidates, settings, clock=clock, progress=progress))
    return UnitTimes(_table(backbone, of_joins, dict(zip(parts, latencies, strict=True))), latencies)


def _parts(backbone: Backbone) -> Iterator[tuple[_Key, Graph]]:
    yield _NOTHING, nothing()
    graph, operators = backbone.graph, backbone.table("operator")
    for unit, skip in zip(operators.units, operators.skips, strict=True):
        yield ("unit", unit.name), part_of(graph, unit.nodes, unit.name)
        # An identity runs nothing, so it needs no measurement: its time is 0.
        if skip is not None and not skip.is_identity:
            yield ("skip", unit.name), skip_of(graph, unit, skip, f"{unit.name}.skip")
    inside = {name for unit in operators.units for name in unit.nodes}
    # Products of two computed values (attention) belong to no unit, but take time.
    for node in graph.nodes:
        if node_macs(node) and name_of(node) not in inside:
            yield ("node", name_of(node)), part_of(graph, [name_of(node)], name_of(node))
    for block, network in networks_until(backbone):
        yield ("until", block), network


def _table(backbone: Backbone, of_joins: Sequence[JoinPart], found: dict[_Key, Latency]) -> CostTable:
    """Return the table of a search from the latencies of all parts, less that of the one that does nothing."""
    idle = found[_NOTHING]
    # Noise can make a tiny part quicker than nothing.
    ms = {key: max(0.0, latency.p50_ms - idle.p50_ms) for key, latency in found.items()}
    height, width = shape_of(backbone.graph.input)[2:]
    assert height is not None and width is not None
    software = " ".join(idle.runtime.get(key, "") for key in ("runtime", "provider"))
    alone = {name: time_ms for (kind, name), time_ms in ms.items() if kind in ("unit", "node")}
    until = {name: time_ms for (kind, name), time_ms in ms.items() if kind == "until"}
    factors = factors_in_place(backbone, alone, until)
    units, nodes, joins = {}, {}, {}
    for (kind, name), latency in found.items():
        if kind == "unit":
            skip_ms = ms.get(("skip", name), 0.0) * factors[name]
            units[name] = UnitTime(
                ms=_rounded(alone[name] * factors[name]), skip_ms=_rounded(skip_ms), stable=latency.stable
            )
        if kind == "node":
            nodes[name] = NodeTime(ms=_rounded(alone[name] * factors[name]), stable=latency.stable)
    for part in of_joins:
        whole, own = ("join", part.name), ("own", part.name)
        is_stable = found[whole].stable and found[own].stable
        of_join = JoinTime(ms=_rounded(ms[whole]), own_ms=_rounded(ms[own]), reads=part.reads, stable=is_stable)
        joins.update(dict.fromkeys(part.names, of_join))
    return CostTable(
        backbone=BackboneId(name=backbone.graph.name, fingerprint=backbone.fingerprint),
        input_size=(height, width),
        device=f"{idle.environment.cpu}; {software}; threads {idle.threads}",
        units=units,
        nodes=nodes,
        joins=joins,
    )


def _rounded(ms: float) -> float:
    # To a nanosecond, so that files stay readable.
    return round(ms, 6)
