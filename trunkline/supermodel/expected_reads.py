"""The expected cost of columns whose joins choose what they read, exact and differentiable.

Who runs what is decided: the columns, and of every join what it makes of the column's own map. What is open is which
other maps it reads besides, each by a choice of its own. A read costs as much more as the fragment is dearer with it,
so with p_r the probability of read r,

    E = c(no open read) + Σ_r p_r · c_r.

That holds where a fragment's cost is a sum over what it reads, as of a 1×1 convolution over maps put behind each
other, and where no choice makes anything else superfluous: every join reads the column that goes on from it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trunkline.sharing.join import Read
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_groups import groups_of
from trunkline.supermodel.expected_share import ExpectedShare
from trunkline.supermodel.policy_table import Probabilities
from trunkline.supermodel.read_costs import ReadCosts
from trunkline.text import quoted

ON = 1
"""The option of a read that is taken."""


class ExpectedReads(ExpectedShare):
    """Expected cost of columns and joins, as a share of T independent backbones.

    Args:
        space: In which nothing but reads of joins is open, as :func:`check_reads` says.
        costs: What there is to pay for.
    """

    def __init__(self, space: Space, costs: ReadCosts) -> None:
        super().__init__(costs.independent)
        self._least = costs.least
        self._groups: list[str] = []
        for group in groups_of(space):
            content = torch.tensor([costs.reads[choice] for choice in group.choices], dtype=torch.float64)
            self.register_buffer(f"costs{len(self._groups)}", content, persistent=False)
            self._groups.append(group.name)

    def absolute(self, policy: Probabilities) -> Tensor:
        """Return E in the unit of the costs."""
        of_groups = []
        for number, name in enumerate(self._groups):
            costs: Tensor = getattr(self, f"costs{number}")
            of_groups.append((costs * policy[name][:, ON].double()).sum())
        return torch.stack(of_groups).sum() + self._least


def check_reads(space: Space) -> None:
    """Check that nothing but reads of joins is open, and that no read decides whether something else is run.

    Raises:
        ValueError: More is open, or a read decides more.
    """
    if any(choice.read is None for choice in space.choices):
        raise ValueError("the cost of units behind a join is not known before it is lowered")
    owners = [join.join.weights_of for join in space.joins]
    for join in (each.join for each in space.joins):
        goes_on = join.gives == "site" and join.reads[0] == Read.column(join.site, join.task)
        # One that is only read by others, or reads others, may be superfluous where a read is off.
        if not goes_on or any(read.join for read in join.reads) or owners.count(join.weights_of) > 1:
            raise ValueError(f"what reads of {quoted(join.name)} cost is not known before it is lowered")
