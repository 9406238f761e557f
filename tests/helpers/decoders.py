"""Backbones with layers behind the last feature map: what heads of one map do not read."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from backbones import unit

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph


def doubled(b: GraphBuilder, x: ir.Value, name: str) -> ir.Value:
    """A map repeated to twice its size."""
    scales = b.tensor(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return b.node("Resize", [x, None, scales], name=name, attributes=attributes)


def decoded() -> Graph:
    """An encoder, and a decoder that gives a finer map, made later than the last one."""
    b = GraphBuilder("decoded")
    x = unit(b, unit(b, b.image("image", (3, 16, 16)), "c0", 4, stride=2), "c1", 4)
    coarse = unit(b, unit(b, x, "c2", 6, stride=2), "c3", 6)
    fine = doubled(b, coarse, "up")
    return b.finish([unit(b, fine, "fine", 4), coarse])


def pyramid() -> Graph:
    """An encoder, and a way down that leaves it within its last block: the last map lies inside."""
    b = GraphBuilder("pyramid")
    low = unit(b, unit(b, b.image("image", (3, 16, 16)), "c0", 4, stride=2), "c1", 4)
    high = unit(b, unit(b, low, "c2", 6, stride=2), "c3", 6)
    top = unit(b, unit(b, high, "t0", 4), "t1", 4)
    fine = b.node("Add", [low, doubled(b, top, "up")], name="sum")
    return b.finish([unit(b, fine, "fine", 4), high])
