"""The model of a plan for images of another size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from trunkline.errors import InvalidModel
from trunkline.export.free_size.free import AtSize
from trunkline.graph.graph import Graph
from trunkline.graph.input_size import channels_of
from trunkline.ingest.read_options import ReadOptions
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan

Model = str | Path | Graph
Parts = tuple[Backbone, Mapping[str, Graph]]
"""A backbone and its heads by task."""


def options_at_size(model: Model, options: ReadOptions) -> Callable[[tuple[int, int]], ReadOptions]:
    """Return what gives the options to read ``model`` with for images of another height and width.

    Raises:
        InvalidModel: It is a Graph, which has been read for one size.
    """
    if isinstance(model, Graph):
        text = f"{model.name} is a Graph, which has one image size; with a free size it is read at several"
        raise InvalidModel(text, advice="give the file that it was read from")
    channels = channels_of(options.input_size)

    def at_size(size: tuple[int, int]) -> ReadOptions:
        return replace(options, input_size=size if channels is None else (channels, *size))

    return at_size


def plan_at_size(plan: SharingPlan, parts: Callable[[tuple[int, int]], Parts]) -> AtSize:
    """Return what lowers ``plan`` on the backbone and heads that ``parts`` gives for an image size."""

    def at_size(size: tuple[int, int]) -> Graph:
        backbone, heads = parts(size)
        # A backbone with a Resize names other numbers at another size, and so has another fingerprint. Whether it is
        # the same network is asked of the whole model, node by node.
        same = plan.backbone.model_copy(update={"fingerprint": backbone.fingerprint})
        return lower(plan.model_copy(update={"backbone": same}), backbone, heads).graph

    return at_size
