"""ONNX files that break a rule, ask for too much, or hold what is no trainable network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

Make = Callable[[Path], object]


def saved(build: Callable[[], onnx.ModelProto]) -> Make:
    return lambda path: path.write_bytes(build().SerializeToString())


def weight(name: str, *shape: int) -> TensorProto:
    values = np.random.default_rng(sum(name.encode())).standard_normal(shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def ints(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    stored: Sequence[TensorProto] = (),
    shape: Sequence[int | str | None] = (1, 3, 8, 8),
    outputs: Sequence[str] = ("y",),
    opset: int = 18,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        list(stored),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def good() -> onnx.ModelProto:
    """Conv and Relu; the defects below spoil it."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    return model(nodes, [weight("w", 2, 3, 3, 3)])


def spoilt(spoil: Callable[[onnx.ModelProto], object]) -> Make:
    def build() -> onnx.ModelProto:
        proto = good()
        spoil(proto)
        return proto

    return saved(build)


def one(op: str, *stored: TensorProto, inputs: Sequence[str] = ("x",), opset: int = 18, **attributes: Any) -> Make:
    """A network of one node, called ``node``, which reads ``inputs`` and all that is stored."""
    names = [*inputs, *(tensor.name for tensor in stored)]
    return saved(lambda: model([helper.make_node(op, names, ["y"], name="node", **attributes)], stored, opset=opset))


def branch(depth: int) -> onnx.GraphProto:
    output = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    if depth == 0:
        return helper.make_graph([helper.make_node("Constant", [], ["o"], value_float=1.0)], "g", [], [output])
    inner = branch(depth - 1)
    node = helper.make_node("If", ["c"], ["o"], name="inner", then_branch=inner, else_branch=inner)
    return helper.make_graph([node], "g", [], [output])


def fork(depth: int) -> onnx.ModelProto:
    inner = branch(depth - 1)
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node("If", ["c"], ["i"], name="fork", then_branch=inner, else_branch=inner),
        helper.make_node("Add", ["x", "i"], ["y"]),
    ]
    return model(nodes)


def loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Relu", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["y"], name="loop", body=body)
    return model([node], [ints("n", 2**40)])


def field(number: int, content: bytes) -> bytes:
    """One length-delimited protobuf field."""
    size, length = len(content), b""
    while size >= 0x80:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def nested_by_hand(path: Path) -> None:
    """150 Ifs, each wrapped in the bytes of the next: no library would write them."""
    graph = branch(0).SerializeToString()
    for _ in range(150):
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(1, b"c") + field(2, b"o") + field(4, b"If") + field(5, attribute)) + field(2, b"g")
    path.write_bytes(b"\x08\x08" + field(7, graph) + field(8, b"\x10\x12"))


def deep_by_hand(path: Path) -> None:
    """20,000 messages inside each other."""
    graph = b""
    for _ in range(20_000):
        graph = field(1, field(5, field(6, graph)))
    path.write_bytes(b"\x08\x08" + field(7, graph) + field(8, b"\x10\x12"))


def doubling(first: str, last: str, *stored: TensorProto) -> onnx.ModelProto:
    """Forty Concats, each of what was before with itself."""
    names = [first, *(f"d{i}" for i in range(40))]
    nodes = [helper.make_node("Concat", [a, a], [b], name=b, axis=1) for a, b in zip(names, names[1:], strict=False)]
    return model([*nodes, helper.make_node(last, ["d39"] if not stored else ["x", "d39"], ["y"])], stored)


def filled(*shape: int) -> Make:
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"], name="fill"),
        helper.make_node("Add", ["x", "c"], ["y"], name="add"),
    ]
    return saved(lambda: model(nodes, [ints("s", *shape)]))


def images(*shape: int | str | None) -> Make:
    return saved(lambda: model([helper.make_node("Relu", ["x"], ["y"], name="relu")], shape=shape))


def bytes_for_text(path: Path) -> None:
    """Names that are Latin-1: protobuf hands them over as they are."""
    path.write_bytes(good().SerializeToString().replace(b"conv", b"c\xf6nv"))


