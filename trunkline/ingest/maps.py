"""What a feature map is: a value ``[N, C, H, W]`` with H·W > 1, and how much coarser than the image it is."""

from __future__ import annotations

import math

import onnx_ir as ir

from trunkline.ingest.graph import Graph, shape_of


def is_map(value: ir.Value) -> bool:
    """Whether ``value`` is ``[N, C, H, W]`` with more than one position."""
    shape = shape_of(value)
    return len(shape) == 4 and shape[0] is None and size_of_map(value) > 1


def size_of_map(value: ir.Value) -> int:
    """Return H·W of a value ``[N, C, H, W]``."""
    return math.prod(size or 1 for size in shape_of(value)[2:])


def stride_of(value: ir.Value, graph: Graph) -> int | None:
    """Return how many image pixels lie between two positions of a map, rounded to a power of two.

    ``None`` where rows and columns disagree: the value is no picture of the image, but a list of boxes, say.
    """
    image, own = shape_of(graph.input)[2:], shape_of(value)[2:]
    rows, columns = (math.log2((whole or 1) / (part or 1)) for whole, part in zip(image, own, strict=True))
    return 2 ** max(0, round((rows + columns) / 2)) if abs(rows - columns) < 0.75 else None
