"""What there is to run and to store of a backbone while it is still open who shares what.

Lowering computes everything equal once, so what a plan costs follows from two questions: for each part of the
backbone, which tasks reach it with equal values, and for each weight, which tasks use which instance of it. Both
depend on the plan by way of a few units only; a :class:`Workload` names them, and the cost terms put probabilities in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from trunkline.fragments.taps import read_taps
from trunkline.graph.blocks import needed_nodes
from trunkline.graph.computed_weights import computes_weight, stored_inputs_of
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.roles import is_parameter, size_of
from trunkline.sharing.skip import Skip
from trunkline.sharing.units import Unit, unit_of_nodes, units_before
from trunkline.supermodel.choice import OPTIONS, OWN, SHARED, SKIPPED

BatchNorm = Literal["tied", "task"]
Uses = NDArray[np.bool_]
"""Under which choices each task uses the shared instance of a weight, and its own: ``[2, T, 3]``."""


@dataclass(frozen=True, slots=True)
class Run:
    """A part of the backbone that runs once for each set of tasks with equal values there.

    Attributes:
        nodes: Names of its nodes.
        ancestors: The units, by index, whose choices decide whose values are equal.
        tasks: The tasks that need it. A head may read earlier feature maps only.
        reusable: Whether values can be equal at all; not behind a normalisation of each task's own.
    """

    nodes: tuple[str, ...]
    ancestors: frozenset[int]
    tasks: frozenset[int]
    reusable: bool = True


@dataclass(frozen=True, slots=True)
class Behind:
    """Whether tasks with equal values before a unit have equal ones behind it, if all of them chose alike."""

    shared: bool = True
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A weight, or several that are used alike, and by which choices its instances come to be stored.

    Attributes:
        size: Numbers in one instance.
        uses: By unit, what it uses of them.
        always: Whether the shared instance is stored in any case.
    """

    size: int
    uses: Mapping[int, Uses]
    always: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """A backbone for T tasks, seen from its costs.

    Attributes:
        tasks: T.
        units: For each unit, in order, its nodes as one run: it runs where its own choice is not the skip.
        others: The nodes between units, followers among them; they run whatever is chosen.
        behind: For each unit, what is equal behind it.
        weights: Everything stored that counts as a parameter, the skips' projections too.
    """

    tasks: int
    units: tuple[Run, ...]
    others: tuple[Run, ...]
    behind: tuple[Behind, ...]
    weights: tuple[Stored, ...]


def workload(
    backbone: Graph,
    heads: Mapping[str, Graph],
    tasks: Sequence[str],
    units: Sequence[Unit],
    skips: Sequence[Skip | None],
    batchnorm: BatchNorm = "tied",
) -> Workload:
    """Return what there is to run and to store of ``backbone`` for ``tasks``; heads say what they need of it.

    Args:
        backbone: Its outputs are the feature maps that the heads read.
        heads: By task; a task without one needs the last feature map.
        tasks: In the order of the choices.
        units: Operator units in topological order.
        skips: Each unit's skip, or ``None``.
        batchnorm: As in a plan.
    """
    view = _View(backbone, heads, tasks, units, batchnorm)
    before = units_before(backbone, view.core)
    apart = view.set_apart()
    return Workload(
        tasks=len(tasks),
        units=tuple(view.run(unit.nodes, unit.ancestors, unit.nodes[0] not in apart) for unit in units),
        others=tuple(
            view.run((name,), before[name], name not in apart)
            for name in map(name_of, backbone.nodes)
            if name not in view.core and view.needed(name) and name not in view.computing
        ),
        behind=tuple(
            Behind(not any(map(view.is_per_task, unit.nodes)), skip is not None and skip.keeps_equal)
            for unit, skip in zip(units, skips, strict=True)
        ),
        weights=(*view.weights(), *view.projections(skips)),
    )