def renamed(proto: onnx.ModelProto, node: int, name: str) -> None:
    proto.graph.node[node].output[0] = name


def header(proto: onnx.ModelProto, *shape: int) -> None:
    proto.graph.initializer[0].dims[:] = shape


def attribute(proto: onnx.ModelProto, name: str, value: Any) -> None:
    proto.graph.node[0].attribute.append(helper.make_attribute(name, value))


def cut(share: float) -> Make:
    content = good().SerializeToString()
    return lambda path: path.write_bytes(content[: int(len(content) * share)])


def second_image(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 8, 8]))
    proto.graph.node[1].op_type = "Add"
    proto.graph.node[1].input.append("z")


def self_reference(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].attribute.add(name="auto_pad", ref_attr_name="mode", type=AttributeProto.STRING)


def calling(levels: int, *, circle: bool = False, op: str = "Relu") -> Make:
    """Functions that each call the one below twice: 2^levels nodes when inlined, or no end at all."""

    def build() -> onnx.ModelProto:
        proto = good()
        opsets = [*proto.opset_import, helper.make_opsetid("own", 1)]
        lowest = "f0" if circle else op
        for level in range(levels):
            below = f"f{level - 1}" if level else lowest
            domain = "own" if level or circle else ""
            body = [
                helper.make_node(below, ["a"], ["m"], name="first", domain=domain),
                helper.make_node(below, ["m"], ["b"], name="second", domain=domain),
            ]
            proto.functions.append(helper.make_function("own", f"f{level}", ["a"], ["b"], body, opsets))
        proto.opset_import.append(helper.make_opsetid("own", 1))
        proto.graph.node[1].op_type, proto.graph.node[1].domain = f"f{levels - 1}", "own"
        return proto

    return saved(build)


def twice_as_raw(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].float_data.extend([1.0] * 54)
    proto.graph.initializer[0].raw_data = b"\0" * 8


WIRES = [("Add", ["x", "b"], "a"), ("Relu", ["a"], "b"), ("Relu", ["b"], "y")]
CIRCLE = saved(lambda: model([helper.make_node(op, reads, [out], name=out) for op, reads, out in WIRES]))
AT = "bad.onnx"

