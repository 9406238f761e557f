"""The expected cost of columns whose joins choose what they read, exact and differentiable.

Who runs what is decided: the columns, and of every join what it makes of the column's own map. What is open is which
other maps it reads besides, each by a choice of its own. A read costs as much more as the fragment is dearer with it,
so with p_r the probability of read r,

    E = c(no open read) + Σ_r p_r · c_r.

That holds where a fragment's cost is a sum over what it reads, as of a 1×1 convolution over maps put behind each
other, and where no choice makes anything else superfluous: every join reads the column that goes on from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from trunkline.errors import InvalidConfig
from trunkline.fragments.joins.base import Inputs
from trunkline.fragments.map_size import map_size
from trunkline.fragments.registry import make_join
from trunkline.graph.cost import graph_cost
from trunkline.graph.graph import Graph, shape_of
from trunkline.sharing.join import Join, Read
from trunkline.sharing.join_check import fragments_of
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.open_join import ChoiceId, OpenJoin
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_groups import groups_of
from trunkline.supermodel.policy_table import Probabilities
from trunkline.text import quoted

ON = 1
"""The option of a read that is taken."""
CountedOfReads = Literal["macs", "parameters"]


class ExpectedReads(nn.Module):
    """Expected cost of columns and joins, as a share of T independent backbones.

    Args:
        space: In which nothing but reads of joins is open.
        heads: By task.
        count: What is counted.

    Raises:
        InvalidConfig: What a join costs is no sum over its reads.
        ValueError: More than reads of joins is open, or a read decides whether something else is run.
    """

    def __init__(self, space: Space, heads: Mapping[str, Graph], count: CountedOfReads) -> None:
        super().__init__()
        _check(space)
        without = executed_cost(space.plan(dict.fromkeys(space.choices, 0)), space.backbone, heads)
        self._least = float(getattr(without.backbone, count))
        self._scale = 1.0 / max(1.0, float(getattr(without.independent_backbone, count)))
        fragments = fragments_of(tuple(join.made_for for join in space.joins), space.backbone)
        costs: dict[ChoiceId, float] = {}
        for number, join in enumerate(space.joins):
            if join.choices:
                costs |= _read_costs(join, fragments[join.join.weights_of], count, f"joins.{number}")
        self._groups: list[str] = []
        for group in groups_of(space):
            content = torch.tensor([costs[choice] for choice in group.choices], dtype=torch.float64)
            self.register_buffer(f"costs{len(self._groups)}", content, persistent=False)
            self._groups.append(group.name)

    def forward(self, policy: Probabilities) -> Tensor:
        """Return E as a share of T independent backbones."""
        return self.absolute(policy) * self._scale

    def absolute(self, policy: Probabilities) -> Tensor:
        """Return E, a number of multiply-accumulates or of parameters."""
        of_groups = []
        for number, name in enumerate(self._groups):
            costs: Tensor = getattr(self, f"costs{number}")
            of_groups.append((costs * policy[name][:, ON].double()).sum())
        return torch.stack(of_groups).sum() + self._least


def _check(space: Space) -> None:
    if any(choice.read is None for choice in space.choices):
        raise ValueError("the cost of units behind a join is not known before it is lowered")
    owners = [join.join.weights_of for join in space.joins]
    for join in (each.join for each in space.joins):
        goes_on = join.gives == "site" and join.reads[0] == Read.column(join.site, join.task)
        # One that is only read by others, or reads others, may be superfluous where a read is off.
        if not goes_on or any(read.join for read in join.reads) or owners.count(join.weights_of) > 1:
            raise ValueError(f"what reads of {quoted(join.name)} cost is not known before it is lowered")


def _read_costs(open_join: OpenJoin, fragment: Graph, count: CountedOfReads, place: str) -> dict[ChoiceId, float]:
    """Return how much dearer a fragment is with each of its open reads."""
    join = open_join.join
    sizes = {n: map_size(shape_of(value)) for n, value in enumerate(fragment.model.graph.inputs)}
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
