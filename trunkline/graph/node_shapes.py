"""Type and shape of what one node computes, by ONNX's own inference."""

from __future__ import annotations

from collections.abc import Hashable

import onnx
import onnx_ir as ir
from onnx import shape_inference

from trunkline.errors import InvalidModel
from trunkline.graph.graph import IR_VERSION, OPSET, attribute, name_of
from trunkline.graph.roles import is_setting_place
from trunkline.text import quoted, shape_text

_Answer = tuple[ir.DataType | ir.TypeProtocol | None, tuple[int | str | None, ...] | None]
"""Type and dims of one output."""
_ANSWERS: dict[Hashable, list[_Answer | None]] = {}
_MOST_ANSWERS = 10_000
"""A program that reads many networks must not keep the answers of all of them."""
_PLAIN = frozenset(ir.AttributeType[name] for name in ("INT", "INTS", "FLOAT", "FLOATS", "STRING", "STRINGS"))
"""Attribute types that can be compared; tensors and graphs would have to be read for it."""

_OPSETS = [onnx.helper.make_opsetid("", OPSET)]


def infer_node(node: ir.Node, *, place: str = "", opset: int = OPSET) -> None:
    """Set type and shape of a node's outputs from its inputs, by ONNX's own rules.

    Networks repeat themselves, and a reader asks several times about each node, so answers are remembered.

    Raises:
        InvalidModel: The node is impossible for these inputs, or its operator is not known at this opset.
    """
    key = _question(node, opset)
    answer = _ANSWERS.get(key) if key is not None else None
    if answer is None:
        answer = _ask_onnx(node, place, opset)
        if key is not None:
            if len(_ANSWERS) >= _MOST_ANSWERS:
                _ANSWERS.clear()
            _ANSWERS[key] = answer
    for value, found in zip(node.outputs, answer, strict=True):
        if found is not None:
            value.type = ir.TensorType(found[0]) if isinstance(found[0], ir.DataType) else found[0]
            value.shape = None if found[1] is None else ir.Shape(found[1])
    if node.op_type in ("MaxPool", "AveragePool", "LpPool") and attribute(node, "ceil_mode", 0):
        _drop_windows_in_padding(node)


def _question(node: ir.Node, opset: int) -> Hashable | None:
    """Return all that shape inference looks at, as a key; ``None`` for a node that is not worth remembering."""
    attributes = []
    for name, item in node.attributes.items():
        if item.type not in _PLAIN:
            return None
        attributes.append((name, item.value))
    read = [None if value is None else _facts(node, index, value) for index, value in enumerate(node.inputs)]
    return node.domain, node.op_type, opset, tuple(sorted(attributes)), tuple(read), len(node.outputs)


def _facts(node: ir.Node, index: int, value: ir.Value) -> Hashable:
    """Return what inference may look at of one input."""
    content = b""
    if _steers_shapes(node, index, value):
        assert value.const_value is not None
        content = value.const_value.numpy().tobytes()
    return value.dtype, value.type.__class__, _dims(value.shape), content


def _dims(shape: ir.Shape | None) -> tuple[int | str | None, ...] | None:
    """Return sizes as numbers, names, or ``None``."""
    if shape is None:
        return None
    return tuple(size if isinstance(size, int) else size.value for size in shape)


def _ask_onnx(node: ir.Node, place: str, opset: int) -> list[_Answer | None]:
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        proto = ir.serde.serialize_node(node)
        present = [(index, value) for index, value in enumerate(node.inputs) if value is not None]
        types = {name_of(value): _type_proto(value) for _, value in present}
        # Inference needs the numbers of sizes and axes. Weights are left out: reading a lazy one would draw it.
        steering = [value for index, value in present if _steers_shapes(node, index, value)]
        data = {name_of(value): _small_tensor(value) for value in steering}
        inferred = shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=_OPSETS, ir_version=IR_VERSION
        )
    except (shape_inference.InferenceError, onnx.checker.ValidationError, onnx.defs.SchemaError, ValueError) as error:
        shapes = ", ".join(shape_text(value.shape) for value in node.inputs if value is not None)
        # onnx's text may go on for several lines, of which the first is the reason.
        lines = str(error).replace("[ShapeInferenceError]", "").strip().splitlines()
        reason = lines[0] if lines else error
        raise InvalidModel(
            f"{node.op_type} {quoted(name_of(node))} is impossible for inputs {shapes}: {reason}",
            place=place or name_of(node),
        ) from error
    return [_answer(inferred.get(value.name or "")) for value in node.outputs]


def _answer(proto: onnx.TypeProto | None) -> _Answer | None:
    if proto is None:
        return None
    kind = ir.serde.deserialize_type_proto_for_type(proto)
    dims = _dims(ir.serde.deserialize_type_proto_for_shape(proto))
    return (kind.dtype if isinstance(kind, ir.TensorType) else kind), dims


def _drop_windows_in_padding(node: ir.Node) -> None:
    """Apply the rule that ONNX's text, runtimes and Caffe agree on, and that its inference at our opset lacks.

    With ``ceil_mode`` a last window that would start inside the end padding is not computed.
    """
    read, value = node.inputs[0], node.outputs[0]
    if read is None or read.shape is None or value.shape is None:
        return
    axes = len(value.shape) - 2
    strides, pads = attribute(node, "strides", [1] * axes), attribute(node, "pads", [0] * 2 * axes)
    sizes = list(value.shape)
    for axis in range(axes):
        before, after = read.shape[axis + 2], sizes[axis + 2]
        if not isinstance(before, int) or not isinstance(after, int):
            continue
        start_of_last = (after - 1) * strides[axis]
        if start_of_last >= before + pads[axis]:
            sizes[axis + 2] = after - 1
    for output in node.outputs:  # MaxPool's second output holds the place of each value
        output.shape = ir.Shape(sizes)


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    dtype = value.dtype or ir.DataType.FLOAT
    return onnx.helper.make_tensor_type_proto(int(dtype), _dims(value.shape))


def _steers_shapes(node: ir.Node, index: int, value: ir.Value) -> bool:
    """Whether a stored input decides sizes: whole numbers and settings do; weights do not, and must not be drawn."""
    stored = value.const_value
    if stored is None:
        return False
    # Range may count in floats, and the scales of a Resize are settings of float32.
    steers = not stored.dtype.is_floating_point() or node.op_type == "Range" or is_setting_place(node, index)
    # A list of sizes has a number for each axis, and that of a Split one for each output. What is longer is a table.
    return steers and stored.size <= max(64, len(node.outputs))


def _small_tensor(value: ir.Value) -> onnx.TensorProto:
    assert value.const_value is not None
    return onnx.numpy_helper.from_array(value.const_value.numpy(), value.name)