class _View:
    """A backbone with, for each node, the tasks that need it and the unit that governs it."""

    def __init__(
        self,
        backbone: Graph,
        heads: Mapping[str, Graph],
        tasks: Sequence[str],
        units: Sequence[Unit],
        batchnorm: BatchNorm,
    ) -> None:
        self.backbone = backbone
        self.tasks = tasks
        self.units = units
        self.batchnorm = batchnorm
        self.core = {node: index for index, unit in enumerate(units) for node in unit.nodes}
        self.computing = {name_of(node) for node in backbone.nodes if computes_weight(node)}
        self._governor = unit_of_nodes(units)
        self._nodes = {name_of(node): node for node in backbone.nodes}
        self._needs = [_needs(backbone, heads.get(task)) for task in tasks]

    def needed(self, name: str) -> frozenset[int]:
        """Return the tasks that need a node."""
        return frozenset(task for task, names in enumerate(self._needs) if name in names)

    def run(self, nodes: tuple[str, ...], ancestors: frozenset[int], reusable: bool) -> Run:
        """Return some nodes, the first of which is needed like all of them, as a run."""
        return Run(nodes, ancestors, self.needed(nodes[0]), reusable)

    def is_per_task(self, name: str) -> bool:
        """Whether a node is a normalisation of which each task has its own."""
        governed = name in self._governor and self._nodes[name].op_type == "BatchNormalization"
        return governed and self.batchnorm == "task"

    def set_apart(self) -> set[str]:
        """Return the followers of which each task has its own, and all behind them: no two tasks' values are equal."""
        apart: set[str] = set()
        different: set[ir.Value] = set()
        for node in self.backbone.nodes:
            name = name_of(node)
            own = self.is_per_task(name) and name not in self.core
            if own or not different.isdisjoint(node.inputs):
                apart.add(name)
                different.update(node.outputs)
        return apart

    def weights(self) -> list[Stored]:
        """Return the backbone's parameters; who reads a computed weight uses what it is computed from."""
        readers: dict[ir.Value, list[str]] = {}
        for node in self.backbone.nodes:
            if computes_weight(node) or not self.needed(name_of(node)):
                continue
            for value in filter(is_parameter, stored_inputs_of(node)):
                readers.setdefault(value, []).append(name_of(node))
        return [self._stored(value, names) for value, names in readers.items()]

    def projections(self, skips: Sequence[Skip | None]) -> list[Stored]:
        """Return the weights of skips: a task that skips has its own."""
        return [
            Stored(int(np.prod(skip.weight_shape)), {index: self._uses(self.units[index].name, own=[SKIPPED])})
            for index, skip in enumerate(skips)
            if skip is not None and skip.weight_shape
        ]

    def _stored(self, value: ir.Value, readers: Sequence[str]) -> Stored:
        uses: dict[int, Uses] = {}
        for name in readers:
            unit = self._governor.get(name)
            if unit is not None:
                found = self._uses_of(name)
                uses[unit] = uses[unit] | found if unit in uses else found
        return Stored(size_of(value), uses, always=any(name not in self._governor for name in readers))

    def _uses_of(self, name: str) -> Uses:
        """A unit's nodes vanish where it is skipped; a follower stays, and takes the shared instance there."""
        skippable = name in self.core
        if self.is_per_task(name):
            return self._uses(name, own=[SHARED, OWN] if skippable else [SHARED, OWN, SKIPPED])
        return self._uses(name, shared=[SHARED] if skippable else [SHARED, SKIPPED], own=[OWN])

    def _uses(self, name: str, *, shared: Sequence[int] = (), own: Sequence[int] = ()) -> Uses:
        uses = np.zeros((2, len(self.tasks), OPTIONS), dtype=np.bool_)
        for task in self.needed(name):
            uses[0, task, list(shared)] = True
            uses[1, task, list(own)] = True
        return uses


def _needs(backbone: Graph, head: Graph | None) -> set[str]:
    taps = backbone.outputs[-1:] if head is None else [tap for _, tap in read_taps(head, backbone.outputs)]
    return {name_of(node) for node in needed_nodes(backbone, taps)}
