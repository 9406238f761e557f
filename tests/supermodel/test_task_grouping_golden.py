"""Task-Grouping: the best cover of the tasks by networks, and networks with tasks that are trained for others alone."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from method_work import TASKS, ShakenWork, image, method_for, setup_for

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.layouts.task_groups import Network, TaskGroups, best_groups, performance_of_pairs
from trunkline.sharing.layouts.two_task_table import TwoTaskTable
from trunkline.sharing.lowering.lower import lower
from trunkline.supermodel.methods import task_grouping
from trunkline.supermodel.methods.task_grouping import TaskGroupingOptions
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_the_best_cover_by_brute_force(seed: int, tasks: int, most: int) -> None:
    """Of all sets of at most so many groups, each task served by the best that it is in."""
    rng = np.random.default_rng(seed)
    groups = [group for group in range(1, 1 << tasks) if group.bit_count() == 1 or rng.random() < 0.8]
    if 1 not in range(most, tasks):
        groups = sorted({*groups, (1 << tasks) - 1})
    performance = {group: list(rng.normal(size=tasks)) for group in groups}

    def score(chosen: Any) -> float:
        serving = [[performance[group][task] for group in chosen if group >> task & 1] for task in range(tasks)]
        return sum(map(max, serving)) if all(serving) else float("-inf")

    sizes = range(1, min(most, len(groups)) + 1)
    expected = max(score(chosen) for size in sizes for chosen in combinations(groups, size))
    if expected == float("-inf"):
        with pytest.raises(InvalidConfig, match="groups hold all tasks"):
            best_groups("abcd"[:tasks], performance, most)
        return
    found = best_groups("abcd"[:tasks], performance, most)
    assert found.score == pytest.approx(expected) and len(found.networks) <= most
    assert sorted(task for network in found.networks for task in network.served) == sorted("abcd"[:tasks])
    assert all(set(network.served) <= set(network.trained) for network in found.networks)


def test_ends_of_the_budget() -> None:
    """With one network all tasks are in it; with T each has its best one."""
    rng = np.random.default_rng(3)
    performance = {group: list(rng.normal(size=3)) for group in range(1, 8)}
    assert best_groups("abc", performance, 1).networks == (Network(("a", "b", "c"), ("a", "b", "c")),)
    best = sum(max(performance[group][task] for group in performance if group >> task & 1) for task in range(3))
    assert best_groups("abc", performance, 3).score == pytest.approx(best)


def test_larger_groups_are_means_of_pairs() -> None:
    rows = {(t, u, p): 0.0 for t in "abc" for u in "abc" if t != u for p in range(2)}
    rows |= {("a", "b", 1): 3.0, ("a", "c", 1): -1.0, ("b", "a", 1): 5.0}
    found = performance_of_pairs(TwoTaskTable.of(["a", "b", "c"], rows))
    assert found[0b011] == [3.0, 5.0, 0.0] and found[0b111] == [1.0, 2.5, 0.0] and found[0b100] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["chain", "residual"])
def test_who_is_trained_for_others_has_no_output(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network computes what it was trained to, with all that were in it."""
    networks = (Network(("depth", "normals"), ("depth",)), Network(("normals", "seg"), ("normals", "seg")))
    monkeypatch.setattr(task_grouping, "best_groups", lambda *_: TaskGroups(networks, 1.0))
    setup = setup_for(name)
    work = ShakenWork(setup)
    found = method_for("task-grouping", setup, tmp_path).find(work)
    assert found.goes_on and found.phases == () and found.start is not None
    assert found.plan.provenance["networks"] == [["depth", "normals"], ["normals", "seg"]]
    lowered = lower(found.plan, setup.backbone, setup.heads)
    twin = Twin(lowered.graph)
    twin.load_weights(found.start(lowered))
    outputs = twin.eval()(image())
    for network in networks:
        alone = work.train("again", all_shared(setup.backbone, network.trained))
        expected = Twin(alone.graph, weights=alone.weights).eval()(image())
        for task in network.served:
            torch.testing.assert_close(outputs[task], expected[task])


@pytest.mark.parametrize("groups", ["pairs", "all"])
def test_what_is_trained(groups: str, tmp_path: Path) -> None:
    trained = []

    class Watched(ShakenWork):
        def train(self, name: str, plan: Any, **more: Any) -> Any:
            phases = more.get("phases")
            trained.append((plan.tasks, None if phases is None else phases[0].steps))
            return super().train(name, plan, **more)

    setup = setup_for("chain")
    method_for("task-grouping", setup, tmp_path, groups=groups, steps=2, max_models=3).find(Watched(setup))
    pairs = [(pair, 2) for pair in combinations(TASKS, 2)]
    expected = [(TASKS, 2), *pairs, *([(TASKS, 2)] if groups == "all" else [])]
    assert trained[: len(expected)] == expected
    assert all(steps is None for _, steps in trained[len(expected) :])  # the networks themselves, as the pipeline says


def test_a_table_stands_for_the_pairs(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = ["task,partner,branch_point,relative_performance_percent"]
    good = {("depth", "seg"), ("seg", "depth")}
    rows += [f"{t},{u},{p},{p * (5 if (t, u) in good else -5)}" for t in TASKS for u in TASKS if t != u for p in (0, 1)]
    path.write_text("\n".join(rows))
    setup = setup_for("chain")
    method = method_for("task-grouping", setup, tmp_path, table=path)
    method.check()
    plan = method.find(ShakenWork(setup)).plan
    assert plan.provenance["networks"] == [["depth", "seg"], ["normals"]] and plan.provenance["score"] == 10.0
    row = next(iter(plan.units.values()))
    assert row["depth"] == row["seg"] != row["normals"]


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_models"):
        TaskGroupingOptions(max_models=0)
    with pytest.raises(InvalidConfig, match="13 tasks"):
        best_groups([f"t{number}" for number in range(13)], {}, 2)
