"""How good methods' rankings of trees are: each scores all trees of a comparison, and is held against measured Δ.

A method that ranks trees without training them can be asked about any, once it has chosen one. So the trees of a
comparison, which were really trained, judge all its ranking methods at once, and three rankings that know nothing of
the tasks: the more that is executed the better; chance; and hindsight.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import ndtri

from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.plans import layout_of_plan
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import LayoutScorer
from trunkline.supermodel.methods.registry import methods
from trunkline.verbs.agreement import agreement_at_equal, agreement_of
from trunkline.verbs.seed_statistics import CONFIDENCE

Json = Mapping[str, Any]
FEWEST = 4
"""Trees, without which nothing is said of rankings."""
PLAN = "plan"
"""The method that reads a plan from a file."""
MORE_MACS, CHANCE, HINDSIGHT = "more MACs", "chance", "hindsight"


@dataclass(frozen=True, slots=True)
class TrainedTree:
    """A tree of a comparison that was trained with one seed.

    Attributes:
        name: Of the way of sharing.
        seed: Of the run.
        layout: Of the backbone's own blocks.
        macs: Executed multiply-accumulates.
        delta: Measured Δ against single-task models, in percent, as a mean over tasks.
    """

    name: str
    seed: int
    layout: Layout
    macs: float
    delta: float


def rankings_of(rows: Sequence[Json], plans: Mapping[tuple[str, int], SharingPlan]) -> list[dict[str, Any]]:
    """Return how each way to rank trees agrees with what they came to; nothing where there are too few of them.

    A way of sharing counts once, by its means over the seeds. Trees that part inside of the blocks that some method
    merged are left out for all, so that all are judged by the same ones.

    Args:
        rows: Those of a comparison.
        plans: The plan of each of its runs, by name and seed.
    """
    trees = _different(_trees(rows, plans))
    # A method may be there with several budgets, which choose from one and the same ranking.
    scores = _different_scores({name: _scores(trees, by_seed) for name, by_seed in _scorers(rows, plans).items()})
    if not scores:
        return []
    common = [name for name in trees if all(name in scored for scored in scores.values())]
    if len(common) < FEWEST:
        return []
    measured = [_mean(tree.delta for tree in trees[name]) for name in common]
    macs = [_mean(tree.macs for tree in trees[name]) for name in common]
    ways = {**{name: [scored[tree] for tree in common] for name, scored in scores.items()}, MORE_MACS: macs}
    found = [_ranking(way, values, common, measured, macs) for way, values in ways.items()]
    return [*found, chance_of(measured), _hindsight(common, measured)]


def _ranking(
    way: str, scores: Sequence[float], names: Sequence[str], measured: Sequence[float], macs: Sequence[float]
) -> dict[str, Any]:
    first = max(range(len(names)), key=lambda place: scores[place])
    return {
        "by": way,
        **agreement_of(scores, measured).to_json(),
        "at_equal_macs": agreement_at_equal(scores, measured, macs).to_json(),
        "first": names[first],
        "first_delta": measured[first],
        "trees": [
            {"name": name, "score": score, "delta": delta}
            for name, score, delta in zip(names, scores, measured, strict=True)
        ],
    }


def chance_of(measured: Sequence[float]) -> dict[str, Any]:
    """Return the row of an order by chance: the interval that 95 % of such orders lie in, and a tree by chance."""
    # Over all orders a correlation has mean 0 and variance 1 / (n - 1).
    margin = min(1.0, float(ndtri((1 + CONFIDENCE) / 2)) / math.sqrt(len(measured) - 1))
    none = {"value": 0.0, "low": -margin, "high": margin}
    said = {"by": CHANCE, "n": len(measured), "pearson": none, "spearman": none, "at_equal_macs": none}
    return {**said, "first": None, "first_delta": _mean(measured), "trees": []}


def _hindsight(names: Sequence[str], measured: Sequence[float]) -> dict[str, Any]:
    best = max(range(len(names)), key=lambda place: measured[place])
    unknown = dict.fromkeys(("pearson", "spearman", "at_equal_macs"))
    said = {"by": HINDSIGHT, "n": len(names), **unknown}
    return {**said, "first": names[best], "first_delta": measured[best], "trees": []}


def _trees(rows: Sequence[Json], plans: Mapping[tuple[str, int], SharingPlan]) -> dict[str, list[TrainedTree]]:
    """Return the trees that were trained alike, by way of sharing; what shares nothing is what Δ is against."""
    found: dict[str, list[TrainedTree]] = {}
    for row in rows:
        name, seed = row["method"], row["seed"]
        delta = None if row["delta"] is None else row["delta"]["mean"]
        plan = plans.get((name, seed))
        layout = None if plan is None else layout_of_plan(plan)
        if layout is None or delta is None or math.isnan(delta):
            continue
        if row["alike"] and layout != Layout.independent(layout.tasks, len(layout.blocks)):
            found.setdefault(name, []).append(TrainedTree(name, seed, layout, row["macs"], delta))
    return found


def _different(trees: Mapping[str, Sequence[TrainedTree]]) -> dict[str, Sequence[TrainedTree]]:
    """Return ways of sharing without those that found what another one did: one tree must not count twice."""
    found: dict[tuple[tuple[int, Layout], ...], str] = {}
    for name, own in trees.items():
        found.setdefault(tuple((tree.seed, tree.layout) for tree in own), name)
    return {name: trees[name] for name in found.values()}


def _scorers(rows: Sequence[Json], plans: Mapping[tuple[str, int], SharingPlan]) -> dict[str, dict[int, LayoutScorer]]:
    """Return what scores trees by seed, under the name of the way of sharing; of a plan's file, of its method."""
    known = methods()
    found: dict[str, dict[int, LayoutScorer]] = {}
    for row in rows:
        plan = plans.get((row["method"], row["seed"]))
        # A plan by hand may name a method that is none.
        method = None if plan is None else known.get(plan.method)
        scorer = None if plan is None or method is None else method.scorer(plan)
        if plan is not None and scorer is not None:
            name = plan.method if row["decided_by"] == PLAN else row["method"]
            found.setdefault(name, {}).setdefault(row["seed"], scorer)
    return found


def _scores(trees: Mapping[str, Sequence[TrainedTree]], scorers: Mapping[int, LayoutScorer]) -> dict[str, float]:
    """Return the mean score of each way of sharing, without those that have none with some seed."""
    found = {}
    for name, own in trees.items():
        scores = [scorers[tree.seed](tree.layout) if tree.seed in scorers else None for tree in own]
        known = [score for score in scores if score is not None]
        if len(known) == len(scores):
            found[name] = _mean(known)
    return found


def _different_scores(scores: Mapping[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return rankings without those that score as another one does, and without those that score nothing."""
    found: dict[str, dict[str, float]] = {}
    for name, scored in scores.items():
        if scored and scored not in found.values():
            found[name] = scored
    return found


def _mean(values: Iterable[float]) -> float:
    content = list(values)
    return math.fsum(content) / len(content)