ONNX: dict[str, tuple[Make, tuple[str, ...]]] = {
    # bytes
    "cut_short": (cut(0.9), (AT,)),
    "cut_in_half": (cut(0.5), (AT,)),
    "cut_to_a_tenth": (cut(0.1), (AT,)),
    "junk_after_the_version": (lambda path: path.write_bytes(b"\x08\x08" + bytes(range(256))), (AT,)),
    "no_graph": (lambda path: path.write_bytes(b"\x08\x08\x12\x01x"), (AT, "no graph")),
    "nested_150": (nested_by_hand, (AT,)),
    "nested_20000": (deep_by_hand, (AT,)),
    "names_not_utf8": (bytes_for_text, (AT, "not UTF-8")),
    # versions
    "opset_3": (spoilt(lambda p: setattr(p.opset_import[0], "version", 3)), (AT, "opset 3", "opset_version=18")),
    "opset_0": (spoilt(lambda p: setattr(p.opset_import[0], "version", 0)), (AT, "opset 0")),
    "opset_of_the_future": (spoilt(lambda p: setattr(p.opset_import[0], "version", 999)), (AT, "opset 999")),
    "opset_negative": (spoilt(lambda p: setattr(p.opset_import[0], "version", -1)), (AT, "opset -1")),
    "no_opset": (spoilt(lambda p: p.ClearField("opset_import")), (AT, "0 opsets")),
    "two_opsets": (spoilt(lambda p: p.opset_import.add(domain="ai.onnx", version=13)), (AT, "2 opsets")),
    "ir_version_of_the_future": (spoilt(lambda p: setattr(p, "ir_version", 99)), (AT, "IR version 99")),
    "ir_version_0": (spoilt(lambda p: setattr(p, "ir_version", 0)), (AT, "IR version 0")),
    # names and wires
    "missing_input": (spoilt(lambda p: p.graph.node[1].input.__setitem__(0, "no")), (AT, "relu", 'reads "no"')),
    "circle": (CIRCLE, (AT, "circle")),
    "reads_itself": (spoilt(lambda p: p.graph.node[1].input.__setitem__(0, "y")), (AT, "circle")),
    "written_twice": (spoilt(lambda p: renamed(p, 1, "c")), (AT, "c: ", "more than once")),
    "weight_overwritten": (spoilt(lambda p: renamed(p, 0, "w")), (AT, "w: ", "more than once")),
    "image_overwritten": (spoilt(lambda p: renamed(p, 0, "x")), (AT, "x: ", "more than once")),
    "weight_twice": (spoilt(lambda p: p.graph.initializer.append(p.graph.initializer[0])), (AT, "more than once")),
    "weight_without_a_name": (spoilt(lambda p: setattr(p.graph.initializer[0], "name", "")), (AT, "without a name")),
    "input_without_a_name": (spoilt(lambda p: setattr(p.graph.input[0], "name", "")), (AT, "without a name")),
    "no_output": (spoilt(lambda p: p.graph.ClearField("output")), (AT, "no outputs")),
    "output_of_nobody": (spoilt(lambda p: setattr(p.graph.output[0], "name", "ghost")), (AT, "ghost")),
    "output_without_a_name": (spoilt(lambda p: setattr(p.graph.output[0], "name", "")), (AT, "output")),
    "output_is_the_image": (spoilt(lambda p: setattr(p.graph.output[0], "name", "x")), (AT, "x")),
    "no_nodes": (spoilt(lambda p: p.graph.ClearField("node")), (AT, "no graph")),
    "no_image": (spoilt(lambda p: p.graph.ClearField("input")), (AT, '"x"')),
    "two_images": (spoilt(second_image), (AT, '"x"', '"z"', "one image was expected")),
    # the image
    "image_of_bytes": (spoilt(lambda p: setattr(p.graph.input[0].type.tensor_type, "elem_type", 2)), (AT, "float32")),
    "image_without_a_shape": (
        spoilt(lambda p: p.graph.input[0].type.tensor_type.ClearField("shape")),
        (AT, "x: ", "no shape"),
    ),
    "image_without_a_type": (spoilt(lambda p: p.graph.input[0].ClearField("type")), (AT, "x")),
    "image_of_three_axes": (images(3, 8, 8), (AT, "x: ", "axes")),
    "image_of_five_axes": (images(1, 3, 4, 8, 8), (AT, "x: ", "axes")),
    "image_zero": (images(1, 3, 0, 8), (AT,)),
    "image_negative": (images(1, 3, -1, 8), (AT,)),
    "image_endless": (images(1, 3, 2**31, 2**31), (AT,)),
    "image_of_open_size": (images("n", 3, "h", "w"), (AT, "--input-size H,W")),
    "image_of_open_channels": (images("n", None, 8, 8), (AT, "x")),
    # weights
    "weight_too_short": (spoilt(lambda p: setattr(p.graph.initializer[0], "raw_data", b"\0" * 7)), (AT, "w: ")),
    "weight_too_long": (spoilt(lambda p: setattr(p.graph.initializer[0], "raw_data", b"\0" * 700)), (AT, "w: ")),
    "weight_absent": (spoilt(lambda p: p.graph.initializer[0].ClearField("raw_data")), (AT, "w: ", "holds 0")),
    "weight_given_twice": (spoilt(twice_as_raw), (AT, "w: ")),
    "weight_of_text": (spoilt(lambda p: setattr(p.graph.initializer[0], "data_type", 8)), (AT, "w: ", "STRING")),
    "weight_of_complex": (spoilt(lambda p: setattr(p.graph.initializer[0], "data_type", 14)), (AT, "w: ", "COMPLEX64")),
    "weight_of_nothing": (spoilt(lambda p: setattr(p.graph.initializer[0], "data_type", 99)), (AT, "w: ", "99")),
    "weight_of_float8": (spoilt(lambda p: setattr(p.graph.initializer[0], "data_type", 17)), (AT, "w: ", "FLOAT8")),
    "weight_rank_1000": (spoilt(lambda p: header(p, *[1] * 1000)), (AT, "w: ", "1000 axes")),
    "weight_negative": (spoilt(lambda p: header(p, -2, 3, 3, 3)), (AT, "w: ", "negative")),
    "weight_zero": (spoilt(lambda p: header(p, 0, 3, 3, 3)), (AT, "w: ")),
    "weight_2_to_40": (spoilt(lambda p: header(p, 2**40)), (AT, "w: ", "--allow tensor_elements=1099511627776")),
    "weight_overflow": (spoilt(lambda p: header(p, 2**62, 2**62, 4)), (AT, "w: ", "--allow tensor_elements=")),
    "weight_of_other_channels": (spoilt(lambda p: header(p, 3, 2, 3, 3)), (AT, "conv")),
    "weight_of_other_rank": (spoilt(lambda p: header(p, 2, 27)), (AT, "conv")),
    "sparse_weight": (spoilt(lambda p: p.graph.sparse_initializer.add()), (AT, "sparse")),
    # operators
    "unknown_operator": (spoilt(lambda p: setattr(p.graph.node[1], "op_type", "Relux")), (AT, "relu: Relux")),
    "operator_without_a_name": (spoilt(lambda p: p.graph.node[1].ClearField("op_type")), (AT, "relu")),
    "other_domain": (spoilt(lambda p: setattr(p.graph.node[1], "domain", "com.example")), (AT, "relu", "com.example")),
    "function_of_an_unknown_operator": (calling(1, op="Relux"), (AT, "Relux")),
    "function_that_calls_itself": (calling(1, circle=True), (AT, "functions")),
    "functions_over_a_circle": (calling(3, circle=True), (AT, "functions")),
    "functions_that_double": (calling(40), (AT, "--allow nodes=")),
    "functions_2000_deep": (calling(2000), (AT, "functions")),
    "function_that_is_not_there": (
        spoilt(lambda p: [setattr(p.graph.node[1], "op_type", "f9"), setattr(p.graph.node[1], "domain", "own")]),
        (AT, "relu", "own"),
    ),
    "attribute_reference": (spoilt(self_reference), (AT, "conv")),
    "unknown_attribute": (spoilt(lambda p: attribute(p, "colour", "red")), (AT, "conv", "colour")),
    "attribute_of_another_type": (spoilt(lambda p: attribute(p, "group", "one")), (AT, "conv", "group")),
    "attribute_twice": (spoilt(lambda p: [attribute(p, "group", 1), attribute(p, "group", 1)]), (AT, "conv")),
    "too_many_inputs": (spoilt(lambda p: p.graph.node[1].input.append("x")), (AT, "relu")),
    "too_few_inputs": (spoilt(lambda p: p.graph.node[1].ClearField("input")), (AT, "relu")),
    "too_many_outputs": (spoilt(lambda p: p.graph.node[1].output.append("more")), (AT, "relu")),
    "control_flow": (saved(lambda: fork(1)), (AT, "fork: If", "control flow")),
    "control_flow_8_deep": (saved(lambda: fork(8)), (AT, "fork: If")),
    "endless_loop": (saved(loop), (AT, "loop: Loop", "control flow")),
    "quantised": (
        one("QuantizeLinear", weight("s"), numpy_helper.from_array(np.uint8(3), "z")),
        (AT, "node: QuantizeLinear", "float model"),
    ),
    "quantised_convolution": (
        one("ConvInteger", numpy_helper.from_array(np.zeros((2, 3, 3, 3), np.uint8), "w")),
        (AT, "node: ConvInteger", "float model"),
    ),
    "sequence": (one("SequenceConstruct"), (AT, "node: SequenceConstruct", "sequences")),
    "recurrent": (one("LSTM", weight("w", 1, 4, 3), weight("r", 1, 4, 1), hidden_size=1), (AT, "node: LSTM")),
    "strings": (one("StringNormalizer"), (AT, "node: StringNormalizer")),
    "random": (one("RandomNormalLike"), (AT, "node: RandomNormalLike")),
    "boxes": (one("NonMaxSuppression", weight("s", 1, 1, 1)), (AT, "node: NonMaxSuppression")),
    "training": (one("Gradient", domain="ai.onnx.preview.training", xs=["x"], y="y"), (AT, "node: Gradient")),
    # sizes
    "fill_2_to_40": (filled(2**40), (AT, "c: ", "1099511627776")),
    "fill_squared": (filled(2**20, 2**20), (AT, "c: ")),
    "fill_negative": (filled(-1, 3), (AT, "c: ")),
    "fill_overflow": (filled(2**62, 4), (AT, "c: ")),
    "fill_rank_1000": (filled(*[1] * 1000), (AT,)),
    "doubled_activations": (saved(lambda: doubling("x", "Relu")), (AT, "--allow tensor_elements=")),
    "doubled_constants": (saved(lambda: doubling("w", "Add", weight("w", 1, 64, 1, 1))), (AT, "d")),
    "padding_2_to_40": (one("Pad", ints("p", 0, 0, 0, 0, 0, 0, 2**40, 2**40)), (AT, "node")),
    "padding_negative": (one("Pad", ints("p", 0, 0, 0, 0, 0, 0, -9, -9)), (AT, "node")),
    "padding_of_another_rank": (one("Pad", ints("p", 0, 0, 1)), (AT, "node")),
    "kernel_zero": (one("MaxPool", kernel_shape=[0, 0]), (AT, "node")),
    "kernel_beyond_the_image": (one("MaxPool", kernel_shape=[100, 100]), (AT, "node")),
    "kernel_of_one_axis": (one("MaxPool", kernel_shape=[2]), (AT, "node")),
    "stride_zero": (one("MaxPool", kernel_shape=[2, 2], strides=[0, 1]), (AT, "node")),
    "stride_zero_auto_pad": (one("MaxPool", kernel_shape=[2, 2], strides=[0, 1], auto_pad="SAME_UPPER"), (AT, "node")),
    "dilation_2_to_62": (one("MaxPool", kernel_shape=[2, 2], dilations=[2**62, 2**62]), (AT, "node")),
    "auto_pad_unknown": (one("MaxPool", kernel_shape=[2, 2], auto_pad="MAYBE"), (AT, "node")),
    "reshape_impossible": (one("Reshape", ints("s", 1, 7, -1)), (AT, "node")),
    "reshape_two_unknowns": (one("Reshape", ints("s", -1, -1)), (AT, "node")),
    "transpose_twice_the_same": (one("Transpose", perm=[0, 1, 1, 3]), (AT, "node")),
    "concat_beyond_axes": (one("Concat", axis=9), (AT, "node")),
    "split_unequal": (one("Split", ints("s", 1, 1), axis=1), (AT, "node")),
    "slice_step_zero": (
        one("Slice", ints("s", 0), ints("e", 4), ints("a", 2), ints("t", 0)),
        (AT, "node"),
    ),
    "groups_do_not_divide": (one("Conv", weight("w", 4, 3, 1, 1), group=3), (AT, "node")),
    "shapes_cannot_add": (one("Add", weight("w", 1, 5, 8, 8)), (AT, "node")),
    "resize_to_infinity": (
        one("Resize", numpy_helper.from_array(np.array([1, 1, np.inf, 1], np.float32), "s"), inputs=("x", "")),
        (AT, "node"),
    ),
    "matmul_2_to_40": (
        saved(lambda: model([helper.make_node("Expand", ["x", "s"], ["y"], name="node")], [ints("s", 1, 3, 2**40, 8)])),
        (AT, "node"),
    ),
}
