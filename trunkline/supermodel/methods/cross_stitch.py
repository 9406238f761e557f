"""Cross-Stitch Networks (Misra et al. 2016): a column a task, and units that mix the columns' maps at some sites.

At a site every column goes on with a weighted sum of all columns' maps there (Eq. 1):

    x̃^i = Σ_j a_ij · x^j

The weights a are trained with everything else. They start at α for a column's own map and at (1−α)/(T−1) for the
others', so that a row adds up to 1, and learn 100 to 1000 times as fast as the rest (Sec. 4). Columns start from
single-task models that are trained first. Nothing is searched, and nothing is dropped in the end: the delivered file
runs all T columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from trunkline.sharing.join import Join, Read
from trunkline.supermodel.methods.columns import ColumnsMethod, ColumnsOptions


class CrossStitchOptions(ColumnsOptions):
    """What can be set about Cross-Stitch."""

    per: Literal["tensor", "channel"] = Field("tensor", description="one weight for a map, or one for each channel")


class CrossStitch(ColumnsMethod[CrossStitchOptions]):
    """Columns with mixes between them; see the module's text."""

    name = "cross-stitch"
    needs = "single-task models, which it trains first; then one joint training of columns and mixes"
    decides = "nothing: how much columns mix is trained with their weights"
    yields = "a column a task, and trained mixes between them"
    source = "Misra, Shrivastava, Gupta, Hebert: Cross-stitch Networks (CVPR 2016)"
    Options = CrossStitchOptions

    def joins_at(self, sites: Sequence[str]) -> list[Join]:
        """Return a mix for each site and task."""
        return [self._mix(site, task) for site in sites for task in self.setup.tasks]

    def _mix(self, site: str, task: str) -> Join:
        return Join(
            name=f"{site}.{task}",
            kind="mix",
            settings={"starts": self.starts(task), "per": self.options.per},
            site=site,
            task=task,
            reads=tuple(Read.column(site, other) for other in self.setup.tasks),
            gives="site",
        )
