"""How well estimates agree with what was measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from trunkline.verbs.agreement import agreement_of
from trunkline.verbs.compare_rows import judged_estimates

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("seed", range(5))
def test_as_scipy_has_it(seed: int) -> None:
    """With ties, and with its own interval of Pearson's."""
    rng = np.random.default_rng(seed)
    one = rng.integers(0, 6, 12).astype(float)
    other = one + rng.integers(0, 6, 12)
    found = agreement_of(list(one), list(other))
    theirs = pearsonr(one, other)
    assert found.count == 12 and found.pearson.value == pytest.approx(theirs.statistic)
    assert (found.pearson.low, found.pearson.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    rho = spearmanr(one, other).statistic
    assert found.spearman.value == pytest.approx(rho)
    # Bonett and Wright, 2000, by hand.
    margin = 1.959963984540054 * math.sqrt((1 + rho**2 / 2) / 9)
    assert found.spearman.low == pytest.approx(math.tanh(math.atanh(rho) - margin))
    assert found.spearman.high == pytest.approx(math.tanh(math.atanh(rho) + margin))


def test_what_a_few_pairs_do_not_say() -> None:
    three = agreement_of([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    assert three.pearson.value == pytest.approx(0.5) and math.isnan(three.pearson.low)
    assert math.isnan(agreement_of([1.0, 1.0], [1.0, 2.0]).pearson.value)
    assert math.isnan(agreement_of([1.0], [1.0]).spearman.value)
    perfect = agreement_of([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0]).pearson
    assert perfect.value == pytest.approx(1.0)


def row(name: str, estimate: dict[str, float] | None, delta: dict[str, float | None] | None) -> dict[str, Any]:
    return {"method": name, "estimate": estimate, "delta": delta}


def test_estimates_are_judged_plan_by_plan() -> None:
    """Seeds of one plan count once, by their mean; what has no estimate, or no Δ, does not count."""
    rows = [
        row("one", {"a": 1.0, "b": 4.0}, {"a": 10.0, "b": 1.0, "mean": 5.5}),
        row("one", {"a": 3.0, "b": 4.0}, {"a": 20.0, "b": 1.0, "mean": 10.5}),
        row("two", {"a": 5.0, "b": 1.0}, {"a": 18.0, "b": 3.0, "mean": 10.5}),
        row("three", {"a": 4.0, "b": 0.0}, {"a": 17.0, "b": 2.0, "mean": 9.5}),
        row("cut", None, {"a": 99.0, "b": 99.0, "mean": 99.0}),
        row("lost", {"a": 9.0, "b": 9.0}, {"a": None, "b": 1.0, "mean": 1.0}),
        row("alone", {"a": 9.0, "b": 9.0}, None),
    ]
    found = judged_estimates(rows)
    assert set(found) == {"a", "b", "mean"} and {entry["n"] for entry in found.values()} == {3}
    assert found["a"]["pearson"]["value"] == pytest.approx(pearsonr([2, 5, 4], [15, 18, 17]).statistic)
    assert found["b"]["spearman"]["value"] == pytest.approx(spearmanr([4, 1, 0], [1, 3, 2]).statistic)
    assert found["mean"]["pearson"]["value"] == pytest.approx(pearsonr([3, 3, 2], [8, 10.5, 9.5]).statistic)
    assert judged_estimates(rows[:2]) == {}
