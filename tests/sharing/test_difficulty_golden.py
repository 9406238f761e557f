"""FAFS: which images tasks find hard alike, and the tree that is grown from the heads."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.sharing.layouts.difficulty import branch_affinity, grouping_cost, grown_layout, task_affinities
from trunkline.sharing.layouts.layout import Layout

pytestmark = pytest.mark.golden


def test_affinities_are_how_often_tasks_agree() -> None:
    errors = np.random.default_rng(0).random((3, 50))
    found = task_affinities(errors)
    hard = errors >= errors.mean(axis=1, keepdims=True)
    for one, other in product(range(3), range(3)):
        both, neither = hard[one] & hard[other], ~hard[one] & ~hard[other]
        assert found[one, other] == pytest.approx((both.sum() + neither.sum()) / 50)
    assert np.array_equal(found, found.T) and list(found.diagonal()) == [1, 1, 1]


def test_easy_and_hard_at_random_agree_half_the_time() -> None:
    errors = np.random.default_rng(1).random((2, 4_000))
    assert task_affinities(errors)[0, 1] == pytest.approx(0.5, abs=0.03)


def test_images_without_a_label_are_left_out() -> None:
    errors = np.array([[1.0, 2.0, 9.0, np.nan], [1.0, 9.0, 8.0, 2.0], [np.nan, np.nan, np.nan, 1.0]])
    found = task_affinities(errors)
    # Of the three that both have: easy, easy, hard against easy, hard, hard.
    assert found[0, 1] == pytest.approx(2 / 3)
    assert found[0, 2] == 0.0  # no image has both


AFFINITIES = np.array([[1.0, 0.9, 0.4, 0.5], [0.9, 1.0, 0.6, 0.3], [0.4, 0.6, 1.0, 0.8], [0.5, 0.3, 0.8, 1.0]])


def test_branches_and_groupings_by_hand() -> None:
    # {0,1} to {2,3}: the worst of each is 0.4 and 0.3; back, 0.4 and 0.3.
    assert branch_affinity([0, 1], [2, 3], AFFINITIES) == pytest.approx(0.35)
    assert branch_affinity([0], [0], AFFINITIES) == 1.0
    assert branch_affinity([0, 1], [2], AFFINITIES) == pytest.approx((0.5 + 0.4) / 2)
    four = [[0], [1], [2], [3]]
    # Two groups: 1 · 2^1 for the branch; in each the worst partner of both is 0.9, and 0.8.
    assert grouping_cost([four[:2], four[2:]], AFFINITIES, 1.0, 10.0) == pytest.approx(2 + 10 * (1 - 0.85))
    assert grouping_cost([four], AFFINITIES, 1.0, 10.0) == pytest.approx(10 * (1 - (0.4 + 0.3 + 0.4 + 0.3) / 4))
    apart: Any = [[branch] for branch in four]
    assert grouping_cost(apart, AFFINITIES, 2.0, 10.0) == pytest.approx(12.0)


def test_a_tree_by_hand() -> None:
    """At the end branches are cheap and the pairs that agree stay; nearer the image there is one trunk."""
    found = grown_layout("abcd", AFFINITIES, [3.0, 1.0, 0.0], alpha=5.0)
    assert found == Layout.of(list("abcd"), [[list("abcd")], [list("ab"), list("cd")], [list("ab"), list("cd")]])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5))
def test_ends_of_alpha(seed: int, tasks: int, blocks: int) -> None:
    """Where differences count nothing all is shared; where they alone count, nothing is."""
    rng = np.random.default_rng(seed)
    raw = rng.random((tasks, tasks)) * 0.9
    affinities = (raw + raw.T) / 2
    np.fill_diagonal(affinities, 1.0)
    names, halvings = list("abcde"[:tasks]), sorted(rng.integers(0, 4, blocks).astype(float), reverse=True)
    assert grown_layout(names, affinities, halvings, 0.0) == Layout.all_shared(names, blocks)
    assert grown_layout(names, affinities, halvings, 1e9) == Layout.independent(names, blocks)
    # Of any α it is a tree; Layout.of refuses anything else.
    some = grown_layout(names, affinities, halvings, float(rng.random() * 20))
    assert Layout.of(names, some.blocks) == some
