"""The model of a plan for images of another size."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trunkline.export.free_size.free import AtSize
from trunkline.graph.graph import Graph
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan

Parts = tuple[Backbone, Mapping[str, Graph]]
"""A backbone and its heads by task."""


def plan_at_size(plan: SharingPlan, parts: Callable[[tuple[int, int]], Parts]) -> AtSize:
    """Return what lowers ``plan`` on the backbone and heads that ``parts`` gives for an image size."""

    def at_size(size: tuple[int, int]) -> Graph:
        backbone, heads = parts(size)
        # A backbone with a Resize names other numbers at another size, and so has another fingerprint. Whether it is
        # the same network is asked of the whole model, node by node.
        same = plan.backbone.model_copy(update={"fingerprint": backbone.fingerprint})
        return lower(plan.model_copy(update={"backbone": same}), backbone, heads).graph

    return at_size


__all__ = ["AtSize", "Parts", "plan_at_size"]
