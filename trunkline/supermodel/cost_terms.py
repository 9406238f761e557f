"""The expected cost of the model that a policy will be lowered to, exact and differentiable.

Independent choices per operator leave almost nothing to reuse, even when 90 % of them say "shared": two tasks
share an *execution* only where everything before it was equal too. This term makes the search pay for what
will really run.

Two tasks share the execution of unit l when both chose "shared" there and made equal-value choices (both
shared, or both an identity skip) at every unit that l depends on. By inclusion–exclusion over task sets S,

    E = Σ_l { c_l Σ_t p_l^t(own) + Σ_t proj_l p_l^t(skip)
              + c_l Σ_{∅≠S} (−1)^{|S|+1} Π_{t∈S} p_l^t(shared) · Π_{m∈anc(l)} e_m(S) }

    e_m(S) = Π_{t∈S} p_m^t(shared) + [skip at m is an identity] Π_{t∈S} p_m^t(skip)   for |S| ≥ 2, else 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trunkline.supermodel.choice import OWN, SHARED, SKIPPED
from trunkline.supermodel.skip import Skip
from trunkline.supermodel.units import Unit

MAX_TASKS = 12


class ExpectedCost(nn.Module):
    """Expected executed cost of the backbone, as a share of N independent backbones.

    Args:
        units: Units in topological order.
        skips: Each unit's skip, or ``None``.
        tasks: Number of tasks T; the work grows with 2^T, so T ≤ 12.
        costs: c_l for each unit (MACs, parameters or milliseconds); default its MACs.
        skip_costs: Cost of each unit's skip; default its MACs.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        skips: Sequence[Skip | None],
        tasks: int,
        *,
        costs: Sequence[float] | None = None,
        skip_costs: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if tasks > MAX_TASKS:
            raise ValueError(f"the expected cost is for at most {MAX_TASKS} tasks, not {tasks}")
        chosen = costs if costs is not None else [unit.cost.macs for unit in units]
        bridged = skip_costs if skip_costs is not None else [0 if skip is None else skip.macs for skip in skips]
        self._scale = 1.0 / max(1e-30, tasks * float(sum(chosen)))
        subsets = [s for size in range(1, tasks + 1) for s in itertools.combinations(range(tasks), size)]
        member = torch.zeros(len(subsets), tasks, dtype=torch.float64)
        for row, subset in enumerate(subsets):
            member[row, list(subset)] = 1
        ancestor = torch.zeros(len(units), len(units), dtype=torch.float64)
        for index, unit in enumerate(units):
            ancestor[index, list(unit.ancestors)] = 1
        identity = [float(skip is not None and skip.is_identity) for skip in skips]
        for name, content in {
            "costs": torch.tensor(chosen, dtype=torch.float64),
            "skip_costs": torch.tensor(bridged, dtype=torch.float64),
            "identity": torch.tensor(identity, dtype=torch.float64),
            "member": member,
            "sign": 1 - 2 * ((member.sum(1) + 1) % 2),
            "ancestor": ancestor,
        }.items():
            self.register_buffer(name, content, persistent=False)

    costs: Tensor
    skip_costs: Tensor
    identity: Tensor
    member: Tensor
    sign: Tensor
    ancestor: Tensor

    def forward(self, p: Tensor) -> Tensor:
        """Return E / (T · Σ_l c_l) for option probabilities ``p`` of shape ``[units, T, 3]``."""
        return self.absolute(p) * self._scale

    def absolute(self, p: Tensor) -> Tensor:
        """Return E in the unit of the costs."""
        p = p.double()
        own = (self.costs[:, None] * p[..., OWN]).sum()
        skipped = (self.skip_costs[:, None] * p[..., SKIPPED]).sum()
        log_shared = self._log_joint(p[..., SHARED])
        joint_skip = self._log_joint(p[..., SKIPPED]).exp()
        equal = torch.log((log_shared.exp() + self.identity[:, None] * joint_skip).clamp_min(1e-300))
        several = (self.member.sum(1) > 1).double()
        reach = self.ancestor @ (equal * several)
        shared = (self.sign * torch.exp(log_shared + reach)).sum(dim=1)
        return own + skipped + (self.costs * shared).sum()

    def _log_joint(self, p: Tensor) -> Tensor:
        """Return log Π_{t∈S} p^t for every unit and task set: ``[units, sets]``."""
        return torch.log(p.clamp_min(1e-300)) @ self.member.T
