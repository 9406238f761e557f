"""The expected cost of the model that a policy will be lowered to, exact and differentiable.

Independent choices per operator leave almost nothing to reuse, even when 90 % of them say "shared": two tasks
share an *execution* only where everything before it was equal too. :class:`ExpectedCost` makes the search pay for
what will really run, in multiply-accumulates or milliseconds.

Tasks share the execution of unit l when all of them chose the same option k there, and made equal-value choices (the
same option, and no skip with weights) at every unit that l depends on. By inclusion–exclusion over task sets S,

    E = Σ_l Σ_k c_lk Σ_{∅≠S} (−1)^{|S|+1} Π_{t∈S} p_l^t(k) · Π_{m∈anc(l)} e_m(S)
        + Σ_v c_v Σ_{∅≠S} (−1)^{|S|+1} Π_{m∈anc(v)} e_m(S)

    e_m(S) = Σ_{k with equal values behind it} Π_{t∈S} p_m^t(k)   for |S| ≥ 2, else 1,

where c_lk is what option k of unit l costs (of a projection, which is each task's own, only |S| = 1 counts) and v are
the nodes of no unit, such as the product of two computed values in attention. Only tasks that need a unit or node
count: a head may not read all maps. Views of one instance run partly the same (a shortcut beside the inner map);
that part is a term of its own, whose p is the sum over these views. Of a chain of blocks E is the closed form of
BMTAS's resource loss.

Storage is another sum. Where instances are tied they are stored once however often they run, so
:class:`ExpectedParameters` is

    E = Σ_w n_w { 1 − Π_t (1 − p(t uses w)) }

over weight instances w. Where they are not, every execution has weights of its own, and E is the first sum with numbers
of parameters for costs.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.sharing.space import Space
from trunkline.supermodel.expected_share import ExpectedShare
from trunkline.supermodel.option_costs import option_costs
from trunkline.supermodel.policy_table import PolicyTable, Probabilities
from trunkline.supermodel.stored_work import Stored
from trunkline.supermodel.workload import Run, Workload

MAX_TASKS = 12
"""The sums have 2^T − 1 terms a unit."""


class ExpectedCost(ExpectedShare):
    """Expected executed cost of the backbone, as a share of T independent backbones.

    Args:
        space: What is open; its number of tasks T is at most 12, for the work grows with 2^T.
        work: What there is to run of it.
        costs: What a node costs each time it runs, by name; nothing where it has no entry.
        skip_costs: What each unit's skip costs a task.

    Raises:
        InvalidConfig: There are too many tasks.

    >>> from trunkline.ingest.read import read
    >>> from trunkline.sharing.backbone import Backbone
    >>> from trunkline.sharing.option import Option
    >>> from trunkline.supermodel.cost_term import cost_term
    >>> space = Space.over(
    ...     Backbone(read("zoo:tiny")), ("depth", "edges"), "block", lambda unit, task: (Option(0), Option(1))
    ... )
    >>> cost = cost_term(space, {}, "macs")
    >>> def both(p: Sequence[float]) -> float:
    ...     return round(float(cost({task: torch.tensor([p] * 7) for task in space.tasks})), 3)
    >>> both([1.0, 0.0])  # everything is shared: one backbone of two
    0.5
    >>> both([0.9, 0.1])  # choices that are made apart leave little to share
    0.803
    """

    def __init__(self, space: Space, work: Workload, costs: Mapping[str, float], skip_costs: Sequence[float]) -> None:
        tasks = work.tasks
        if tasks > MAX_TASKS:
            text = f"the expected cost is for at most {MAX_TASKS} tasks, not {tasks}"
            advice = "its work doubles with each task: name fewer, or count `parameters` where weights are tied"
            raise InvalidConfig(text, place="search.cost", advice=advice)
        super().__init__(tasks * float(sum(costs.values())))
        self.table = PolicyTable(space)
        units = len(work.keys)
        others = _cost_by_run(work.others, costs)
        runs = [*work.units, *others]
        subsets = _task_sets(tasks)
        signs = torch.tensor([[_sign(run, subset) for subset in subsets] for run in runs])
        # All in double precision: of 12 tasks, 4,095 terms of alternating sign nearly cancel.
        buffers = self._of_options(space, work, costs, skip_costs)
        buffers |= {
            "other_costs": torch.tensor([*others.values()], dtype=torch.float64),
            "ancestor": _matrix(runs, units),
            "sign": signs.double(),
            "member": torch.tensor([_row(subset, tasks) for subset in subsets], dtype=torch.float64),
        }
        for name, content in buffers.items():
            self.register_buffer(name, content, persistent=False)

    column_costs: Tensor
    alike: Tensor
    alone: Tensor
    behind: Tensor
    other_costs: Tensor
    ancestor: Tensor
    sign: Tensor
    member: Tensor

    def absolute(self, policy: Probabilities) -> Tensor:
        """Return E in the unit of the costs."""
        p: Tensor = self.table(policy)
        units = p.shape[0]
        if self.alike.shape[-1]:
            p = torch.cat([p, torch.einsum("utk,ukc->utc", p, self.alike)], dim=-1)
        several = (self.member.sum(1) > 1).double()
        # Products over tasks and over ancestors are sums of logarithms, each one matrix product. Of an option that
        # cannot be taken the logarithm stops short of -inf, whose gradient is NaN. `joint` is Π_{t∈S} p^t(k),
        # of columns that are sets of keys with the sum of their p.
        joint = torch.exp(torch.einsum("utk,st->usk", torch.log(p.clamp_min(1e-300)), self.member))
        equal = (joint * self.behind[:, None, :]).sum(-1)
        # Π_m e_m(S): times 0 where S is one task, which is always equal to itself.
        equal_before = torch.exp(self.ancestor @ (torch.log(equal.clamp_min(1e-300)) * several))
        shareable = 1.0 - self.alone[:, None, :] * several[None, :, None]
        chosen = (joint * shareable * self.column_costs[:, None, :]).sum(-1)
        of_units = (self.sign[:units] * chosen * equal_before[:units]).sum()
        of_others = (self.sign[units:] * equal_before[units:]).sum(dim=1)
        return of_units + (self.other_costs * of_others).sum()

    def _of_options(
        self, space: Space, work: Workload, costs: Mapping[str, float], skip_costs: Sequence[float]
    ) -> dict[str, Tensor]:
        """Return what each key of each unit costs, whether it is each task's own, and whether values stay equal."""
        units, _, width = self.table.shape
        each = [
            option_costs(space, unit, options, costs, skip)
            for unit, options, skip in zip(space.table.units, work.keys, skip_costs, strict=True)
        ]
        sets = max(len(unit.common) for unit in each)
        # Columns are the keys, then the sets of keys that run something together.
        names = ("column_costs", "alone", "behind")
        found = {name: torch.zeros(units, width + sets, dtype=torch.float64) for name in names}
        found["alike"] = torch.zeros(units, width, sets, dtype=torch.float64)
        for unit, options in enumerate(work.keys):
            for number, (keys, cost) in enumerate(each[unit].common.items()):
                found["column_costs"][unit, width + number] = cost
                found["alike"][unit, list(keys), number] = 1.0
            for key, option in enumerate(options):
                found["column_costs"][unit, key] = each[unit].own[key]
                skip = space.table.skips[unit]
                # A projection is each task's own, so no two tasks share its execution.
                found["alone"][unit, key] = float(option.skip and skip is not None and not skip.keeps_equal)
                found["behind"][unit, key] = float(work.equal_behind[unit][key])
        return found


