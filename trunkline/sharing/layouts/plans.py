"""Layouts as sharing plans, and the plans that need no search: independent, fully shared, shared up to a block."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.layout import Layout, Partition
from trunkline.sharing.plan import SharingPlan, check_task_names
from trunkline.sharing.plan_check import make_plan
from trunkline.sharing.tree import branches_of


def all_shared(backbone: Graph | Backbone, tasks: Sequence[str]) -> SharingPlan:
    """Return the plan in which every task runs the same backbone (the papers' *Multi-Task*).

    >>> from trunkline.ingest.read import read
    >>> all_shared(read("zoo:tiny"), ["depth", "seg"]).units["conv1"]
    {'depth': 0, 'seg': 0}
    """
    check_task_names(tasks)
    backbone = Backbone.of(backbone)
    return plan_of_layout(backbone, Layout.all_shared(tasks, _depth(backbone)), method="multi-task")


def independent(backbone: Graph | Backbone, tasks: Sequence[str]) -> SharingPlan:
    """Return the plan in which every task has its own backbone (the papers' *Single-Task*).

    >>> from trunkline.ingest.read import read
    >>> independent(read("zoo:tiny"), ["depth", "seg"]).units["conv1"]
    {'depth': 0, 'seg': 1}
    """
    check_task_names(tasks)
    backbone = Backbone.of(backbone)
    return plan_of_layout(backbone, Layout.independent(tasks, _depth(backbone)), method="single-task")


def share_until(backbone: Graph | Backbone, tasks: Sequence[str], block: str) -> SharingPlan:
    """Return the plan that shares everything up to and including ``block``, by name or number.

    Raises:
        InvalidConfig: There is no such block.
    """
    check_task_names(tasks)
    backbone = Backbone.of(backbone)
    layout = shared_until(tasks, backbone.table("block").number(block) + 1, _depth(backbone))
    return plan_of_layout(backbone, layout, method="share-until")


def shared_until(tasks: Sequence[str], shared: int, depth: int) -> Layout:
    """Return the layout that shares the first ``shared`` of ``depth`` blocks and nothing behind."""
    apart = [[task] for task in tasks]
    return Layout.of(tasks, [[list(tasks)]] * shared + [apart] * (depth - shared))


def plan_of_layout(backbone: Graph | Backbone, layout: Layout, *, method: str = "layout") -> SharingPlan:
    """Return the plan of a layout with one entry for each block of the backbone.

    Raises:
        InvalidConfig: The layout is of another number of blocks.
    """
    check_task_names(layout.tasks)
    backbone = Backbone.of(backbone)
    names = backbone.table("block").names
    if len(layout.blocks) != len(names):
        text = f"the layout has {len(layout.blocks)} entries, the backbone {len(names)} blocks"
        raise InvalidConfig(text, place="layout", advice="`inspect` lists the blocks")
    choices = {name: _instances(groups, layout.tasks) for name, groups in zip(names, layout.blocks, strict=True)}
    # Not tied: TreeMTL copies a block as soon as its inputs differ.
    return make_plan(backbone, layout.tasks, choices, granularity="block", tie=False, method=method)


def layout_of_plan(plan: SharingPlan) -> Layout | None:
    """Return the layout that a plan is; ``None`` where it is no tree of whole blocks: with skips, views or joins.

    >>> from trunkline.ingest.read import read
    >>> plan = share_until(read("zoo:tiny"), ["depth", "seg"], "5")
    >>> layout_of_plan(plan).blocks[5:]
    ((('depth', 'seg'),), (('depth',), ('seg',)))
    """
    entries = [choice for row in plan.units.values() for choice in row.values()]
    if plan.granularity != "block" or plan.joins or not all(isinstance(entry, int) for entry in entries):
        return None
    branches = branches_of(plan.units, plan.tasks, tie=plan.tie)
    if branches is None:
        return None
    blocks = [
        [branch.tasks for branch in branches if branch.first <= number < branch.end]
        for number in range(len(plan.units))
    ]
    return Layout.of(plan.tasks, blocks)


def _instances(groups: Partition, tasks: Sequence[str]) -> dict[str, int]:
    """Return, by task in output order, the number of its group."""
    number = {task: index for index, group in enumerate(groups) for task in group}
    return {task: number[task] for task in tasks}


def _depth(backbone: Backbone) -> int:
    return len(backbone.table("block").units)
