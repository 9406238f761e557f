"""TreeMTL's estimator: entropy, weights, estimates, scores, rankings and why."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts import ranking as ranking_module
from trunkline.sharing.layouts.argument import arguments_for, in_words
from trunkline.sharing.layouts.best_layouts import CostLimit
from trunkline.sharing.layouts.enumeration import enumerate_layouts
from trunkline.sharing.layouts.estimator import Estimator, weights_by_task
from trunkline.sharing.layouts.front import score_cost_front
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.ranking import rank_layouts
from trunkline.sharing.layouts.svd_entropy import svd_entropy
from trunkline.sharing.layouts.two_task_table import TwoTaskTable

pytestmark = pytest.mark.golden
NUMBERS = st.floats(-20, 20).filter(lambda value: value == 0 or abs(value) > 1e-3)


def random_table(seed: int, tasks: int = 3, blocks: int = 5) -> TwoTaskTable:
    rng = np.random.default_rng(seed)
    names = "abcdefgh"[:tasks]
    rows = {
        (task, partner, point): float(rng.normal()) if point else 0.0
        for task, partner, point in product(names, names, range(blocks + 1))
        if task != partner
    }
    return TwoTaskTable.of(list(names), rows)


@pytest.mark.parametrize(
    ("series", "entropy"),
    [
        ([3.0, 3.0, 3.0, 3.0], 0.0),  # one window again and again
        ([0.0, 0.0, 0.0], 0.0),
        ([1.0, 2.0, 4.0, 8.0], 0.0),  # each window a multiple of the one before
        ([0.0, 0.0, 1.0, 0.0, 0.0], 1.0),  # three windows that have nothing in common
        ([1.0, 2.0], None),
        ([1.0, 0.0, 0.0], 0.0),  # one window
    ],
)
def test_entropies_that_are_known(series: list[float], entropy: float | None) -> None:
    assert svd_entropy(series) == (None if entropy is None else pytest.approx(entropy, abs=1e-6))


def test_entropy_by_hand() -> None:
    """Windows (1,0,0) and (0,0,1)·2 are orthogonal: shares 1/3 and 2/3."""
    series = [1.0, 0.0, 0.0, 2.0]  # windows (1,0,0) and (0,0,2)
    expected = -(math.log2(1 / 3) / 3 + 2 * math.log2(2 / 3) / 3) / math.log2(3)
    assert svd_entropy(series) == pytest.approx(expected)


@given(st.lists(NUMBERS, min_size=3, max_size=9), st.floats(0.01, 100))
def test_entropy_knows_no_scale(series: list[float], scale: float) -> None:
    found = svd_entropy(series)
    assert found is not None and 0 <= found <= 1 + 1e-9
    assert svd_entropy([scale * value for value in series]) == pytest.approx(found, abs=1e-5)
    assert svd_entropy([-value for value in series]) == pytest.approx(found, abs=1e-9)


def test_weights_as_in_the_release_and_as_in_the_paper() -> None:
    table = random_table(0)

    def entropies(first: int) -> np.ndarray[Any, Any]:
        return np.array(
            [np.mean([svd_entropy(table.series(t, u)[first:]) for u in "abc" if u != t]) for t in "abc"], float
        )

    regular = 1 - entropies(1)
    np.testing.assert_allclose(Estimator.of(table).weights, regular / regular.sum())
    np.testing.assert_allclose(Estimator.of(table, rows="paper").weights, (1 - entropies(0)) / (1 - entropies(0)).sum())
    # To the letter, Eq. 1 weighs irregular tasks more.
    np.testing.assert_allclose(Estimator.of(table, "paper").weights, entropies(1) / entropies(1).sum())
    assert list(Estimator.of(table, "uniform").weights) == [1 / 3] * 3
    assert list(weights_by_task(Estimator.of(table))) == ["a", "b", "c"]


def table_of(series: tuple[float, ...]) -> TwoTaskTable:
    rows = {(t, u, point): value for t, u in ("ab", "ba") for point, value in enumerate(series)}
    return TwoTaskTable.of(["a", "b"], rows)


@pytest.mark.parametrize(
    ("series", "note"),
    [
        ((0.0, 1.0, 2.0), "fewer than 3"),
        ((0.0, 0.0, 0.0, 1.0, 0.0, 0.0), "at its end"),  # entropy 1 for both: nothing is left to share out
    ],
)
def test_equal_weights(series: tuple[float, ...], note: str) -> None:
    """Where the entropy says nothing, tasks weigh alike."""
    estimator = Estimator.of(table_of(series))
    assert list(estimator.weights) == [0.5, 0.5]
    assert note in estimator.notes[0]
    assert not Estimator.of(table_of((0.0, 1.0, 2.0, 3.0, 3.5))).notes


@pytest.mark.parametrize("seed", range(4))
def test_scores_are_means_of_associated_two_task_models(seed: int) -> None:
    """Eq. 2 from Algorithm 1, layout by layout; and the same from pairs, and all at once."""
    table = random_table(seed, tasks=4, blocks=3)
    estimator, layouts = Estimator.of(table), enumerate_layouts("abcd", 3)
    at_once = estimator.scores(layouts.branching_points())
    for number in range(0, len(layouts), 7):
        layout = layouts.layout(number)
        expected = {}
        for task in "abcd":
            values = []
            for other in "abcd":
                if other != task:
                    together = [len(groups) == 1 for groups in layout.two_task(task, other).blocks].count(True)
                    values.append(table.series(task, other)[together])
            expected[task] = (np.mean(values), np.std(values, ddof=1) / math.sqrt(3))
        found = estimator.estimates(layout)
        for task, (mean, error) in expected.items():
            assert found[task].percent == pytest.approx(mean) and found[task].error == pytest.approx(error)
        score = sum(weight * expected[task][0] for task, weight in weights_by_task(estimator).items())
        assert estimator.score(layout) == pytest.approx(score) == pytest.approx(at_once[number])
        spread = sum((w * expected[task][1]) ** 2 for task, w in weights_by_task(estimator).items())
        assert estimator.error(layout) == pytest.approx(math.sqrt(spread))


def test_one_partner_has_no_error() -> None:
    estimator = Estimator.of(table_of((0.0, 1.0, 2.0, 4.0)))
    shared = Layout.all_shared(["a", "b"], 3)
    assert estimator.error(shared) is None
    assert estimator.estimates(shared)["a"].error is None
    assert estimator.estimates(shared)["a"].percent == 4.0


@pytest.mark.parametrize("seed", range(3))
def test_rankings_are_the_same_with_and_without_enumerating(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = Estimator.of(random_table(seed, tasks=4, blocks=4))
    costs = np.array([1.0, 2.0, 3.0, 4.0])
    limits = {"macs": CostLimit(costs, 25.0), "ms": CostLimit(costs[::-1].copy(), 28.0)}
    small = rank_layouts(estimator, limits, 8)
    monkeypatch.setattr(ranking_module, "MOST_LAYOUTS", 10)
    large = rank_layouts(estimator, limits, 8)
    assert small.proved and large.proved and small.count == large.count == 315
    assert small.feasible is not None and 0 < small.feasible < 315 and large.feasible is None
    np.testing.assert_allclose([found.score for found in small.layouts], [found.score for found in large.layouts])
    assert [found.layout for found in small.layouts] == [found.layout for found in large.layouts]
    assert all(found.index is not None for found in small.layouts)
    assert all(found.index is None for found in large.layouts)
    for found in small.layouts:
        cost = sum(len(groups) * cost for groups, cost in zip(found.layout.blocks, costs, strict=True))
        assert cost <= 25 + 1e-9


def test_equal_scores_are_in_order_of_their_numbers() -> None:
    rows = {(t, u, point): 0.0 for t, u in product("abc", "abc") if t != u for point in range(4)}
    ranking = rank_layouts(Estimator.of(TwoTaskTable.of(["a", "b", "c"], rows)), {}, 22)
    assert [found.index for found in ranking.layouts] == list(range(22))
    assert ranking.bound is None and ranking.feasible == ranking.count == 22


def test_budgets_that_nothing_fits_into() -> None:
    estimator = Estimator.of(random_table(0))
    limits = {"macs": CostLimit(np.ones(5), 4.5), "ms": CostLimit(np.ones(5), 5.0)}
    with pytest.raises(InvalidConfig, match="no layout fits into macs of 4.5: one model for all tasks has 5") as caught:
        rank_layouts(estimator, limits, 3)
    assert len(caught.value.problems) == 1
    assert [found.index for found in rank_layouts(estimator, {"ms": limits["ms"]}, 3).layouts] == [0]


def test_too_many_tasks_are_refused() -> None:
    names = [f"t{number}" for number in range(13)]
    rows = {(t, u, point): 0.0 for t, u in product(names, names) if t != u for point in range(3)}
    with pytest.raises(InvalidConfig, match="13 tasks"):
        rank_layouts(Estimator.of(TwoTaskTable.of(names, rows)), {}, 1)


@pytest.mark.parametrize("seed", range(4))
def test_arguments_sum_to_what_parting_gains(seed: int) -> None:
    estimator = Estimator.of(random_table(seed, tasks=4, blocks=3))
    layouts = enumerate_layouts("abcd", 3)
    shared = estimator.score(layouts.layout(0))
    for number in range(0, len(layouts), 11):
        layout = layouts.layout(number)
        arguments = arguments_for(estimator, layout)
        assert sum(branch.gain for branch in arguments) == pytest.approx(estimator.score(layout) - shared)
        pairs = [frozenset(pair.tasks) for branch in arguments for pair in branch.pairs]
        assert len(set(pairs)) == len(pairs)
        for branch in arguments:
            assert {layout.branching_point(*pair.tasks) for pair in branch.pairs} == {branch.block}
            assert all(pair.loss >= 0 for pair in branch.pairs)


def test_words() -> None:
    rows = {(t, u, point): 0.0 for t, u in product("abc", "abc") if t != u for point in range(3)}
    rows |= {("a", "b", 1): 6.0, ("a", "c", 1): 1.0, ("a", "c", 2): 4.0}
    estimator = Estimator.of(TwoTaskTable.of(["a", "b", "c"], rows), "uniform")
    layout = Layout.all_shared(["a", "b", "c"], 2).cut(1, ["a"])
    assert in_words(arguments_for(estimator, layout), ["stem", "top"]) == [
        "before top: a | b, c  (+0.50 against never parting)",
        "  a and b: for it, +1.00",
        "  a and c: against it, -0.50; alone they would never part (+0.50)",
    ]
    shared = Layout.all_shared(["a", "b", "c"], 2)
    assert "share everything" in in_words(arguments_for(estimator, shared), ["stem", "top"])[0]


@pytest.mark.parametrize("most", [10, 300_000])
def test_the_front_is_what_no_layout_beats(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from trunkline.sharing.layouts import front

    monkeypatch.setattr(front, "MOST_LAYOUTS", most)
    monkeypatch.setattr(ranking_module, "MOST_LAYOUTS", most)
    estimator, costs = Estimator.of(random_table(5, tasks=3, blocks=4)), np.array([1.0, 3.0, 2.0, 4.0])
    layouts = enumerate_layouts("abc", 4)
    scores, total = estimator.scores(layouts.branching_points()), layouts.groups @ costs
    found = score_cost_front(estimator, costs)
    assert found[-1].score == pytest.approx(scores.max())
    for point in found:
        assert estimator.score(point.layout) == pytest.approx(point.score)
        beats = (total <= point.cost + 1e-9) & (scores > point.score + 1e-9)
        assert not beats.any()
    if most > 10:
        unbeaten = [
            not ((total <= cost) & (scores >= score) & ((total < cost) | (scores > score))).any()
            for cost, score in zip(total, scores, strict=True)
        ]
        assert len(found) == len({(c, s) for c, s, best in zip(total, scores, unbeaten, strict=True) if best})
