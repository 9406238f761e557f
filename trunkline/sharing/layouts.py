"""Plans that need no search: independent, fully shared, shared up to a block, and TreeMTL's layouts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, Problem
from trunkline.files.read import read_own
from trunkline.graph.graph import Graph
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.plan import SharingPlan, check_task_names
from trunkline.sharing.plan_check import make_plan
from trunkline.text import escaped

Groups = list[list[str]]
"""A partition of the tasks: those of one group share a block."""
Layout = list[Groups]
"""One entry per block (TreeMTL, Zhang et al. 2022)."""


def all_shared(backbone: Graph | Backbone, tasks: Sequence[str]) -> SharingPlan:
    """Return the plan in which every task runs the same backbone (the papers' *Multi-Task*).

    >>> from trunkline.ingest.read import read
    >>> all_shared(read("zoo:tiny"), ["depth", "seg"]).units["conv1"]
    {'depth': 0, 'seg': 0}
    """
    backbone = Backbone.of(backbone)
    return plan_of_layout(backbone, tasks, [[list(tasks)]] * _depth(backbone), method="multi-task")


def independent(backbone: Graph | Backbone, tasks: Sequence[str]) -> SharingPlan:
    """Return the plan in which every task has its own backbone (the papers' *Single-Task*).

    >>> from trunkline.ingest.read import read
    >>> independent(read("zoo:tiny"), ["depth", "seg"]).units["conv1"]
    {'depth': 0, 'seg': 1}
    """
    backbone = Backbone.of(backbone)
    return plan_of_layout(backbone, tasks, [[[task] for task in tasks]] * _depth(backbone), method="single-task")


def share_until(backbone: Graph | Backbone, tasks: Sequence[str], block: str) -> SharingPlan:
    """Return the plan that shares everything up to and including ``block``, by name or number.

    Raises:
        InvalidConfig: There is no such block.
    """
    backbone = Backbone.of(backbone)
    table = backbone.table("block")
    last = table.number(block)
    shared, apart = [list(tasks)], [[task] for task in tasks]
    behind = len(table.units) - last - 1
    layout = [shared] * (last + 1) + [apart] * behind
    return plan_of_layout(backbone, tasks, layout, method="share-until")


def plan_of_layout(
    backbone: Graph | Backbone, tasks: Sequence[str], layout: Layout, *, method: str = "layout"
) -> SharingPlan:
    """Return the plan of a TreeMTL layout.

    Raises:
        InvalidConfig: The layout does not have one entry per block, an entry is no partition of the tasks,
            or one joins tasks that an earlier block separated.
    """
    check_task_names(tasks)
    backbone = Backbone.of(backbone)
    names = backbone.table("block").names
    problems = _layout_problems(tasks, layout, len(names))
    if problems:
        raise InvalidConfig(problems)
    choices = {name: _instances(groups, tasks) for name, groups in zip(names, layout, strict=True)}
    # Not tied: TreeMTL copies a block as soon as its inputs differ.
    return make_plan(backbone, tasks, choices, granularity="block", tie=False, method=method)


def _instances(groups: Groups, tasks: Sequence[str]) -> dict[str, int]:
    """Return, by task in output order, the number of its group."""
    number = {task: index for index, group in enumerate(groups) for task in group}
    return {task: number[task] for task in tasks}


def load_layout(path: Path) -> Layout:
    """Read a layout: a JSON list, one entry per block, of lists of tasks.

    Raises:
        InvalidConfig: The file cannot be read or has another form.
    """
    try:
        content: Any = json.loads(read_own(path, "layout"))
    except (ValueError, RecursionError) as error:  # brackets nested deep enough exhaust json's stack
        raise InvalidConfig(f"cannot read the layout: {error}", place=str(path)) from error
    if not isinstance(content, list) or not all(_is_groups(entry) for entry in content):
        raise InvalidConfig(
            "a layout is a list with one entry per block, each a list of groups of task names",
            place=str(path),
            advice='for example [[["a", "b"]], [["a"], ["b"]]]',
        )
    return content


def _is_groups(entry: object) -> bool:
    return isinstance(entry, list) and all(map(_is_group, entry))


def _is_group(entry: object) -> bool:
    return isinstance(entry, list) and all(isinstance(task, str) for task in entry)


def _layout_problems(tasks: Sequence[str], layout: Layout, depth: int) -> list[Problem]:
    if len(layout) != depth:
        return [Problem(f"the layout has {len(layout)} entries, the backbone {depth} blocks", place="layout")]
    problems = []
    for index, groups in enumerate(layout):
        members = [task for group in groups for task in group]
        place = f"layout[{index}]"
        if sorted(members) != sorted(tasks) or not all(groups):
            text = f"block {index} must hold each task once, has {escaped(str(groups))}"
            problems.append(Problem(text, place))
        # Only where all blocks before are partitions: a block cannot refine what is none.
        elif index and not problems and not _refines(groups, layout[index - 1]):
            text = f"block {index} joins tasks that block {index - 1} separated"
            problems.append(Problem(text, place))
    return problems


def _refines(fine: Groups, coarse: Groups) -> bool:
    """Whether every group of ``fine`` lies within one of ``coarse``, which makes the layout a tree."""
    return all(any(set(group) <= set(whole) for whole in coarse) for group in fine)


def _depth(backbone: Backbone) -> int:
    return len(backbone.table("block").units)
