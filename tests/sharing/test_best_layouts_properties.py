"""The best layouts under budgets, found without enumerating, are those that enumerating finds."""

from __future__ import annotations

from itertools import combinations, islice
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.sharing.layouts import best_layouts as module
from trunkline.sharing.layouts.best_layouts import CostLimit, best_layouts
from trunkline.sharing.layouts.enumeration import enumerate_layouts, named
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.partition_table import PartitionTable, within_sets
from trunkline.sharing.layouts.ranked_layouts import RankedLayouts

pytestmark = pytest.mark.properties
NAMES = "abcdefgh"


def random_pairs(rng: np.random.Generator, tasks: int, blocks: int, *, whole: bool) -> np.ndarray[Any, Any]:
    """Symmetric; of whole numbers, so that scores tie, or of any."""
    shape = (tasks, tasks, blocks + 1)
    pairs = rng.integers(-2, 3, size=shape).astype(float) if whole else rng.normal(size=shape)
    return pairs + pairs.transpose(1, 0, 2)


def scores_of(layouts: Any, pairs: np.ndarray[Any, Any]) -> list[float]:
    """The sum over pairs, layout by layout, read off the layouts themselves."""
    found = []
    for number in range(len(layouts)):
        layout = layouts.layout(number)
        both = combinations(range(len(layout.tasks)), 2)
        found.append(sum(pairs[t, u, layout.branching_point(NAMES[t], NAMES[u])] for t, u in both))
    return found


@settings(max_examples=1_000, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([0, 3, module.MOST_MADE]),
)
def test_as_by_brute_force(seed: int, tasks: int, blocks: int, count: int, whole: bool, made: int) -> None:
    """Either way: by one price for all layouts, and by prices for each part of one."""
    rng = np.random.default_rng(seed)
    pairs = random_pairs(rng, tasks, blocks, whole=whole)
    limits = []
    for _ in range(count):
        costs = rng.random(blocks) * (rng.random(blocks) < 0.8)
        limits.append(CostLimit(costs, float(costs.sum() * (1 + rng.random() * (tasks - 1)))))
    most = int(rng.integers(1, 12))
    layouts = enumerate_layouts(NAMES[:tasks], blocks)
    scores = np.array(scores_of(layouts, pairs))
    fits = np.array([all(limit.holds(float(row @ limit.costs)) for limit in limits) for row in layouts.groups])
    expected = np.sort(scores[fits])[::-1][:most]
    with patch.object(module, "MOST_MADE", made):
        found = best_layouts(pairs, limits, blocks, most)
    assert found.proved
    np.testing.assert_allclose([score for score, _ in found.layouts], expected, atol=1e-9)
    for score, groups in found.layouts:
        layout = Layout(tuple(NAMES[:tasks]), tuple(named(tuple(part), NAMES[:tasks]) for part in groups))
        both = combinations(range(tasks), 2)
        own = sum(pairs[t, u, layout.branching_point(NAMES[t], NAMES[u])] for t, u in both)
        assert own == pytest.approx(score, abs=1e-9)
        assert all(limit.holds(limit.cost_of(groups)) for limit in limits)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(1, 4))
def test_every_layout_comes_once_in_order(seed: int, tasks: int, blocks: int) -> None:
    rng = np.random.default_rng(seed)
    pairs, prices = random_pairs(rng, tasks, blocks, whole=False), rng.random(blocks)
    found = list(RankedLayouts(PartitionTable(within_sets(pairs), list(prices))))
    values = [value for value, _ in found]
    assert values == sorted(values, reverse=True)
    layouts = {tuple(named(tuple(part), NAMES[:tasks]) for part in groups) for _, groups in found}
    assert len(layouts) == len(found) == len(enumerate_layouts(NAMES[:tasks], blocks))


def test_pairs_of_sets() -> None:
    rng = np.random.default_rng(0)
    pairs = random_pairs(rng, 5, 3, whole=False)
    within = within_sets(pairs)
    for members in range(32):
        inside = [task for task in range(5) if members >> task & 1]
        expected = sum((pairs[t, u] for t, u in combinations(inside, 2)), np.zeros(4))
        np.testing.assert_allclose(within[:, members], expected, atol=1e-12)


def test_large_spaces_are_not_enumerated() -> None:
    """Ten tasks and twenty blocks have 4e15 layouts; the first few hundred are enough to prove the ten best."""
    rng = np.random.default_rng(1)
    pairs = random_pairs(rng, 10, 20, whole=False)
    costs = rng.random(20)
    limit = CostLimit(costs, float(costs.sum() * 4))
    found = best_layouts(pairs, [limit], 20, 10)
    assert found.proved and len(found.layouts) == 10
    assert found.bound < found.layouts[-1][0] + 1e-6
    # Without the budget nothing is lost by it, and one that nothing fits into but one model for all gives just that.
    free = best_layouts(pairs, [], 20, 1).layouts[0][0]
    assert free >= found.layouts[0][0]
    tight = best_layouts(pairs, [CostLimit(costs, float(costs.sum()))], 20, 3)
    assert [groups for _, groups in tight.layouts] == [[[2**10 - 1]] * 20]


@pytest.mark.parametrize("models", [1.1, 1.5, 2.5])
def test_tight_budgets_are_proved_too(models: float) -> None:
    """Scores without any pattern: one price leaves tens of thousands of layouts between what fits and its bound."""
    rng = np.random.default_rng(1)
    pairs, costs = random_pairs(rng, 10, 20, whole=False), rng.random(20)
    limit = CostLimit(costs, float(costs.sum() * models))
    found = best_layouts(pairs, [limit], 20, 10)
    assert found.proved and len({str(groups) for _, groups in found.layouts}) == 10
    assert all(limit.holds(limit.cost_of(groups)) for _, groups in found.layouts)
    scores = [score for score, _ in found.layouts]
    assert scores == sorted(scores, reverse=True) and found.bound <= scores[-1] + 1e-9


def test_giving_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found by then is kept, and the bound tells how far the best could be."""
    monkeypatch.setattr(module, "MOST_MADE", 3)
    monkeypatch.setattr(module, "MOST_STEPS", 1)
    rng = np.random.default_rng(2)
    pairs = random_pairs(rng, 4, 3, whole=False)
    found = best_layouts(pairs, [], 3, 10)
    assert not found.proved and len(found.layouts) == 3
    fourth = next(islice(iter(RankedLayouts(PartitionTable(within_sets(pairs), [0.0] * 3))), 3, None))[0]
    assert found.bound == pytest.approx(fourth)
