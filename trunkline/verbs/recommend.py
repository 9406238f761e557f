"""``recommend``: the best trees of blocks for some tasks, from a table of two-task models, without training any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from trunkline.errors import InvalidConfig, Problem
from trunkline.files.read import in_file
from trunkline.graph.graph import Graph
from trunkline.ingest.read import read
from trunkline.ingest.read_options import AS_THE_FILE_SAYS, ReadKeywords, ReadOptions
from trunkline.report.layouts_picture import TreeMark, draw_layouts
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.argument import arguments_for, in_words
from trunkline.sharing.layouts.estimator import Estimator, Rows, Weighing, weights_by_task
from trunkline.sharing.layouts.front import score_cost_front
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.layout_budgets import LayoutBudgets, limits_of_budgets
from trunkline.sharing.layouts.layout_file import load_layouts
from trunkline.sharing.layouts.merged_backbone import MergedBackbone, MergedBy, MergedCost, merged_backbone
from trunkline.sharing.layouts.ranking import Ranking, Recommended, draw_layouts_within, rank_layouts, said_of
from trunkline.sharing.layouts.table_file import load_table
from trunkline.sharing.layouts.two_task_table import TwoTaskTable
from trunkline.sharing.plan import SharingPlan


@dataclass(frozen=True)
class Recommendation:
    """What was recommended.

    Attributes:
        merged: The backbone in the table's blocks.
        estimator: By which layouts were scored.
        ranking: The best layouts, or those that were given to be scored.
        drawn: Others, drawn by chance among those within the budgets.
        are_given: Whether the layouts were given to be scored, so that nothing is recommended.
    """

    merged: MergedBackbone
    estimator: Estimator
    ranking: Ranking
    drawn: tuple[Recommended, ...] = ()
    are_given: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        ranking = self.ranking
        return {
            "tasks": list(self.estimator.table.tasks),
            "blocks": [{"name": name, "holds": list(run)} for name, run in self._named_blocks()],
            "count": ranking.count,
            "feasible": ranking.feasible,
            "weights": dict(weights_by_task(self.estimator)),
            "layouts": [self._entry(found) for found in ranking.layouts],
            "random": [self._entry(found) for found in self.drawn],
            "proved": ranking.proved,
            "bound": ranking.bound,
            "notes": [*self.estimator.notes, *self.merged.backbone.graph.notes],
        }

    def explanation(self, found: Recommended) -> list[str]:
        """Return lines that say which pairs of tasks argue for each branch, and which against it."""
        return in_words(arguments_for(self.estimator, found.layout), self.merged.names)

    def save_plans(self, folder: Path) -> list[Path]:
        """Write the plan of each layout as ``plan-1.json``, ``plan-2.json`` … into a folder, and of drawn ones.

        What was estimated of it stands in its provenance, so that a comparison can judge it.

        Raises:
            InvalidConfig: The tasks' names are none that a model's outputs may have.
        """
        named = {f"plan-{number}.json": found for number, found in enumerate(self.ranking.layouts, start=1)}
        named |= {f"random-{number}.json": found for number, found in enumerate(self.drawn, start=1)}
        plans = {name: self._plan(found) for name, found in named.items()}
        folder.mkdir(parents=True, exist_ok=True)
        for name, plan in plans.items():
            plan.save(folder / name)
        return [folder / name for name in plans]

    def _plan(self, found: Recommended) -> SharingPlan:
        plan = self.merged.plan(found.layout)
        provenance = {**plan.provenance, **said_of(self.estimator, found)}
        return plan.model_copy(update={"provenance": provenance})

    def _named_blocks(self) -> Sequence[tuple[str, tuple[int, ...]]]:
        return list(zip(self.merged.names, self.merged.blocks, strict=True))

    def _entry(self, found: Recommended) -> dict[str, Any]:
        merged, layout = self.merged, found.layout
        estimates = self.estimator.estimates(layout)
        return {
            "index": found.index,
            "layout": layout.as_lists(),
            "score": found.score,
            "score_error": self.estimator.error(layout),
            "estimates": {task: estimate.percent for task, estimate in estimates.items()},
            "estimate_errors": {task: estimate.error for task, estimate in estimates.items()},
            **{kind: merged.cost(layout, kind) for kind in merged.costs},
            **{f"{kind}_percent": merged.change_percent(layout, kind) for kind in merged.costs},
        }


def recommend(
    table: Path | TwoTaskTable,
    backbone: str | Path | Graph,
    *,
    blocks: MergedBy = None,
    blocks_by: MergedCost = "macs",
    budgets: LayoutBudgets | None = None,
    top: int = 5,
    tasks: Sequence[str] | None = None,
    weighing: Weighing = "entropy",
    rows: Rows = "release",
    layouts: Path | None = None,
    random: int = 0,
    seed: int = 0,
    options: ReadOptions = AS_THE_FILE_SAYS,
    **reading: Unpack[ReadKeywords],
) -> Recommendation:
    """Rank the trees of a backbone's blocks by what models of two tasks have shown, under budgets.

    Args:
        table: A two-task table, as CSV or as a spreadsheet of TreeMTL's release.
        backbone: Model file or ``zoo:NAME``, or a Graph.
        blocks: A number: the backbone's blocks are merged into so many of similar cost. A file: a JSON list of lists of
            block numbers. ``None``: its own blocks.
        blocks_by: What these are to have alike.
        budgets: All of them hold.
        top: How many layouts are recommended.
        tasks: Other names for the table's tasks, in its order.
        weighing: How tasks weigh in a score.
        rows: Which rows of the table decide the weights.
        layouts: A file of layouts that are scored in place of recommending some.
        random: How many others are drawn by chance among those within the budgets, to judge the estimates by.
        seed: Of that draw.
        options: How to read the backbone.
        **reading: Options by name; see :class:`ReadOptions`.

    Raises:
        InvalidModel: The backbone cannot be read.
        InvalidConfig: The table is wrong or has another number of blocks, or no layout fits into a budget.
    """
    if top < 1:
        raise InvalidConfig(f"{top} layouts are asked for", place="top", advice="ask for at least one")
    given = load_table(table) if isinstance(table, Path) else table
    given = given if tasks is None else given.renamed(tasks)
    found = Backbone(read(backbone, options=options.but(reading)))
    budgets = budgets or LayoutBudgets()
    merged = merged_backbone(found, blocks, budgets.costs, blocks_by)
    if len(merged.blocks) != given.blocks:
        text = f"the table is about {given.blocks} blocks, and the backbone has {len(merged.blocks)}"
        advice = (
            f"say with --blocks which of the backbone's blocks belong together, for example --blocks {given.blocks}"
        )
        raise InvalidConfig(text, place="blocks", advice=advice)
    estimator = Estimator.of(given, weighing, rows)
    if layouts is not None:
        scored = _scored(estimator, load_layouts(layouts, given.tasks), layouts)
        return Recommendation(merged, estimator, scored, are_given=True)
    limits = limits_of_budgets(budgets, merged)
    ranking = rank_layouts(estimator, limits, top)
    return Recommendation(merged, estimator, ranking, draw_layouts_within(estimator, limits, random, seed, ranking))


def _scored(estimator: Estimator, layouts: Sequence[Layout], path: Path) -> Ranking:
    blocks = estimator.table.blocks
    with in_file(path):
        problems = [
            Problem(f"the layout has {len(layout.blocks)} entries, the table {blocks} blocks", f"layout {number}")
            for number, layout in enumerate(layouts)
            if len(layout.blocks) != blocks
        ]
        if problems:
            raise InvalidConfig(problems)
    found = [Recommended(layout, estimator.score(layout)) for layout in layouts]
    ordered = tuple(sorted(found, key=lambda entry: -entry.score))
    return Ranking(len(layouts), len(layouts), ordered, proved=True, bound=None)


def draw_recommendation(found: Recommendation, path: Path) -> None:
    """Draw the front of score against MACs, and the trees of the recommended layouts."""
    merged, tasks = found.merged, found.estimator.table.tasks
    whole = max(1.0, sum(merged.costs["macs"]) * len(tasks))
    front = score_cost_front(found.estimator, np.asarray(merged.costs["macs"]))
    marks = [
        TreeMark(
            name="" if entry.index is None else f"#{entry.index}",
            blocks=entry.layout.blocks,
            cost=merged.cost(entry.layout, "macs") / whole,
            score=entry.score,
            error=found.estimator.error(entry.layout),
        )
        for entry in found.ranking.layouts
    ]
    draw_layouts(marks, [(point.cost / whole, point.score) for point in front], tasks, path)
