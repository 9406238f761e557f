"""The expected cost of a tree whose nodes choose what they read, exact and differentiable.

Instance k of a block is a node, and runs if some task comes by it. Which nodes run is a chain from the leaves to the
root: the nodes R_l that run of block l choose, each for itself, what they read of block l − 1, and what any of them
reads is R_{l−1}. At the top the heads choose in the nodes' place. So all that has to be known of the blocks behind
block l is, for every set B of nodes of block l + 1 (of heads, behind the last block), the probability g(B) that none of
B runs. None of a set A of nodes of block l runs if nothing that runs reads one of A. Whether node j would read one of
A, which it does with probability p_j(A) = Σ_{i∈A} p_j(i), is decided apart from what runs, so

    g_l(A) = Σ_B g_{l+1}(B) Π_{j∈B} p_j(A) Π_{j∉B} (1 − p_j(A))

and behind the last block g(B) is 1 where B has no head that needs the block, else 0. The expected cost is

    E = Σ_l c_l Σ_i (1 − g_l({i})).

Every term is positive, so nothing cancels. The sum over B is T contractions of a tensor with T axes of length 2, and A
runs over all sets too: 4^T numbers a block. :class:`~trunkline.supermodel.expected_cost.ExpectedCost` is the other
case, where each task chooses for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.sharing.space import Space
from trunkline.supermodel.expected_share import ExpectedShare
from trunkline.supermodel.policy_table import PolicyTable, Probabilities
from trunkline.supermodel.workload import Run, Workload

MAX_TASKS = 10
"""Of ten tasks, a million numbers a block; each task more makes it four times as many."""


class ExpectedTree(ExpectedShare):
    """Expected executed cost of the backbone, as a share of T independent backbones.

    Args:
        space: What is open: one instance a task of every block, chosen by nodes. T is at most 10.
        work: What there is to run of it.
        costs: What a node of the backbone costs each time it runs, by name; nothing where it has no entry.
        skip_costs: Not read, for nodes have no skip.

    Raises:
        InvalidConfig: There are too many tasks.

    Two tasks whose heads read node 0 or 1, and nothing else is open: one block of two in half of all cases.

    >>> from trunkline.graph.builder import GraphBuilder
    >>> from trunkline.fragments.layers import convolution
    >>> from trunkline.sharing.backbone import Backbone
    >>> from trunkline.sharing.option import Option
    >>> from trunkline.supermodel.cost_term import cost_term
    >>> builder = GraphBuilder("one block")
    >>> graph = builder.finish([convolution(builder, builder.image("image", (3, 8, 8)), "conv", 4)])
    >>> nodes = (Option(0), Option(1))
    >>> space = Space.over(Backbone(graph), ("a", "b"), "block", lambda unit, task: nodes, chosen_by="node")
    >>> cost = cost_term(space, {}, "macs")
    >>> float(cost({task: torch.tensor([[0.5, 0.5]]) for task in space.tasks}))
    0.75
    """

    def __init__(self, space: Space, work: Workload, costs: Mapping[str, float], skip_costs: Sequence[float]) -> None:
        tasks = work.tasks
        if tasks > MAX_TASKS:
            text = f"the expected cost of a tree of nodes is for at most {MAX_TASKS} tasks, not {tasks}"
            raise InvalidConfig(text, place="search.cost", advice="name fewer tasks")
        super().__init__(tasks * float(sum(costs.values())))
        self.table = PolicyTable(space)
        self._unit_costs = [float(sum(costs.get(name, 0.0) for name in run.nodes)) for run in work.units]
        # Blocks hold all that a head needs, so nothing lies between them.
        self._runs: Sequence[Run] = work.units
        # Row A has 1 for the members of A; its number in binary says who they are, so that a vector over all sets can
        # be taken apart axis by axis, the first task's first.
        bits = [[float(number >> (tasks - 1 - task) & 1) for task in range(tasks)] for number in range(2**tasks)]
        self.register_buffer("member", torch.tensor(bits, dtype=torch.float64), persistent=False)

    member: Tensor

    def absolute(self, policy: Probabilities) -> Tensor:
        """Return E in the unit of the costs."""
        p: Tensor = self.table(policy)
        total = p.new_zeros(())
        # A head may not need the blocks behind its maps: each set of tasks has a chain of its own.
        for tasks in dict.fromkeys(run.tasks for run in self._runs):
            total = total + self._of_blocks_for(tasks, p)
        return total

    def _of_blocks_for(self, tasks: frozenset[int], p: Tensor) -> Tensor:
        """Return the expected cost of the blocks that exactly these tasks need."""
        leaves = self.member[:, sorted(tasks)].sum(1)
        # None of a set of heads needs a block, or one does.
        idle = (leaves == 0).double()
        total = p.new_zeros(())
        singles = torch.tensor([2**number for number in range(self.member.shape[1])], device=p.device)
        for unit in reversed(range(len(self._runs))):
            idle = self._idle_before(idle, p[unit])
            if self._runs[unit].tasks == tasks:
                total = total + self._unit_costs[unit] * (1 - idle[singles]).sum()
        return total

    def _idle_before(self, idle: Tensor, p: Tensor) -> Tensor:
        """Return g of a block for all sets of its nodes, ``[2^T]``, by g of what reads them.

        Args:
            idle: The probability that none of a set runs, by number of the set, ``[2^T]``.
            p: What the readers choose, ``[T, T]``.
        """
        reads = self.member @ p.T  # p_j(A), of all sets A and readers j
        found = idle.expand(len(self.member), -1)
        for reader in range(self.member.shape[1]):
            without, with_it = found.reshape(len(found), 2, -1).unbind(1)
            share = reads[:, reader, None]
            found = without * (1 - share) + with_it * share
        return found.squeeze(1)
