"""TreeMTL (Zhang, Liu, Guan 2022): the best tree of blocks by what models of two tasks have shown.

Every two tasks are trained together, sharing the first 1, 2, … B blocks. What a task of a larger tree comes to is
estimated by the mean of what it came to beside each other task where the two part at the same block. So all trees are
ranked without training any; see :mod:`trunkline.sharing.layouts.estimator`. Only the one that is chosen is trained.

The pairs are trained as the pipeline trains any model, and judged on the samples that choose; the paper and its release
judge them on those that report.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.recipe import Count
from trunkline.sharing.layouts.estimator import Estimator, Rows, Weighing
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.merged_backbone import MergedBackbone
from trunkline.sharing.layouts.pair_plans import TaskPair, pairs_of, table_of_pairs
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.layouts.ranking import Ranking, rank_layouts, said_of
from trunkline.sharing.layouts.table_file import load_table_of
from trunkline.sharing.layouts.two_task_table import TwoTaskTable
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.trees import TreeMethod, TreeOptions, require_judging
from trunkline.supermodel.work import Found, Trained, Work


class TreeMTLOptions(TreeOptions):
    """What is searched, within which budget.

    >>> TreeMTLOptions(max_models=2.0).weighing
    'entropy'
    """

    table: Path | None = Field(None, description="a two-task table (CSV, xlsx), instead of training every pair")
    weighing: Weighing = Field("entropy", description="how tasks weigh: entropy (the release), paper (Eq. 1), uniform")
    rows: Rows = Field("release", description="whose rows of the table decide the weights: release, or paper")
    rank: Count = Field(1, description="which of the ranked layouts is taken: 1 is the best")


class TreeMTL(TreeMethod[TreeMTLOptions]):
    """Trees ranked by pairs."""

    name = "treemtl"
    needs = "single-task models, and a model for every two tasks and number of shared blocks; or a table of them"
    source = "Zhang, Liu, Guan: A Tree-Structured Multi-Task Model Recommender (AutoML 2022)"
    Options = TreeMTLOptions

    def check(self) -> None:
        """Find out whether a table fits, and whether there are samples to judge pairs by."""
        if self.is_alone:
            return
        if self.options.table is not None:
            self.rank(self._table_of_file(self.options.table))
        else:
            require_judging(self.setup)

    def find(self, work: Work) -> Found:
        """Measure the table, unless there is one, rank all trees by it, and take one.

        Raises:
            InvalidConfig: No tree is within the budget, or a table does not fit.
        """
        if self.is_alone:
            return Found(self.alone())
        path = self.options.table
        table = self.measured(work) if path is None else self._table_of_file(path)
        return Found(self.plan(table))

    def measured(self, work: Work) -> TwoTaskTable:
        """Train single-task models and all pairs, and return the table."""
        backbone, tasks = self.setup.backbone, self.setup.tasks
        single = work.train("single", independent(backbone, tasks))
        pairs = pairs_of(tasks, self.merged)
        trained = work.each({pair.name: partial(_trained_pair, self.merged, pair) for pair in pairs})
        return table_of_pairs(tasks, {pair: trained[pair.name].change_against(single) for pair in pairs})

    def rank(self, table: TwoTaskTable) -> tuple[Estimator, Ranking]:
        """Rank the layouts by a table.

        Raises:
            InvalidConfig: None is within the budget, or fewer than the option ``rank`` says.
        """
        options = self.options
        estimator = Estimator.of(table, options.weighing, options.rows)
        ranking = rank_layouts(estimator, self.limits, options.rank)
        if len(ranking.layouts) < options.rank:
            text = f"only {len(ranking.layouts)} layouts are within the budget"
            raise InvalidConfig(text, place="search.rank", advice="take a smaller number")
        return estimator, ranking

    def plan(self, table: TwoTaskTable) -> SharingPlan:
        """Return the plan of the layout that is taken, whose provenance says what it was chosen by."""
        estimator, ranking = self.rank(table)
        taken = ranking.layouts[-1]
        return self.plan_of(taken.layout, {**said_of(estimator, taken), "proved": ranking.proved})

    @classmethod
    def coarse_scorer(cls, plan: SharingPlan) -> Callable[[Layout], float] | None:
        """Score trees by the table and the weights that a plan was chosen by."""
        series, weights = plan.provenance.get("table"), plan.provenance.get("weights")
        if series is None or weights is None:  # one task, which has no partner
            return None
        rows = {
            (task, partner, point): value
            for task, partners in series.items()
            for partner, values in partners.items()
            for point, value in enumerate(values)
        }
        table = TwoTaskTable.of(plan.tasks, rows)
        return Estimator(table, np.array([weights[task] for task in plan.tasks])).score

    @classmethod
    def free(cls) -> tuple[str, ...]:
        """What is done with a measured table may change after it was."""
        return (*super().free(), "weighing", "rows", "rank")

    def _table_of_file(self, path: Path) -> TwoTaskTable:
        table = load_table_of(path, self.setup.tasks)
        if table.blocks != len(self.merged.blocks):
            text = f"the table is about {table.blocks} blocks, and the backbone has {len(self.merged.blocks)}"
            raise InvalidConfig(text, place=str(path), advice="say with `blocks` which of them belong together")
        return table


def _trained_pair(merged: MergedBackbone, pair: TaskPair, work: Work) -> Trained:
    return work.train("pair", merged.plan(pair.layout(len(merged.blocks))))
