"""How good rankings of trees were: each method scores all trees of a comparison, which were really trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from trunkline.files.write import json_ready
from trunkline.ingest.read import read
from trunkline.report.comparison_tables import rankings_table
from trunkline.report.ranking_picture import draw_rankings
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.coarse_blocks import condensed, expanded
from trunkline.sharing.layouts.enumeration import enumerate_layouts
from trunkline.sharing.layouts.estimator import Estimator
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.merged_backbone import MergedBackbone, merged_backbone
from trunkline.sharing.layouts.ranking import Recommended, said_of
from trunkline.sharing.layouts.two_task_table import TwoTaskTable
from trunkline.sharing.plan import SharingPlan
from trunkline.verbs.agreement import agreement_at_equal, agreement_of
from trunkline.verbs.plan_rankings import chance_of, rankings_of

pytestmark = pytest.mark.golden
TASKS = ("a", "b", "c")
BLOCKS = ((0, 1), (2, 3, 4), (5, 6))
Key = tuple[str, int]


@pytest.fixture(scope="module")
def merged() -> MergedBackbone:
    return merged_backbone(Backbone(read("zoo:tiny")), BLOCKS)


@pytest.fixture(scope="module")
def estimator() -> Estimator:
    rng = np.random.default_rng(0)
    rows = {(t, u, p): float(p and rng.normal()) for t in TASKS for u in TASKS if t != u for p in range(4)}
    return Estimator.of(TwoTaskTable.of(TASKS, rows))


def affinities(plan_seed: int) -> list[list[list[float]]]:
    """How alike tasks are, block by block: symmetric, with ones on the diagonal."""
    rng = np.random.default_rng(plan_seed)
    values = rng.random((3, 3, 3))
    both = (values + values.transpose(0, 2, 1)) / 2
    both[:, range(3), range(3)] = 1
    found: list[list[list[float]]] = both.tolist()
    return found


class Comparison:
    """Rows and plans of a comparison, as `compare` has them."""

    def __init__(self, merged: MergedBackbone) -> None:
        self.merged = merged
        self.rows: list[dict[str, Any]] = []
        self.plans: dict[Key, SharingPlan] = {}

    def add(
        self, name: str, layout: Layout, delta: float | None, seed: int = 0, method: str = "layout", **said: object
    ) -> None:
        plan = self.merged.plan(layout)
        provenance = {**plan.provenance, **said}
        self.plans[name, seed] = plan.model_copy(update={"method": method, "provenance": provenance})
        self.rows.append(
            {
                "method": name,
                "decided_by": "plan" if name.startswith("plan") else method,
                "seed": seed,
                "alike": True,
                "macs": self.merged.cost(layout, "macs"),
                "delta": None if delta is None else {"mean": delta},
            }
        )

    def rankings(self) -> dict[str, Mapping[str, Any]]:
        return {found["by"]: found for found in rankings_of(self.rows, self.plans)}


@pytest.fixture
def compared(merged: MergedBackbone, estimator: Estimator) -> Comparison:
    """Six trees with two seeds, one by TreeMTL and one by What-to-Share."""
    found = Comparison(merged)
    layouts, rng = enumerate_layouts(TASKS, 3), np.random.default_rng(5)
    for seed in (0, 1):
        found.add("single-task", Layout.independent(TASKS, 3), 0.0, seed, "single-task")
        for number in (0, 3, 7, 11):
            found.add(f"tree-{number}", layouts.layout(number), float(rng.normal()), seed)
        best = Recommended(layouts.layout(5), estimator.score(layouts.layout(5)))
        found.add("treemtl", best.layout, float(rng.normal()), seed, "treemtl", **said_of(estimator, best))
        said = {"affinities": affinities(seed)}
        found.add("what-to-share", layouts.layout(9), float(rng.normal()), seed, "what-to-share", **said)
    return found


def test_every_tree_is_scored_by_every_method(compared: Comparison, estimator: Estimator) -> None:
    """Scores by hand: TreeMTL's by its estimator, What-to-Share's by what differs most in a group, block by block."""
    layouts = enumerate_layouts(TASKS, 3)
    numbers = (0, 3, 7, 11, 5, 9)
    names = [*(f"tree-{number}" for number in numbers[:4]), "treemtl", "what-to-share"]
    measured = [np.mean([row["delta"]["mean"] for row in compared.rows if row["method"] == name]) for name in names]

    def differ(layout: Layout, seed: int) -> float:
        total = 0.0
        for groups, block in zip(layout.blocks, affinities(seed), strict=True):
            worst = [
                max((1 - block[TASKS.index(t)][TASKS.index(u)] for t, u in combinations(group, 2)), default=0)
                for group in groups
            ]
            total += sum(worst) / len(worst)
        return total

    expected = {
        "treemtl": [estimator.score(layouts.layout(number)) for number in numbers],
        "what-to-share": [-np.mean([differ(layouts.layout(n), seed) for seed in (0, 1)]) for n in numbers],
        "more MACs": [compared.merged.cost(layouts.layout(number), "macs") for number in numbers],
    }
    found = compared.rankings()
    assert list(found) == [*expected, "chance", "hindsight"]
    for by, scores in expected.items():
        agreement = agreement_of([float(score) for score in scores], [float(delta) for delta in measured])
        assert found[by]["n"] == 6
        assert found[by]["spearman"] == pytest.approx(agreement.spearman.to_json())
        assert found[by]["pearson"] == pytest.approx(agreement.pearson.to_json())
        first = int(np.argmax(scores))
        assert (found[by]["first"], found[by]["first_delta"]) == (names[first], pytest.approx(measured[first]))
    assert found["hindsight"]["first_delta"] == pytest.approx(max(measured))
    assert found["chance"]["first_delta"] == pytest.approx(np.mean(measured))


def test_one_tree_counts_once(compared: Comparison, estimator: Estimator) -> None:
    """What two found, and a ranking that two budgets choose from."""
    before = compared.rankings()
    layouts = enumerate_layouts(TASKS, 3)
    for seed in (0, 1):
        compared.add("same-as-tree-3", layouts.layout(3), 99.0, seed)
        taken = Recommended(layouts.layout(0), estimator.score(layouts.layout(0)))
        compared.add("treemtl-cheap", taken.layout, 99.0, seed, "treemtl", **said_of(estimator, taken))
    assert compared.rankings() == before


def test_plans_of_files_are_called_by_their_method(compared: Comparison, estimator: Estimator) -> None:
    """A recommendation that was saved says all that its trees were ranked by."""
    compared.rows = [row for row in compared.rows if row["method"] not in ("treemtl", "what-to-share")]
    compared.plans = {
        key: plan for key, plan in compared.plans.items() if plan.method == "treemtl" or "tree-" in key[0]
    }
    layouts = enumerate_layouts(TASKS, 3)
    for seed in (0, 1):
        for number in (5, 9):
            taken = Recommended(layouts.layout(number), estimator.score(layouts.layout(number)))
            said = said_of(estimator, taken)
            compared.add(f"plan:plan-{number}.json", taken.layout, float(number), seed, "treemtl", **said)
    assert list(compared.rankings()) == ["treemtl", "more MACs", "chance", "hindsight"]


@pytest.mark.parametrize("lost", ["single", "delta", "alike", "inside", "method", "few"])
def test_what_cannot_be_judged_is_left_out(compared: Comparison, lost: str) -> None:
    own = [row for row in compared.rows if row["method"] == "tree-7"]
    if lost == "single":
        assert compared.rankings()["treemtl"]["n"] == 6  # Δ of single-task models is 0 by what it means
    elif lost == "delta":
        own[0]["delta"] = {"mean": math.nan}
        own[1]["delta"] = None
        assert compared.rankings()["treemtl"]["n"] == 5
    elif lost == "alike":
        for row in own:
            row["alike"] = False
        assert compared.rankings()["treemtl"]["n"] == 5
    elif lost == "inside":
        # It parts inside of a merged block: TreeMTL has no number for that, so nobody is judged by it.
        depth = len(compared.merged.backbone.table("block").units)
        finer = merged_backbone(compared.merged.backbone, None).plan(Layout.all_shared(TASKS, depth).cut(1, ["a"]))
        for seed in (0, 1):
            compared.plans["tree-7", seed] = finer
        assert {found["n"] for found in compared.rankings().values()} == {5}
    elif lost == "method":
        for name in ("treemtl", "what-to-share"):
            for seed in (0, 1):
                compared.plans[name, seed] = compared.plans[name, seed].model_copy(update={"method": "by hand"})
        assert compared.rankings() == {}
    else:
        compared.rows = [row for row in compared.rows if row["method"] not in ("tree-0", "tree-3", "tree-11")]
        assert compared.rankings() == {}


def test_chance_is_where_orders_lie() -> None:
    """The margin against all orders of seven: some 95 % of them lie within it."""
    measured = [float(value) for value in (3, 1, 4, 1.5, 9, 2.6, 5)]
    margin = chance_of(measured)["spearman"]["high"]
    ranks = rankdata(measured) - 4
    orders = np.array(list(permutations(range(7)))) - 3
    values = orders @ ranks / np.sqrt((ranks**2).sum() * (orders[0] ** 2).sum())
    assert np.mean(np.abs(values) <= margin) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_at_equal_macs_is_the_partial_correlation(seed: int) -> None:
    """What is left of two ranks when a straight line of the third is taken from each."""
    rng = np.random.default_rng(seed)
    given = rng.normal(size=14)
    one, other = given + rng.normal(size=14), 2 * given + rng.normal(size=14)
    ranks = [rankdata(values) for values in (one, other, given)]
    left = [values - np.polyval(np.polyfit(ranks[2], values, 1), ranks[2]) for values in ranks[:2]]
    expected = float(np.corrcoef(left[0], left[1])[0, 1])
    found = agreement_at_equal(list(one), list(other), list(given))
    assert found.value == pytest.approx(expected)
    margin = 1.959963984540054 * math.sqrt((1 + expected**2 / 2) / 10)
    assert found.low == pytest.approx(math.tanh(math.atanh(expected) - margin))
    # The ranking by what is given knows nothing beyond it.
    assert math.isnan(agreement_at_equal(list(given), list(other), list(given)).value)
    assert spearmanr(one, other).statistic != pytest.approx(expected)


def test_condensed_undoes_expanded() -> None:
    layouts = enumerate_layouts(TASKS, 3)
    for number in range(len(layouts)):
        assert condensed(expanded(layouts.layout(number), BLOCKS), BLOCKS) == layouts.layout(number)
    assert condensed(Layout.all_shared(TASKS, 7).cut(1, ["a"]), BLOCKS) is None


def test_the_picture_has_a_panel_for_each(compared: Comparison, tmp_path: Path) -> None:
    rankings = json_ready(rankings_of(compared.rows, compared.plans))
    path = tmp_path / "rankings.png"
    assert draw_rankings(rankings, path)
    drawn = path.read_bytes()
    assert drawn.startswith(b"\x89PNG") and draw_rankings(rankings, path) and path.read_bytes() == drawn
    # Another score moves a mark.
    rankings[0]["trees"][0]["score"] += 1
    assert draw_rankings(rankings, path) and path.read_bytes() != drawn
    assert not draw_rankings(rankings[-2:], tmp_path / "none.png") and not (tmp_path / "none.png").exists()


def test_the_table_shows_them(compared: Comparison) -> None:
    table = rankings_table(json_ready({"rankings": rankings_of(compared.rows, compared.plans)}))
    assert table is not None and "the same 6 trees" in table.notes[0]
    rows = {row[0]: row for row in table.rows}
    assert rows["more MACs"][3] == "–" and rows["hindsight"][1:4] == ("–", "–", "–")
    assert rows["chance"][1] == "+0.00 [-0.88, +0.88]" and rows["chance"][4] == "any"
    assert rankings_table({"rankings": []}) is None
