"""What-to-Share, or BMN (Vandenhende, Georgoulis, De Brabandere, Van Gool 2019): share where single-task models agree.

1. Single-task models are trained.
2. Of some images that choose, every model's maps behind each block say how alike it finds any two of them.
3. Two tasks are the more alike in a block, the more their models agree in that. The tree whose groups are most alike,
   among those within the budget, is trained from scratch.

See :mod:`trunkline.sharing.layouts.representation` for the formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.least_dissimilar import dissimilarity, least_dissimilar
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.layouts.ranking import check_limits
from trunkline.sharing.layouts.representation import block_affinities
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.trees import TreeMethod, TreeOptions, require_judging
from trunkline.supermodel.work import Found, Trained, Work

Features = NDArray[np.float32]


class WhatToShareOptions(TreeOptions):
    """Within which budget, and what is looked at."""

    images: int = Field(500, ge=3, description="how many of the images that choose are compared; fewer where fewer are")
    pooled: int = Field(8, ge=0, description="maps are averaged to at most so many rows and columns first; 0: whole")


class WhatToShare(TreeMethod[WhatToShareOptions]):
    """The tree whose groups see images most alike."""

    name = "what-to-share"
    needs = "trained single-task models, and a budget"
    source = "Vandenhende, Georgoulis, De Brabandere, Van Gool: Branched Multi-Task Networks (BMVC 2020)"
    Options = WhatToShareOptions

    def check(self) -> None:
        """Find out whether there is a budget that something fits into, and images to look at."""
        if self.is_alone:
            return
        require_judging(self.setup)
        limits = self.limits
        if not limits:
            text = "without a budget the best tree shares nothing: only what is shared can differ"
            advice = "set `max_models`, `max_parameters` or `max_ms` under [search]"
            raise InvalidConfig(text, place="search", advice=advice)
        check_limits(limits)

    def find(self, work: Work) -> Found:
        """Train single-task models, compare what they see, and take the tree that fits."""
        self.check()
        if self.is_alone:
            return Found(self.alone())
        tasks = self.setup.tasks
        single = work.train("single", independent(self.setup.backbone, tasks))
        affinities = block_affinities(self._features(work, single), tasks)
        best = least_dissimilar(tasks, affinities, self.limits)
        said = {
            "index": best.index,
            "score": best.cost,
            "proved": best.proved,
            "affinities": [[[float(value) for value in row] for row in block] for block in affinities],
        }
        return Found(self.plan_of(best.layout, said))

    def _features(self, work: Work, single: Trained) -> Mapping[str, Sequence[NDArray[np.float64] | None]]:
        """Return what every single-task model has behind each block, by task."""
        setup, options = self.setup, self.options
        names = lower(independent(setup.backbone, setup.tasks), setup.backbone, setup.heads).columns
        units = setup.backbone.table("block").units
        ends = [units[run[-1]].output for run in self.merged.blocks]
        wanted = [names[task][end] for task in setup.tasks for end in ends if end in names[task]]
        found = work.probe("seen", single, wanted, options.images, options.pooled or None)

        def seen(task: str, end: str) -> NDArray[np.float64] | None:
            return np.asarray(found[names[task][end]], np.float64) if end in names[task] else None

        return {task: [seen(task, end) for end in ends] for task in setup.tasks}

    @classmethod
    def coarse_scorer(cls, plan: SharingPlan) -> Callable[[Layout], float] | None:
        """Score trees by how alike the tasks are that a plan was chosen by."""
        affinities = plan.provenance.get("affinities")
        if affinities is None:
            return None
        blocks = np.array(affinities)
        return lambda layout: -dissimilarity(layout, blocks)

    @classmethod
    def free(cls) -> tuple[str, ...]:
        """What is done with what was seen may change; how much is looked at is a setting of its own stage."""
        return (*super().free(), "images", "pooled")
