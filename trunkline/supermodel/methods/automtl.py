"""AutoMTL (Zhang et al. 2022): every operator of every task shares, copies or skips; the policy is learned.

The loss terms are

* ``regularization``: L_reg of Eq. 2, Σ_t Σ_l (L−l)/L · {softplus(s(P'(own)−P'(shared))) +
  softplus(s(P'(skip)−P'(shared)))}. The paper's slope s is 1 and P' is the sample of the forward pass; the
  release trains the policy with s = 6 on a second sample.
* ``cost``: the expected cost of the backbone that the policy will be lowered to, as a share of N independent ones
  (:mod:`trunkline.supermodel.expected_cost`): executed multiply-accumulates, stored parameters, or executed
  milliseconds of a table. Neither paper nor release has it; without it scattered choices leave nothing to reuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.graph.cost import Cost, node_costs
from trunkline.graph.graph import Graph
from trunkline.sharing.cost_table import CostTable
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.choice import OWN, SHARED, SKIPPED, Temperature
from trunkline.supermodel.expected_cost import ExpectedCost, ExpectedParameters
from trunkline.supermodel.plan_sampling import Sampling, choose
from trunkline.supermodel.supermodel import Supermodel
from trunkline.supermodel.workload import workload

TERMS = ("regularization", "cost")


class TemperatureOptions(BaseModel):
    """Gumbel-Softmax temperature: ``start · decay^(step // every)``, floored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(5.0, gt=0)
    decay: float = Field(0.965, gt=0, le=1)
    every: int = Field(500, ge=1)
    floor: float = Field(1e-6, gt=0)


class AutoMTLOptions(BaseModel):
    """What can be set about AutoMTL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mixing: Literal["weight", "output"] = Field("weight", description="how options are mixed; both are exact")
    batchnorm: Literal["tied", "task"] = Field("tied", description="'task' is the release's; it leaves no reuse")
    skip: bool = Field(True, description="whether skip is an option")
    prefer_shared: float = Field(0.0, description="initial logit of sharing above the others")
    straight_through: bool = Field(False, description="one-hot samples forward, soft gradients backward")
    slope: float = Field(1.0, gt=0, description="of the regularisation: 1 in the paper, 6 in the release")
    second_sample: bool = Field(False, description="regularise a second Gumbel sample, as the release does")
    cost: Literal["macs", "parameters", "milliseconds"] = Field("macs", description="what the cost term counts")
    cost_table: Path | None = Field(None, description="milliseconds by unit, in a file; see docs/automtl.md")
    temperature: TemperatureOptions = TemperatureOptions()
    sampling: Sampling = Sampling()

    @model_validator(mode="after")
    def _table_where_needed(self) -> Self:
        if self.cost == "milliseconds" and self.cost_table is None:
            raise ValueError('`cost = "milliseconds"` needs `cost_table`, a file with the time of each unit')
        if self.cost != "milliseconds" and self.cost_table is not None:
            raise ValueError(f'`cost_table` is only read with `cost = "milliseconds"`, and cost is "{self.cost}"')
        return self


class AutoMTL(Supermodel):
    """The AutoMTL supermodel with its loss terms and its decision."""

    def __init__(
        self,
        backbone: Graph,
        heads: Mapping[str, Graph],
        tasks: Sequence[str],
        options: AutoMTLOptions | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.options = options or AutoMTLOptions()
        super().__init__(
            backbone,
            heads,
            tasks,
            mixing=self.options.mixing,
            batchnorm=self.options.batchnorm,
            allow_skip=self.options.skip,
            prefer_shared=self.options.prefer_shared,
            straight_through=self.options.straight_through,
            temperature=Temperature(**self.options.temperature.model_dump()),
            seed=seed,
        )
        self.expected_cost = self._expected_cost()
        depths = torch.tensor([unit.depth for unit in self.units], dtype=torch.float32)
        self.register_buffer("depth_weights", (depths.max() - depths) / depths.max(), persistent=False)

    depth_weights: Tensor

    def term(self, name: str) -> Tensor:
        """Return the loss term ``name``, see the module's text.

        Raises:
            InvalidConfig: There is no such term.
        """
        if name == "regularization":
            return self.regularization()
        if name == "cost":
            cost: Tensor = self.expected_cost(self.probabilities())
            return cost.float()
        raise InvalidConfig(f"AutoMTL has no loss term {name!r}", advice=did_you_mean(name, TERMS))

    def regularization(self) -> Tensor:
        """Return L_reg (AutoMTL, Sec. 3.2, Eq. 2) of this step's sample."""
        stream = "second" if self.options.second_sample else "forward"
        total = self.depth_weights.new_zeros(())
        for task in range(len(self.tasks)):
            p = self.option_weights(task, stream=stream)
            allowed = self.allowed[:, task]
            for option in (OWN, SKIPPED):
                rank = F.softplus(self.options.slope * (p[:, option] - p[:, SHARED]))
                total = total + (self.depth_weights * rank * allowed[:, option]).sum()
        return total

    def decide(self) -> SharingPlan:
        """Return the plan chosen from the learned distribution as ``options.sampling`` says."""
        distribution = self.probabilities().detach().double().cpu().numpy()
        settings = {"batchnorm": self.batchnorm, "method": "automtl"}
        return choose(self.backbone, self.heads, self.tasks, distribution, self.options.sampling, settings)

    def policy_json(self) -> dict[str, Any]:
        """Return the learned distribution as plain JSON content; options are shared, own, skip."""
        return {
            "method": "automtl",
            "options": ["shared", "own", "skip"],
            "units": [unit.name for unit in self.units],
            "tasks": list(self.tasks),
            "probabilities": self.probabilities().detach().cpu().tolist(),
        }

    def _expected_cost(self) -> ExpectedCost | ExpectedParameters:
        work = workload(self.backbone, self.heads, self.tasks, self.units, self.skips, self.batchnorm)
        if self.options.cost_table is not None:
            table = CostTable.load(self.options.cost_table, self.backbone)
            return ExpectedCost(work, table.node_ms, [table.units[unit.name].skip_ms for unit in self.units])
        costs = node_costs(self.backbone)
        if self.options.cost == "parameters":
            return ExpectedParameters(work, Cost.total(costs.values()).parameters)
        macs = {name: cost.macs for name, cost in costs.items()}
        return ExpectedCost(work, macs, [0 if skip is None else skip.macs for skip in self.skips])
