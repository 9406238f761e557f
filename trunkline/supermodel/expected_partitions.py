"""The resource loss as BMTAS's paper has it: a recursion over partitions of the tasks (Bruggemann et al. 2020, Eq. 6).

At block l the tasks have chosen a partition of themselves: those together that took the same instance. With q_l(k) the
probability of partition k there, and A_k the partitions of which k is a refinement, k itself among them,

    P_1(k) = q_1(k),        P_l(k) = q_l(k) · Σ_{m∈A_k} P_{l−1}(m),        E = Σ_l c_l Σ_k |k| · P_l(k)    (Eqs. 5, 6)

This is not all: tasks that parted before stay apart where they choose alike again, and choices that cut across the
groups so far make finer ones. The recursion reaches none of these; what it leaves over counts as all tasks apart, as in
the release. So for two tasks it is exact, since they are together or apart. For more it charges for branches that the
tree will not have; :class:`~trunkline.supermodel.expected_cost.ExpectedCost` does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.sharing.space import Space
from trunkline.supermodel.expected_share import ExpectedShare
from trunkline.supermodel.policy_table import PolicyTable, Probabilities
from trunkline.supermodel.workload import Workload

MAX_TASKS = 7
"""Which have 877 partitions, Bell's number; eight have 4,140, and a matrix over pairs of them is too large."""
Groups = tuple[frozenset[int], ...]
"""A partition of the tasks."""


class ExpectedPartitions(ExpectedShare):
    """The paper's resource loss, as a share of T independent backbones.

    Args:
        space: A chain of blocks, of which every task chooses an instance. T is at most 7.
        work: What there is to run of it. A block counts for the tasks that need it.
        costs: What a node of the backbone costs each time it runs, by name; nothing where it has no entry.
        skip_costs: Not read, for instances have no skip.

    Raises:
        InvalidConfig: There are too many tasks.

    Two blocks, and three tasks that choose at random: P_2 is 1/81 for one group, 6/81 for each way to make two.

    >>> from trunkline.graph.builder import GraphBuilder
    >>> from trunkline.fragments.layers import convolution
    >>> from trunkline.sharing.backbone import Backbone
    >>> from trunkline.sharing.option import Option
    >>> from trunkline.supermodel.cost_term import cost_term
    >>> builder = GraphBuilder("two blocks")
    >>> x = builder.node("Relu", [convolution(builder, builder.image("image", (3, 8, 8)), "one", 3)], name="relu")
    >>> graph = builder.finish([convolution(builder, x, "two", 3)])
    >>> instances = [Option(number) for number in range(3)]
    >>> space = Space.over(Backbone(graph), ("a", "b", "c"), "block", lambda unit, task: instances, tie=False)
    >>> term = cost_term(space, {}, "macs", executed=ExpectedPartitions)
    >>> share = term({task: torch.full((2, 3), 1 / 3) for task in space.tasks})
    >>> bool(torch.isclose(6 * share, torch.tensor(19 / 9 + 223 / 81).double()))  # in truth 19/9 + 217/81
    True
    """

    def __init__(self, space: Space, work: Workload, costs: Mapping[str, float], skip_costs: Sequence[float]) -> None:
        tasks = work.tasks
        if tasks > MAX_TASKS:
            text = f"the recursion over partitions is for at most {MAX_TASKS} tasks, not {tasks}"
            raise InvalidConfig(text, place="search.resource", advice='use `resource = "exact"`')
        super().__init__(tasks * float(sum(costs.values())))
        self.table = PolicyTable(space)
        # The finest is the last: every other one has fewer groups.
        found = sorted(partitions(range(tasks)), key=len)
        groups = torch.tensor([[_groups_of(k, run.tasks) for k in found] for run in work.units], dtype=torch.float64)
        of_units = [float(sum(costs.get(name, 0.0) for name in run.nodes)) for run in work.units]
        coarser = torch.tensor([[_is_refinement(k, m) for m in found] for k in found], dtype=torch.float64)
        for name, content in {
            "prices": groups * torch.tensor(of_units, dtype=torch.float64)[:, None],
            "coarser": coarser,
            "exactly": torch.linalg.inv(coarser).round(),
            "together": torch.tensor([_numbered(k, tasks) for k in found]),
            "member": torch.tensor(
                [[float(number >> task & 1) for task in range(tasks)] for number in range(2**tasks)],
                dtype=torch.float64,
            ),
        }.items():
            self.register_buffer(name, content, persistent=False)

    prices: Tensor
    coarser: Tensor
    exactly: Tensor
    together: Tensor
    member: Tensor

    def absolute(self, policy: Probabilities) -> Tensor:
        """Return E in the unit of the costs."""
        q = self._of_choices(self.table(policy))
        before, total = q[0], (self.prices[0] * q[0]).sum()
        for unit in range(1, len(q)):
            known = (q[unit] * (self.coarser @ before))[:-1]
            # All that the recursion does not reach: the tasks count as apart.
            before = torch.cat([known, 1 - known.sum(dim=0, keepdim=True)])
            total = total + (self.prices[unit] * before).sum()
        return total

    def _of_choices(self, p: Tensor) -> Tensor:
        """Return q of every block and partition, ``[blocks, partitions]``, by p of instances, ``[blocks, T, T]``."""
        # Σ_o Π_{t∈S} p^t(o), that all of S took one instance, by number of the set. A product over the members of S:
        # where a task is no member, its factor is 1.
        factors = torch.where(self.member[None, :, :, None] > 0, p[:, None], torch.ones_like(p[:, None]))
        one_instance = factors.prod(dim=2).sum(dim=-1)
        one_instance = torch.cat([torch.ones_like(one_instance[:, :1]), one_instance[:, 1:]], dim=1)
        # At least as coarse as k: each group of k took one instance. Exactly k: Möbius inversion over the partitions.
        at_least = one_instance[:, self.together].prod(dim=-1)
        return at_least @ self.exactly.T


def partitions(tasks: Sequence[int]) -> Iterator[Groups]:
    """Yield all partitions of some tasks.

    >>> [len(list(partitions(range(count)))) for count in range(1, 7)]
    [1, 2, 5, 15, 52, 203]
    """
    if not tasks:
        yield ()
        return
    first, *others = tasks
    for rest in partitions(others):
        yield (frozenset([first]), *rest)
        for number, group in enumerate(rest):
            yield (group | {first}, *rest[:number], *rest[number + 1 :])


def _is_refinement(fine: Groups, coarse: Groups) -> bool:
    return all(any(group <= larger for larger in coarse) for group in fine)


def _groups_of(partition: Groups, needing: frozenset[int]) -> int:
    """Return the groups that have to run a block: those with a task whose head needs it."""
    return sum(not group.isdisjoint(needing) for group in partition)


def _numbered(partition: Groups, tasks: int) -> list[int]:
    """Return the groups as numbers in binary, filled up with the empty set."""
    numbers = [sum(1 << task for task in group) for group in partition]
    return numbers + [0] * (tasks - len(numbers))
