"""NDDR-CNN (Gao et al. 2019): a column a task, and projections of what all columns computed to the width of one.

At a site every column goes on with

    g^i = act(BN(W_i · [f^1, …, f^T]))

where W_i is a 1×1 convolution from T·C channels to C: a discriminative reduction of the joint features, learned with
everything else. W_i starts as α times the identity on the column's own map and (1−α)/(T−1) times it on the others'.
Columns start from single-task models that are trained first. Nothing is searched or dropped.

With ``shortcut`` each task's head reads a projection of all its layers' results, brought to the size of the last.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from trunkline.sharing.join import Join, Read
from trunkline.supermodel.methods.projections import ProjectionsMethod, ProjectionsOptions


class NDDROptions(ProjectionsOptions):
    """What can be set about NDDR-CNN."""

    shortcut: bool = Field(False, description="heads read a projection of the results of all sites")


class NDDR(ProjectionsMethod[NDDROptions]):
    """Columns with projections between them; see the module's text."""

    name = "nddr"
    needs = "single-task models, which it trains first; then one joint training of columns and projections"
    decides = "nothing: how columns are projected onto each other is trained with their weights"
    yields = "a column a task, and trained projections between them"
    source = "Gao, Ma, Zhao, Liu, Yuille: NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs (CVPR 2019)"
    Options = NDDROptions

    def joins_at(self, sites: Sequence[str]) -> list[Join]:
        """Return a projection for each site and task, and each task's shortcut."""
        tasks = self.setup.tasks
        joins = [self._projection(site, task) for site in sites for task in tasks]
        # With one site the head reads its result as it is.
        if self.options.shortcut and len(sites) > 1:
            joins += [self._shortcut(sites, task) for task in tasks]
        return joins

    def _projection(self, site: str, task: str) -> Join:
        return Join(
            name=f"{site}.{task}",
            kind="project",
            settings=self.projection_settings(self.starts(task), site),
            site=site,
            task=task,
            # In one order for all columns, so that the file puts the maps behind each other once.
            reads=tuple(Read.column(site, other) for other in self.setup.tasks),
            gives="site",
        )

    def _shortcut(self, sites: Sequence[str], task: str) -> Join:
        # The last result comes first: its size is that of the whole, and a head that was trained on it finds it there.
        last, *earlier = reversed(sites)
        return Join(
            name=f"shortcut.{task}",
            kind="project",
            settings=self.projection_settings([1.0, *[0.0] * len(earlier)], last),
            site=last,
            task=task,
            reads=tuple(Read.of(f"{site}.{task}") for site in (last, *earlier)),
            gives="tap",
        )
