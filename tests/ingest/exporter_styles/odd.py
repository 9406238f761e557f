"""Files that a tool has optimised, or a hand has edited."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper
from onnx_models import weight

from exporter_styles.writing import FLOAT, file, floats, ints, node, scalar, style


@style
def onnxsim_scalars_of_one() -> onnx.ModelProto:
    """Constants as initializers of shape [] and [1], optional inputs absent by name."""
    nodes = [
        node("Conv", "x w -", "c"),
        node("Clip", "c - six", "a"),
        node("Mul", "a sixth", "b"),
        node("Resize", "b - scales", "d", mode="nearest"),
        node("Clip", "d low -", "y"),
    ]
    stored = [weight("w", 4, 3, 3, 3), scalar("six", 0.6), floats("sixth", 1 / 6), floats("scales", 1, 1, 2, 2)]
    return file(nodes, [*stored, scalar("low", 0.01)], opset=13, ir_version=8)


@style
def unused_and_listed_initializers() -> onnx.ModelProto:
    nodes = [node("Conv", "x w", "y")]
    proto = file(nodes, [weight("w", 4, 3, 3, 3), weight("left.over", 7), ints("old", 3)], listed=True)
    proto.graph.input.insert(0, proto.graph.input.pop())
    return proto


@style
def image_behind_the_weights() -> onnx.ModelProto:
    proto = file([node("Conv", "x w", "c"), node("Relu", "c", "y")], [weight("w", 4, 3, 3, 3)], listed=True)
    first = proto.graph.input.pop(0)
    proto.graph.input.append(first)
    return proto


@style
def wrong_value_info() -> onnx.ModelProto:
    """A file whose batch, or image, was changed by hand: what it notes of shapes is no longer so."""
    proto = file(
        [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Flatten", "r", "y")], [weight("w", 4, 3, 3, 3)]
    )
    proto.graph.value_info.append(helper.make_tensor_value_info("c", FLOAT, [7, 4, 222, 222]))
    proto.graph.value_info.append(helper.make_tensor_value_info("nowhere", FLOAT, [1]))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, ["out", "features"]))
    return proto


@style
def domain_written_out() -> onnx.ModelProto:
    proto = file([node("Conv", "x w", "c", domain="ai.onnx"), node("Relu", "c", "y")], [weight("w", 4, 3, 3, 3)])
    proto.opset_import[0].domain = "ai.onnx"
    return proto


@style
def domain_written_twice() -> onnx.ModelProto:
    proto = file([node("Conv", "x w", "c"), node("Relu", "c", "y", domain="ai.onnx")], [weight("w", 4, 3, 3, 3)])
    proto.opset_import.extend([helper.make_opsetid("ai.onnx", 11), helper.make_opsetid("com.microsoft", 1)])
    return proto


@style
def enlarged_by_expand() -> onnx.ModelProto:
    """Nearest neighbour enlarged by Unsqueeze, Expand and Reshape, and by Tile, for one image."""
    nodes = [
        node("Unsqueeze", "x axes", "six"),
        node("Expand", "six wide", "e"),
        node("Reshape", "e shape", "up"),
        node("Reshape", "x apart", "six2"),
        node("Tile", "six2 repeats", "t"),
        node("Reshape", "t shape", "up2"),
        node("Add", "up up2", "z"),
        node("Conv", "z w", "y"),
    ]
    stored = [ints("axes", 3, 5), ints("wide", 1, 3, 8, 2, 8, 2), ints("shape", 1, 3, 16, 16), weight("w", 4, 3, 3, 3)]
    return file(nodes, [*stored, ints("apart", 1, 3, 8, 1, 8, 1), ints("repeats", 1, 1, 1, 2, 1, 2)], opset=13)


@style
def batch_of_four() -> onnx.ModelProto:
    """A file exported for four images, which names them in a Reshape and an Expand."""
    nodes = [
        node("Conv", "x w", "c"),
        node("Reshape", "c flat", "f"),
        node("MatMul", "f dense", "m"),
        node("Expand", "m five", "y"),
    ]
    stored = [weight("w", 4, 3, 3, 3), ints("flat", 4, 144), weight("dense", 144, 5), ints("five", 4, 5)]
    return file(nodes, stored, shape=(4, 3, 8, 8))


@style
def bytes_as_pixels() -> onnx.ModelProto:
    """Pixels of 0 to 255, cast and scaled by the file, channels last."""
    nodes = [
        node("Cast", "x", "f", to=FLOAT),
        node("Div", "f scale", "s"),
        node("Transpose", "s", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w", "y"),
    ]
    stored = [scalar("scale", 255), weight("w", 4, 3, 3, 3)]
    return file(nodes, stored, shape=("N", 8, 8, 3), element=TensorProto.UINT8)
