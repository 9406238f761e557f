"""Detectors: Darknet's routes, and what Ultralytics' exporter writes behind the last convolution."""

from __future__ import annotations

import numpy as np
import onnx
from onnx_models import weight

from exporter_styles.writing import FLOAT, constant, file, floats, ints, node, norm, norm_inputs, scalar, style


@style
def darknet_route_and_reorg() -> onnx.ModelProto:
    """YOLOv2's passthrough by Reshape and Transpose of a fixed batch, routes, and a nearest Resize."""
    nodes = [
        node("Conv", "x w", "c", auto_pad="SAME_LOWER"),
        node("BatchNormalization", f"c {norm_inputs('bn')}", "n", epsilon=1e-5, momentum=0.99),
        node("LeakyRelu", "n", "a", alpha=0.1),
        node("MaxPool", "a", "p", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
        node("MaxPool", "p", "q", kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER"),
        node("Reshape", "a s6", "r6"),
        node("Transpose", "r6", "t6", perm=[0, 1, 3, 5, 2, 4]),
        node("Reshape", "t6 s4", "reorg"),
        node("Concat", "reorg q", "cat", axis=1),
        node("Resize", "cat roi scales", "y", mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
    ]  # fmt: skip
    stored = [weight("w", 4, 3, 3, 3), *norm("bn", 4), ints("s6", 1, 4, 4, 2, 4, 2), ints("s4", 1, 16, 4, 4)]
    return file(nodes, [*stored, floats("roi"), floats("scales", 1, 1, 2, 2)], opset=12)


def silu(source: str, target: str) -> list[onnx.NodeProto]:
    return [node("Sigmoid", source, f"{target}.s"), node("Mul", f"{source} {target}.s", target)]


@style
def ultralytics_focus_and_detect() -> onnx.ModelProto:
    """YOLOv5: Focus by Slices, SiLU, SPPF, a Reshape into anchors, a grid and strides as constants."""
    nodes = []
    for name, (row, column) in {"a": (0, 0), "b": (1, 0), "c": (0, 1), "d": (1, 1)}.items():
        nodes += [
            node("Slice", f"x s{row} end ax2 st", f"{name}0"),
            node("Slice", f"{name}0 s{column} end ax3 st", f"{name}1"),
        ]
    nodes += [
        node("Concat", "a1 b1 c1 d1", "focus", axis=1),
        node("Conv", "focus w b", "conv", pads=[1, 1, 1, 1]),
        *silu("conv", "act"),
        node("MaxPool", "act", "p1", kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[1, 1]),
        node("MaxPool", "p1", "p2", kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[1, 1]),
        node("Concat", "act p1 p2", "sppf", axis=1),
        node("Conv", "sppf wd bd", "head"),
        node("Reshape", "head five", "five_d"),
        node("Transpose", "five_d", "moved", perm=[0, 1, 3, 4, 2]),
        node("Sigmoid", "moved", "probable"),
        node("Split", "probable parts", "xy wh conf", axis=4),
        node("Mul", "xy two", "xy2"),
        node("Add", "xy2 grid", "xy3"),
        node("Mul", "xy3 stride", "xy4"),
        node("Mul", "wh two", "wh2"),
        node("Pow", "wh2 square", "wh3"),
        node("Mul", "wh3 anchors", "wh4"),
        node("Concat", "xy4 wh4 conf", "all", axis=4),
        node("Reshape", "all flat", "y"),
    ]
    stored = [ints("s0", 0), ints("s1", 1), ints("end", 2**63 - 1), ints("ax2", 2), ints("ax3", 3), ints("st", 2)]
    stored += [weight("w", 4, 12, 3, 3), weight("b", 4), weight("wd", 12, 12, 1, 1), weight("bd", 12)]
    stored += [ints("five", 1, 2, 6, 4, 4), ints("parts", 2, 2, 2), scalar("two", 2), scalar("square", 2)]
    stored += [
        weight("grid", 1, 2, 4, 4, 2),
        scalar("stride", 2),
        weight("anchors", 1, 2, 4, 4, 2),
        ints("flat", 1, 32, 6),
    ]
    return file(nodes, stored, opset=13, producer="pytorch")


@style
def ultralytics_anchor_points() -> onnx.ModelProto:
    """YOLOv8's tail: anchor points by Range, Add, Reshape, Expand from the map's own size; distances by Softmax."""
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Shape", "c", "s"),
        constant("i2", 2),
        constant("i3", 3),
        node("Gather", "s i2", "h"),
        node("Gather", "s i3", "v"),
        constant("zero", 0),
        constant("one", 1),
        node("Range", "zero v one", "rx"),
        node("Cast", "rx", "fx", to=FLOAT),
        constant("half", 0.5, np.float32),
        node("Add", "fx half", "px"),
        node("Range", "zero h one", "ry"),
        node("Cast", "ry", "fy", to=FLOAT),
        node("Add", "fy half", "py"),
        constant("axis0", [0]),
        node("Unsqueeze", "h axis0", "h1"),
        node("Unsqueeze", "v axis0", "v1"),
        node("Concat", "h1 v1", "hw", axis=0),
        constant("column", [-1, 1]),
        constant("row", [1, -1]),
        node("Reshape", "py column", "pyc"),
        node("Expand", "pyc hw", "gy"),
        node("Reshape", "px row", "pxr"),
        node("Expand", "pxr hw", "gx"),
        constant("last", [-1]),
        node("Unsqueeze", "gx last", "gx1"),
        node("Unsqueeze", "gy last", "gy1"),
        node("Concat", "gx1 gy1", "points", axis=-1),
        constant("pairs", [-1, 2]),
        node("Reshape", "points pairs", "flat_points"),
        node("Transpose", "flat_points", "anchor", perm=[1, 0]),
        node("Unsqueeze", "anchor axis0", "anchors"),
        constant("batchless", [0, 18, -1]),
        node("Reshape", "c batchless", "boxes"),
        constant("parts", [16, 2]),
        node("Split", "boxes parts", "dist cls", axis=1),
        constant("four", [0, 4, 4, -1]),
        node("Reshape", "dist four", "d4"),
        node("Transpose", "d4", "d5", perm=[0, 2, 1, 3]),
        node("Softmax", "d5", "d6", axis=1),
        node("Conv", "d6 dfl", "d7"),
        constant("three", [0, 4, -1]),
        node("Reshape", "d7 three", "d8"),
        constant("s0", [0]),
        constant("s2", [2]),
        constant("s4", [4]),
        constant("axis1", [1]),
        node("Slice", "d8 s0 s2 axis1", "lt"),
        node("Slice", "d8 s2 s4 axis1", "rb"),
        node("Sub", "anchors lt", "x1"),
        node("Add", "anchors rb", "x2"),
        node("Sigmoid", "cls", "score"),
        node("Concat", "x1 x2 score", "y", axis=1),
    ]
    stored = [weight("w", 18, 3, 3, 3), weight("b", 18), weight("dfl", 1, 4, 1, 1)]
    return file(nodes, stored, shape=("batch", 3, "height", "width"), opset=17, ir_version=8, producer="pytorch")
