"""``layout``: a tree given by hand, block by block, in TreeMTL's form."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from trunkline.sharing.layouts.layout_file import load_layout
from trunkline.sharing.layouts.plans import plan_of_layout
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import MethodOptions
from trunkline.supermodel.methods.fixed import FixedMethod


class LayoutOptions(MethodOptions):
    """Which tree."""

    file: Path = Field(description="a JSON list with one entry per block: the groups of tasks that share it")


class LayoutMethod(FixedMethod[LayoutOptions]):
    """A tree of blocks."""

    name = "layout"
    units = "blocks"
    decides = "which tasks are together in each block, as a file says"
    source = "Zhang, Liu, Guan: TreeMTL (2022)"
    Options = LayoutOptions
    argument = "file"

    def plan(self) -> SharingPlan:
        """Return the plan of the layout."""
        return plan_of_layout(self.setup.backbone, load_layout(self.options.file, self.setup.tasks))
