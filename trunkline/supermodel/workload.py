"""What there is to run of a backbone while it is still open who shares what.

Lowering computes everything equal once, so what a plan costs follows from two questions: for each part of the
backbone, which tasks reach it with equal values, and for each weight, which tasks use which instance of it. Both
depend on the plan by way of a few units only. A :class:`Workload` names those of the first,
:mod:`~trunkline.supermodel.stored_work` those of the second, and the cost terms put probabilities in.

Options of different tasks are the same where they run the same: those of one unit are numbered together, as *keys*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.fragments.taps import read_taps
from trunkline.graph.computed_weights import computes_weight
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.segments import needed_nodes
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.sharing.units import units_before


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
class Workload:
    """A backbone for T tasks, seen from its costs.

    Attributes:
        tasks: T, the number of tasks.
        keys: For each unit, the options that any task has there, each once.
        units: For each unit, in order, its nodes as one run: it runs where its own choice is not the skip.
        others: The nodes between units, followers among them; they run whatever is chosen.
        equal_behind: For each unit and key: whether tasks with equal values before the unit have equal ones behind it,
            if all of them chose this key.
    """

    tasks: int
    keys: tuple[tuple[Option, ...], ...]
    units: tuple[Run, ...]
    others: tuple[Run, ...]
    equal_behind: tuple[tuple[bool, ...], ...]


def keys_of(space: Space) -> tuple[tuple[Option, ...], ...]:
    """Return the options of each unit, each once, in the order in which tasks have them."""
    keys: list[tuple[Option, ...]] = []
    for unit in space.table.units:
        found: dict[Option, None] = {}
        for task in space.tasks:
            found.update(dict.fromkeys(space.entries[unit.name][task]))
        keys.append(tuple(found))
    return tuple(keys)


def workload(space: Space, heads: Mapping[str, Graph]) -> Workload:
    """Return what there is to run of a space; heads say what they need of the backbone.

    Args:
        space: Whose units are decided about. Joins are not counted: they run whatever is chosen.
        heads: By task; a task without one needs the last feature map.

    Raises:
        ValueError: A join replaces a value of a column, so it is not known here what is equal behind it.
    """
    if any(join.join.gives == "site" for join in space.joins):
        raise ValueError("the cost of units behind a join is not known before it is lowered")
    needs = Needs(space, heads)
    before = units_before(space.backbone.graph, needs.core)
    apart = needs.set_apart()
    units: list[Run] = []
    for unit in space.table.units:
        # All nodes of a unit have its first one's tasks and ancestors: the unit runs as a whole.
        first = unit.nodes[0]
        units.append(Run(unit.nodes, unit.ancestors, needs.of(first), first not in apart))
    others: list[Run] = []
    for node in space.backbone.graph.nodes:
        name = name_of(node)
        # What computes a weight reads no image, so the export computes it: the file holds the result.
        if name in needs.core or computes_weight(node) or not needs.of(name):
            continue
        others.append(Run((name,), before[name], needs.of(name), name not in apart))
    keys = keys_of(space)
    equal_behind = [tuple(needs.keeps_equal(unit, option) for option in options) for unit, options in enumerate(keys)]
    return Workload(len(space.tasks), keys, tuple(units), tuple(others), tuple(equal_behind))


class Needs:
    """Which tasks need which nodes of a backbone, and where each task has a normalisation of its own.

    Attributes:
        space: The space whose work is counted.
        core: The unit's index, for the nodes of units; followers are not among them.
    """

    def __init__(self, space: Space, heads: Mapping[str, Graph]) -> None:
        self.space = space
        self.core: dict[str, int] = {}
        for index, unit in enumerate(space.table.units):
            self.core.update(dict.fromkeys(unit.nodes, index))
        graph = space.backbone.graph
        self._needs = [needed_by(heads.get(task), graph) for task in space.tasks]

    def of(self, name: str) -> frozenset[int]:
        """Return the tasks that need a node."""
        return frozenset(task for task, names in enumerate(self._needs) if name in names)

    def keeps_equal(self, index: int, option: Option) -> bool:
        """Whether tasks that chose this option with equal values have equal values behind the unit."""
        skip, unit = self.space.table.skips[index], self.space.table.units[index]
        if option.skip and (skip is None or not skip.keeps_equal):
            return False
        # Each task's own normalisation makes equal values different: with `batchnorm = "task"`, AutoMTL's release,
        # nothing behind the first convolution is ever shared.
        ran = skip.kept if option.skip and skip is not None else unit.nodes
        return not any(self.is_per_task(name) for name in ran)

    def runs(self, name: str, option: Option) -> bool:
        """Whether a node runs with an option of its unit: those of a skipped unit vanish, but for a shortcut's."""
        if not option.skip or name not in self.core:
            return True
        skip = self.space.table.skips[self.core[name]]
        return skip is not None and name in skip.kept

    def is_per_task(self, name: str) -> bool:
        """Whether a node is a normalisation of which each task has its own."""
        in_a_unit = name in self.space.table.of_node
        normalises = self.space.backbone.nodes[name].op_type == "BatchNormalization"
        return in_a_unit and normalises and self.space.batchnorm == "task"

    def set_apart(self) -> set[str]:
        """Return the followers of which each task has its own, and all behind them: no two tasks' values are equal."""
        apart: set[str] = set()
        different: set[ir.Value] = set()
        for node in self.space.backbone.graph.nodes:
            name = name_of(node)
            own = self.is_per_task(name) and name not in self.core
            if own or not different.isdisjoint(node.inputs):
                apart.add(name)
                different.update(node.outputs)
        return apart


def needed_by(head: Graph | None, backbone: Graph) -> set[str]:
    """Return the names of the nodes of a backbone that a head needs; without a head, those of the last feature map."""
    outputs: Sequence[ir.Value] = backbone.outputs
    taps = outputs[-1:] if head is None else [tap for _, tap in read_taps(head, outputs)]
    return {name_of(node) for node in needed_nodes(backbone, taps)}
