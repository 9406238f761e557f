"""FAFS (Lu et al. 2017): a shared network that parts, from the heads towards the image, by what tasks find hard alike.

1. One network for all tasks is trained.
2. Of some images that choose, each task's error says which are hard for it.
3. Block by block, from the last to the first, branches are grouped by how often they agree, against what branches cost;
   see :mod:`trunkline.sharing.layouts.difficulty`. The tree is trained from scratch.

This is the version of BMTAS's authors (Bruggemann et al. 2020, supplement): all groupings follow from one trained
network. Lu et al. begin with a thin network, widen it, and train after each block.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import name_of, shape_of
from trunkline.recipe import NotNegative
from trunkline.sharing.layouts.difficulty import grown_layout, task_affinities
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.least_dissimilar import MOST_TASKS
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.layouts.ranking import check_limits
from trunkline.supermodel.methods.trees import TreeMethod, TreeOptions, require_judging
from trunkline.supermodel.work import Found, Work

Floats = NDArray[np.float64]
BISECTIONS = 40
"""Trees change at a few α only; this many halvings of an interval find the last one that fits."""


class FAFSOptions(TreeOptions):
    """How dear branches are."""

    alpha: NotNegative = Field(10.0, description="α: what a difference counts, against 1 for a branch at the end")
    images: int = Field(500, ge=2, description="how many images that choose are looked at; fewer where fewer are")


class FAFS(TreeMethod[FAFSOptions]):
    """A tree grown from the heads."""

    name = "fafs"
    needs = "one trained network for all tasks"
    source = "Lu, Kumar, Zhai, Cheng, Javidi, Feris: Fully-Adaptive Feature Sharing (CVPR 2017)"
    Options = FAFSOptions

    def check(self) -> None:
        """Find out whether there are images to look at, and few enough tasks."""
        if self.is_alone:
            return
        require_judging(self.setup)
        check_limits(self.limits)
        if len(self.setup.tasks) > MOST_TASKS:
            text = f"{len(self.setup.tasks)} tasks, and branches are grouped for {MOST_TASKS} at most"
            raise InvalidConfig(text, place="tasks", advice="leave some out")

    def find(self, work: Work) -> Found:
        """Train one network for all, see what is hard in it, and group branches.

        Raises:
            InvalidConfig: No α gives a tree within the budget.
        """
        if self.is_alone:
            return Found(self.alone())
        tasks, options = self.setup.tasks, self.options
        shared = work.train("shared", all_shared(self.setup.backbone, tasks))
        errors = work.judge("errors", shared, options.images)
        affinities = task_affinities(np.stack([errors[task] for task in tasks]))
        alpha, layout = self._within_budget(affinities)
        said = {"alpha": alpha, "affinities": [[float(value) for value in row] for row in affinities]}
        return Found(self.plan_of(layout, said))

    def _within_budget(self, affinities: Floats) -> tuple[float, Layout]:
        """Return the tree of α, or, where that is not within the budget, of the largest smaller α whose tree is."""
        tasks, halvings = self.setup.tasks, self._halvings()
        limits = list(self.limits.values())

        def grown(alpha: float) -> tuple[Layout, bool]:
            layout = grown_layout(tasks, affinities, halvings, alpha)
            costs = [float(limit.costs @ [len(groups) for groups in layout.blocks]) for limit in limits]
            return layout, all(limit.holds(cost) for limit, cost in zip(limits, costs, strict=True))

        layout, fits = grown(self.options.alpha)
        if fits:
            return self.options.alpha, layout
        # With α = 0 nothing is worth a branch, and one model for all is within every budget that `check` lets through.
        low, high = 0.0, self.options.alpha
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if grown(middle)[1] else (low, middle)
        return low, grown(low)[0]

    def _halvings(self) -> list[float]:
        """Return, for each block, how often its map is halved until the last block's, by its rows."""
        graph = self.setup.backbone.graph
        units = self.setup.backbone.table("block").units
        values = {name_of(value): value for node in graph.nodes for value in node.outputs}
        shapes = [shape_of(values[units[run[-1]].output]) for run in self.merged.blocks]
        if any(len(shape) != 4 for shape in shapes):
            return [0.0] * len(shapes)
        rows = [int(shape[2] or 1) for shape in shapes]
        return [max(0.0, math.log2(each / rows[-1])) for each in rows]

    @classmethod
    def free(cls) -> tuple[str, ...]:
        """What is done with errors may change after they were found."""
        return (*super().free(), "alpha", "images")
