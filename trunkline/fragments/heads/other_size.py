"""The same head for feature maps of another size: its weights, and the settings that they were made for."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from trunkline.errors import InvalidConfig
from trunkline.fragments.heads.make_head import head_kinds, make_head, stride_of
from trunkline.graph.free_shapes import infer_free
from trunkline.graph.graph import Graph, attribute, name_of, shape_of
from trunkline.graph.passes.editor import put
from trunkline.limits import DEFAULT_LIMITS, Limits

_EXTENT = ("dilations", "pads")
"""What a convolution that keeps its map's size may be made with for a map of some size."""


def head_at_other_size(
    head: Graph, kind: str | Path | Graph, backbone: Graph, other: Graph, limits: Limits = DEFAULT_LIMITS
) -> Graph:
    """Return ``head`` for the feature maps of its backbone at another image size.

    A kind may choose settings by the size of the maps, as deeplabv3plus does its dilations. Trained weights belong to
    the settings that they were trained with, so these stay.

    Args:
        head: The head at the given size.
        kind: What it was made of; see :func:`trunkline.fragments.heads.make_head.make_head`.
        backbone: The backbone at the given size.
        other: The backbone at the other size.
        limits: What a model file may ask for.

    Raises:
        InvalidConfig: It cannot be made for these maps.
    """
    channels = int(shape_of(head.outputs[0])[1] or 0)
    made = make_head(kind, other, channels, limits, stride=stride_of(backbone))
    if str(kind) not in head_kinds():  # a user's own network is what its file says at every size
        return made
    own = {name_of(node): node for node in head.nodes}
    for node in made.nodes:
        before = own.get(name_of(node))
        if before is not None and node.op_type == before.op_type == "Conv":
            _keep_extent(node, before)
    return made


def _keep_extent(node: ir.Node, before: ir.Node) -> None:
    """Give a convolution the extent that it was made with.

    Raises:
        InvalidConfig: Its result would have another size then.
    """
    if all(attribute(node, key) == attribute(before, key) for key in _EXTENT):
        return
    shape = shape_of(node.outputs[0])
    for key in _EXTENT:
        put(node, key, attribute(before, key))
    infer_free(node)
    if shape_of(node.outputs[0]) != shape:
        raise InvalidConfig("its padding is made for maps of one size", place=name_of(node))