class ExpectedParameters(ExpectedShare):
    """Expected number of parameters stored for the backbone of a tied space, as a share of T independent backbones.

    Args:
        space: What is open.
        parts: What there is to store.
        alone: Parameters of one independent backbone.
    """

    def __init__(self, space: Space, parts: Sequence[Stored], alone: float) -> None:
        super().__init__(len(space.tasks) * alone)
        self.table = PolicyTable(space)
        _, tasks, keys = self.table.shape
        width = max((len(part.uses) for part in parts), default=0)
        units = torch.zeros(len(parts), width, dtype=torch.int64)
        uses = torch.zeros(len(parts), width, tasks, keys, dtype=torch.float64)
        for row, part in enumerate(parts):
            for column, (unit, table) in enumerate(part.uses.items()):
                units[row, column] = unit
                uses[row, column, :, : table.shape[1]] = torch.from_numpy(table)
        for name, content in {
            "units": units,
            "uses": uses,
            "sizes": torch.tensor([part.size for part in parts], dtype=torch.float64),
            "optional": torch.tensor([not part.always for part in parts], dtype=torch.float64),
        }.items():
            self.register_buffer(name, content, persistent=False)

    units: Tensor
    uses: Tensor
    sizes: Tensor
    optional: Tensor

    def absolute(self, policy: Probabilities) -> Tensor:
        """Return E, a number of parameters."""
        p: Tensor = self.table(policy)
        used = (p[self.units] * self.uses).sum(-1)
        # A weight that several units read is stored if any of them uses it, and they choose independently.
        unused = (1 - used).prod(dim=1).prod(dim=-1)
        return (self.sizes * (1 - self.optional * unused)).sum()


def _task_sets(tasks: int) -> list[tuple[int, ...]]:
    """Return all sets of tasks but the empty one, small ones first."""
    found: list[tuple[int, ...]] = []
    for size in range(1, tasks + 1):
        found += itertools.combinations(range(tasks), size)
    return found


def _cost_by_run(runs: Sequence[Run], costs: Mapping[str, float]) -> dict[Run, float]:
    """Return the cost of all nodes that are reached together, as one run; most nodes between units cost nothing."""
    merged: dict[Run, float] = {}
    for run in runs:
        cost = float(sum(costs.get(name, 0) for name in run.nodes))
        if cost:
            alike = replace(run, nodes=())  # runs that differ only in their nodes are equal without them
            merged[alike] = merged.get(alike, 0.0) + cost
    return merged


def _sign(run: Run, subset: Sequence[int]) -> float:
    """Return the sign of a task set in the sum; 0 where a task does not need the run, or none can share it."""
    needed = run.tasks.issuperset(subset)
    possible = len(subset) == 1 or run.reusable
    if not needed or not possible:
        return 0.0
    return 1.0 if len(subset) % 2 else -1.0  # inclusion–exclusion: (−1)^{|S|+1}


def _matrix(runs: Sequence[Run], units: int) -> Tensor:
    return torch.tensor([_row(run.ancestors, units) for run in runs], dtype=torch.float64).reshape(len(runs), units)


def _row(members: Collection[int], size: int) -> list[float]:
    return [float(index in members) for index in range(size)]
