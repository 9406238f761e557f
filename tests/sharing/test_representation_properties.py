"""What-to-Share: how alike tasks see images, and the tree whose groups see them most alike."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts import least_dissimilar as module
from trunkline.sharing.layouts.best_layouts import CostLimit
from trunkline.sharing.layouts.enumeration import enumerate_layouts
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.least_dissimilar import least_dissimilar
from trunkline.sharing.layouts.representation import affinity, block_affinities, dissimilarities, partition_cost

pytestmark = pytest.mark.properties
SEEDS = st.integers(0, 2**32 - 1)


def features(seed: int, images: int = 7, shape: tuple[int, ...] = (4, 3, 2)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(images, *shape))


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_as_scipy_has_it(seed: int) -> None:
    one, other = features(seed), features(seed + 1, shape=(5,))
    matrix = dissimilarities(one)
    for first, second in combinations(range(7), 2):
        expected = 1 - pearsonr(one[first].ravel(), one[second].ravel()).statistic
        assert matrix[first, second] == pytest.approx(expected) == pytest.approx(matrix[second, first])
    below = np.tril_indices(7, k=-1)
    theirs = dissimilarities(other)
    assert affinity(matrix, theirs) == pytest.approx(spearmanr(matrix[below], theirs[below]).statistic)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_scale_offset_and_order_of_channels_say_nothing(seed: int) -> None:
    one, other = features(seed), features(seed + 1)
    order = np.random.default_rng(seed).permutation(4)
    moved = 3.0 * other[:, order] - 2.0
    found = affinity(dissimilarities(one), dissimilarities(other))
    assert affinity(dissimilarities(one), dissimilarities(moved)) == pytest.approx(found)
    assert affinity(dissimilarities(other), dissimilarities(moved)) == pytest.approx(1.0)


def test_flat_features_are_like_nothing() -> None:
    flat = dissimilarities(np.ones((5, 3)))
    assert flat[0, 1] == 1 and flat[0, 0] == 0
    assert affinity(flat, dissimilarities(features(0, 5))) == 0.0


def test_blocks_that_do_not_run() -> None:
    """A task that does not run a block differs from nobody there."""
    seen = {"a": [features(0), features(1)], "b": [features(2), None], "c": [features(0), features(3)]}
    found = block_affinities(seen, ["a", "b", "c"])
    assert found.shape == (2, 3, 3) and np.array_equal(found, found.transpose(0, 2, 1))
    assert found[0, 0, 2] == pytest.approx(1.0) and found[0, 0, 1] < 1
    assert list(found[1, 1]) == [1.0, 1.0, 1.0] and found[1, 0, 2] < 1


def test_costs_of_partitions() -> None:
    """A group costs its worst pair, a block the mean of its groups."""
    affinities = np.array([[1.0, 0.9, 0.5], [0.9, 1.0, 0.2], [0.5, 0.2, 1.0]])
    assert partition_cost((0b111,), affinities) == pytest.approx(0.8)
    assert partition_cost((0b011, 0b100), affinities) == pytest.approx(0.05)
    assert partition_cost((0b101, 0b010), affinities) == pytest.approx(0.25)
    assert partition_cost((1, 2, 4), affinities) == 0.0


def random_affinities(seed: int, blocks: int, tasks: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    raw = rng.random((blocks, tasks, tasks))
    both = (raw + raw.transpose(0, 2, 1)) / 2
    both[:, range(tasks), range(tasks)] = 1.0
    return both


def cost_of(layout: Layout, affinities: np.ndarray[Any, Any]) -> float:
    """By names, not by sets of bits."""
    total = 0.0
    for groups, block in zip(layout.blocks, affinities, strict=True):
        place = {task: number for number, task in enumerate(layout.tasks)}
        worst = [
            max((1 - block[place[a], place[b]] for a, b in combinations(group, 2)), default=0.0) for group in groups
        ]
        total += sum(worst) / len(worst)
    return total


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 4), st.integers(1, 4))
def test_the_least_dissimilar_tree_by_brute_force(seed: int, tasks: int, blocks: int) -> None:
    names, affinities = "abcd"[:tasks], random_affinities(seed, blocks, tasks)
    costs = np.random.default_rng(seed).random(blocks) + 0.1
    limit = CostLimit(costs, float(costs.sum() * (1 + 0.6 * (tasks - 1))))
    layouts = enumerate_layouts(names, blocks)
    fitting = [layouts.layout(n) for n in range(len(layouts)) if limit.holds(float(layouts.groups[n] @ costs))]
    found = least_dissimilar(names, affinities, {"macs": limit})
    assert found.proved and found.layout in fitting and found.index is not None
    assert found.layout == layouts.layout(found.index)
    assert found.cost == pytest.approx(min(cost_of(layout, affinities) for layout in fitting))
    assert found.cost == pytest.approx(cost_of(found.layout, affinities))
    # Without a budget nothing is shared, which costs nothing.
    assert least_dissimilar(names, affinities, {}).layout == Layout.independent(list(names), blocks)


@pytest.mark.parametrize("seed", range(6))
def test_following_branches_finds_a_tree_that_fits(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It proves nothing; where as many states are followed as there are, it finds the best."""
    affinities = random_affinities(seed, 3, 4)
    costs = np.array([1.0, 2.0, 3.0])
    limits = {"macs": CostLimit(costs, 14.0)}
    best = least_dissimilar("abcd", affinities, limits)
    monkeypatch.setattr(module, "MOST_LAYOUTS", 1)
    found = least_dissimilar("abcd", affinities, limits)
    assert not found.proved and found.index is None
    assert found.cost == pytest.approx(cost_of(found.layout, affinities)) == pytest.approx(best.cost)
    monkeypatch.setattr(module, "FOLLOWED", 1)
    greedy = least_dissimilar("abcd", affinities, limits)
    assert greedy.cost >= best.cost - 1e-12
    assert sum(len(groups) * cost for groups, cost in zip(greedy.layout.blocks, costs, strict=True)) <= 14
    with pytest.raises(InvalidConfig, match="no layout fits"):
        least_dissimilar("abcd", affinities, {"macs": CostLimit(costs, 5.0)})


def test_too_many_tasks_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="11 tasks"):
        least_dissimilar("abcdefghijk", random_affinities(0, 5, 11), {})
