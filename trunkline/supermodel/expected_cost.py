"""The expected cost of the model that a policy will be lowered to, exact and differentiable.

Independent choices per operator leave almost nothing to reuse, even when 90 % of them say "shared": two tasks
share an *execution* only where everything before it was equal too. :class:`ExpectedCost` makes the search pay for
what will really run, in multiply-accumulates or milliseconds.

Two tasks share the execution of unit l when both chose "shared" there and made equal-value choices (both
shared, or both a skip without weights) at every unit that l depends on. By inclusion–exclusion over task sets S,

    E = Σ_l c_l { Σ_t p_l^t(own) + Σ_{∅≠S} (−1)^{|S|+1} Π_{t∈S} p_l^t(shared) · Π_{m∈anc(l)} e_m(S) }
        + Σ_l s_l Σ_{∅≠S} (−1)^{|S|+1} Π_{t∈S} p_l^t(skip) · Π_{m∈anc(l)} e_m(S)
        + Σ_v c_v Σ_{∅≠S} (−1)^{|S|+1} Π_{m∈anc(v)} e_m(S)

    e_m(S) = Π_{t∈S} p_m^t(shared) + [the skip at m has no weights] Π_{t∈S} p_m^t(skip)   for |S| ≥ 2, else 1,

where s_l is what the skip costs (of a projection, which is each task's own, only |S| = 1 counts) and v are the nodes
of no unit, such as the product of two computed values in attention. Only tasks that need a unit or node count: a
head may not read all feature maps.

Storage is another sum. Instances are stored once however often they run, so :class:`ExpectedParameters` is

    E = Σ_w n_w { 1 − Π_t (1 − p(t uses the shared instance)) + Σ_t p(t uses its own) }.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from trunkline.supermodel.choice import OPTIONS, OWN, SHARED, SKIPPED
from trunkline.supermodel.workload import Run, Stored, Workload

MAX_TASKS = 12


class ExpectedCost(nn.Module):
    """Expected executed cost of the backbone, as a share of N independent backbones.

    Args:
        work: What there is to run; its number of tasks T is at most 12, for the work grows with 2^T.
        costs: What a node costs each time it runs, by name; nothing where it has no entry.
        skip_costs: What each unit's skip costs a task.
    """

    def __init__(self, work: Workload, costs: Mapping[str, float], skip_costs: Sequence[float]) -> None:
        super().__init__()
        tasks = work.tasks
        if tasks > MAX_TASKS:
            raise ValueError(f"the expected cost is for at most {MAX_TASKS} tasks, not {tasks}")
        others = _merged(work.others, costs)
        skips = [
            replace(run, reusable=run.reusable and it.skipped) for run, it in zip(work.units, work.behind, strict=True)
        ]
        runs = [*work.units, *skips, *others]
        self._scale = 1.0 / max(1e-30, tasks * float(sum(costs.values())))
        subsets = [s for size in range(1, tasks + 1) for s in itertools.combinations(range(tasks), size)]
        for name, content in {
            "costs": [*(_cost_of(run, costs) for run in work.units), *map(float, skip_costs), *others.values()],
            "needed": [_row(run.tasks, tasks) for run in work.units],
            "ancestor": [_row(run.ancestors, len(work.units)) for run in runs],
            "sign": [[_sign(run, subset) for subset in subsets] for run in runs],
            "member": [_row(subset, tasks) for subset in subsets],
            "behind": [(float(it.shared), float(it.skipped)) for it in work.behind],
        }.items():
            self.register_buffer(name, torch.tensor(content, dtype=torch.float64), persistent=False)

    costs: Tensor
    needed: Tensor
    ancestor: Tensor
    sign: Tensor
    member: Tensor
    behind: Tensor

    def forward(self, p: Tensor) -> Tensor:
        """Return E as a share of T backbones, for option probabilities ``p`` of shape ``[units, T, 3]``."""
        return self.absolute(p) * self._scale

    def absolute(self, p: Tensor) -> Tensor:
        """Return E in the unit of the costs."""
        p = p.double()
        units = p.shape[0]
        own = (self.costs[:units, None] * self.needed * p[..., OWN]).sum()
        log_shared, log_skipped = self._log_joint(p[..., SHARED]), self._log_joint(p[..., SKIPPED])
        equal = self.behind[:, :1] * log_shared.exp() + self.behind[:, 1:] * log_skipped.exp()
        several = (self.member.sum(1) > 1).double()
        reach = self.ancestor @ (torch.log(equal.clamp_min(1e-300)) * several)
        # A node of no unit runs whatever is chosen there; only what comes before it counts.
        always = log_shared.new_zeros(len(reach) - 2 * units, len(several))
        chosen = torch.cat([log_shared, log_skipped, always])
        runs = (self.sign * torch.exp(chosen + reach)).sum(dim=1)
        return own + (self.costs * runs).sum()

    def _log_joint(self, p: Tensor) -> Tensor:
        """Return log Π_{t∈S} p^t for every unit and task set: ``[units, sets]``."""
        return torch.log(p.clamp_min(1e-300)) @ self.member.T


class ExpectedParameters(nn.Module):
    """Expected number of parameters stored for the backbone, as a share of N independent backbones.

    Args:
        work: What there is to store.
        alone: Parameters of one independent backbone.
    """

    def __init__(self, work: Workload, alone: int) -> None:
        super().__init__()
        self._scale = 1.0 / max(1, work.tasks * alone)
        groups = _alike(work.weights)
        width = max((len(group.uses) for group in groups), default=0)
        units = torch.zeros(len(groups), width, dtype=torch.int64)
        uses = torch.zeros(len(groups), width, 2, work.tasks, OPTIONS, dtype=torch.float64)
        for row, group in enumerate(groups):
            for column, (unit, table) in enumerate(group.uses.items()):
                units[row, column] = unit
                uses[row, column] = torch.from_numpy(table)
        for name, content in {
            "units": units,
            "uses": uses,
            "sizes": torch.tensor([group.size for group in groups], dtype=torch.float64),
            "optional": torch.tensor([not group.always for group in groups], dtype=torch.float64),
        }.items():
            self.register_buffer(name, content, persistent=False)

    units: Tensor
    uses: Tensor
    sizes: Tensor
    optional: Tensor

    def forward(self, p: Tensor) -> Tensor:
        """Return E as a share of T backbones, for option probabilities ``p`` of shape ``[units, T, 3]``."""
        return self.absolute(p) * self._scale

    def absolute(self, p: Tensor) -> Tensor:
        """Return E, a number of parameters."""
        used = (p.double()[self.units].unsqueeze(2) * self.uses).sum(-1)
        # A weight that several units read is stored if any of them uses it, and they choose independently.
        unused = (1 - used).prod(dim=1)
        shared = 1 - self.optional * unused[:, 0].prod(dim=-1)
        own = (1 - unused[:, 1]).sum(dim=-1)
        return (self.sizes * (shared + own)).sum()


def _merged(runs: Sequence[Run], costs: Mapping[str, float]) -> dict[Run, float]:
    """Return the cost of all nodes that are reached alike, as one run; most nodes between units cost nothing."""
    merged: dict[Run, float] = {}
    for run in runs:
        cost = _cost_of(run, costs)
        if cost:
            alike = replace(run, nodes=())
            merged[alike] = merged.get(alike, 0.0) + cost
    return merged


def _alike(weights: Sequence[Stored]) -> list[Stored]:
    """Return weights that are used alike as one: a convolution's kernel, and what its normalisation stores."""
    groups: dict[object, Stored] = {}
    for weight in weights:
        key = weight.always, tuple((unit, table.tobytes()) for unit, table in sorted(weight.uses.items()))
        known = groups.get(key)
        groups[key] = weight if known is None else replace(known, size=known.size + weight.size)
    return list(groups.values())


def _cost_of(run: Run, costs: Mapping[str, float]) -> float:
    return float(sum(costs.get(name, 0) for name in run.nodes))


def _sign(run: Run, subset: Sequence[int]) -> float:
    """Return the sign of a task set in the sum; 0 where a task does not need the run, or none can share it."""
    if not run.tasks.issuperset(subset) or (len(subset) > 1 and not run.reusable):
        return 0.0
    return 1.0 if len(subset) % 2 else -1.0


def _row(members: Collection[int], size: int) -> list[float]:
    return [float(index in members) for index in range(size)]
