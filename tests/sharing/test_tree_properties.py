"""The tree of a plan is its layout, and a plan that shares again after tasks have parted is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.sharing.tree import branches_of, sharing_groups

pytestmark = pytest.mark.properties

TASKS = ("a", "b", "c", "d", "e")
Groups = list[list[str]]


@st.composite
def layouts(draw: st.DrawFn) -> list[Groups]:
    """One partition of the tasks a unit, each finer than the one before."""
    groups = [list(TASKS)]
    layout = []
    for _ in range(draw(st.integers(1, 8))):
        finer = []
        for group in groups:
            cut = draw(st.integers(0, len(group) - 1))
            finer += [part for part in (group[:cut], group[cut:]) if part]
        groups = finer
        layout.append(groups)
    return layout


def entries(layout: list[Groups], skipped: set[int]) -> dict[str, dict[str, object]]:
    rows: dict[str, dict[str, object]] = {}
    for number, groups in enumerate(layout):
        row = {task: index for index, group in enumerate(groups) for task in group}
        # The first group skips, which parts it from the others as another instance would.
        rows[f"u{number}"] = {task: "skip" if number in skipped and row[task] == 0 else row[task] for task in TASKS}
    return rows


@given(layouts(), st.sets(st.integers(0, 7)), st.booleans())
def test_branches_are_the_layout(layout: list[Groups], skipped: set[int], tie: bool) -> None:
    """Whoever runs a unit together is a branch there, and branches hang together from the image to the leaves."""
    units = entries(layout, skipped)
    # Numbers of instances are those of one unit, so that only what stays together has equal ones in a tied plan.
    branches = branches_of(units, TASKS, tie=tie)
    assert branches is not None
    for number, groups in enumerate(layout):
        there = [set(branch.tasks) for branch in branches if branch.first <= number < branch.end]
        assert sorted(map(sorted, there)) == sorted(map(sorted, groups))
    for branch in branches:
        assert branch.skipped == tuple(
            n for n in range(branch.first, branch.end) if units[f"u{n}"][branch.tasks[0]] == "skip"
        )
        if branch.parent is None:
            assert branch.first == 0
            continue
        parent = branches[branch.parent]
        assert set(branch.tasks) < set(parent.tasks) and parent.end == branch.first


@given(layouts())
def test_untied_numbers_mean_nothing(layout: list[Groups]) -> None:
    """Where nothing is tied, tasks that have parted share nothing, whatever their instances are called."""
    units = entries(layout, set())
    again = {**units, "last": dict.fromkeys(TASKS, 0)}
    groups = sharing_groups(again, TASKS, tie=False)
    assert sorted(map(sorted, groups[-1])) == sorted(map(sorted, layout[-1]))
    assert branches_of(again, TASKS, tie=False) is not None


@given(layouts())
def test_sharing_again_is_no_tree(layout: list[Groups]) -> None:
    """Where instances are tied, one that is run after a parting by both sides makes the plan no tree."""
    again = {**entries(layout, set()), "last": dict.fromkeys(TASKS, 0)}
    assert sharing_groups(again, TASKS, tie=True)[-1] == (TASKS,)
    assert (branches_of(again, TASKS, tie=True) is None) == (len(layout[-1]) > 1)


def test_views_share_weights_and_part() -> None:
    """Two widths of one instance are one set of weights, but not one computation: that is no tree."""
    half = {"instance": 0, "channels": 0.5}
    units = {"u": {"a": 0, "b": half}}
    assert sharing_groups(units, ("a", "b"), tie=True) == [(("a", "b"),)]
    assert branches_of(units, ("a", "b"), tie=True) is None
    same = {"u": {"a": half, "b": {"channels": 0.5, "instance": 0}}}
    assert branches_of(same, ("a", "b"), tie=True) is not None
