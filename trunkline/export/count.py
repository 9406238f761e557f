"""Count what an ONNX file executes and stores, from the file alone.

Nothing here looks at a Graph or a plan: shapes come from ONNX's own inference on the file, so the figures are an
independent check of what was predicted for it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper, shape_inference

from trunkline.export.settled_size import settle_size
from trunkline.graph.einsum import einsum_macs
from trunkline.graph.graph import CONSTANT, ROLE_KEY
from trunkline.graph.marks import marked
from trunkline.graph.roles import ARITHMETIC
from trunkline.ingest.onnx_file.proto.own_weights import open_shell
from trunkline.ingest.onnx_file.proto.stored_values import stored_values

_SETTINGS: Mapping[str, tuple[int, ...]] = {"Clip": (1, 2), "Dropout": (1,), "Pad": (2,), "Resize": (1, 2)}
"""Float inputs that an operator reads as settings, not as weights."""

_STATISTICS: Mapping[str, tuple[int, ...]] = {"BatchNormalization": (3, 4)}
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})
_SMALL = 4096
"""Elements; a longer initializer never steers shape inference, so its content is left out of it."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class FileCount:
    """What one ONNX file holds.

    Attributes:
        macs: Multiply-accumulates of one run, in convolutions and matrix products. What depends on stored tensors
            alone is computed when the file is loaded.
        parameters: Distinct float numbers stored, without running statistics, operator settings and constants.
        weight_bytes: Bytes of all initializers.
        nodes: Number of nodes.
        ops: Number of nodes per operator.
    """

    macs: int
    parameters: int
    weight_bytes: int
    nodes: int
    ops: Mapping[str, int]


def count_file(
    model: str | Path | bytes | onnx.ModelProto, *, batch: int = 1, image: tuple[int, int] | None = None
) -> FileCount:
    """Count an ONNX file for a batch of ``batch`` images.

    Args:
        model: The file, its bytes, or what is in it.
        batch: Number of images.
        image: Height and width of an image, where the file leaves them free.

    Raises:
        ValueError: The shape of a value that is needed cannot be inferred.
    """
    proto = _load(model)
    nodes = list(proto.graph.node)
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    # A runtime computes what depends on stored tensors alone (a standardised weight) once, when it loads the file.
    at_load, parameters = stored_values(proto.graph), _parameters(proto)
    shapes = _shapes(proto, batch, image)
    return FileCount(
        macs=sum(node_macs(node, shapes) for node in nodes if not at_load.issuperset(node.output)),
        parameters=sum(math.prod(stored[name].dims) for name in parameters),
        weight_bytes=sum(math.prod(tensor.dims) * _item_bytes(tensor.data_type) for tensor in stored.values()),
        nodes=len(nodes),
        ops=dict(sorted(Counter(node.op_type for node in nodes).items())),
    )


def node_macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Return a node's multiply-accumulates: per weight element of one output, or (transposed) of one input."""
    # One number of the output takes a product for each number of its filter [C/group, h, w].
    if node.op_type == "Conv":
        return math.prod(_shape(shapes, node.output[0])) * math.prod(_shape(shapes, node.input[1])[1:])
    # Here one number of the input is spread over the output, by a filter [M/group, h, w].
    if node.op_type == "ConvTranspose":
        return math.prod(_shape(shapes, node.input[0])) * math.prod(_shape(shapes, node.input[1])[1:])
    if node.op_type == "MatMul":
        return math.prod(_shape(shapes, node.output[0])) * _shape(shapes, node.input[0])[-1]
    if node.op_type == "Gemm":
        transposed = any(item.name == "transA" and item.i for item in node.attribute)
        summed = 0 if transposed else 1
        return math.prod(_shape(shapes, node.output[0])) * _shape(shapes, node.input[0])[summed]
    if node.op_type == "Einsum":
        equation = next(item.s.decode() for item in node.attribute if item.name == "equation")
        return einsum_macs(equation, [_shape(shapes, name) for name in node.input])
    return 0


def _load(model: str | Path | bytes | onnx.ModelProto) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    if isinstance(model, onnx.ModelProto):
        proto.CopyFrom(model)
        return proto
    if isinstance(model, bytes):
        proto.ParseFromString(model)
        return proto
    return open_shell(Path(model))[0]


def _shapes(proto: onnx.ModelProto, batch: int, image: tuple[int, int] | None) -> dict[str, tuple[int, ...]]:
    """Infer every shape with the batch axis fixed; the shapes that the file declares for its values are not used.

    ``proto`` is changed: free sizes are settled in it, and large tensors lose their content.
    """
    proto.graph.ClearField("value_info")
    if image is not None:
        _settle(proto, batch, image)
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = batch
    for tensor in proto.graph.initializer:
        if math.prod(tensor.dims) > _SMALL:
            _forget_content(tensor)
    inferred = shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    # Initializers need not be among the inputs since IR version 4, so inference lists no shape for them.
    shapes = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return shapes


def _settle(proto: onnx.ModelProto, batch: int, image: tuple[int, int]) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    for value in proto.graph.output:  # what is declared free here is inferred
        value.type.tensor_type.ClearField("shape")
    settle_size(proto, image)


def _forget_content(tensor: onnx.TensorProto) -> None:
    """Keep only type and dims: inference copies the whole message, and weights may be gigabytes."""
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "external_data"):
        tensor.ClearField(field)
    tensor.ClearField("data_location")


def _parameters(proto: onnx.ModelProto) -> set[str]:
    """Return the names of float initializers that some node reads as a weight.

    A number without axes in arithmetic is part of a formula, and so is what the file marks as constant.
    """
    roles = marked({item.key: item.value for item in proto.metadata_props}, ROLE_KEY)
    axes = {}
    for tensor in proto.graph.initializer:
        if tensor.data_type in _FLOATS and roles.get(tensor.name) != CONSTANT:
            axes[tensor.name] = len(tensor.dims)
    used = set()
    for node in proto.graph.node:
        passive = (*_SETTINGS.get(node.op_type, ()), *_STATISTICS.get(node.op_type, ()))
        for index, name in enumerate(node.input):
            if name not in axes or index in passive:
                continue
            # A scale that trains may have no axes either; then the file marks it as a parameter.
            in_formula = node.op_type in ARITHMETIC and not axes[name] and name not in roles
            if not in_formula:
                used.add(name)
    return used


def _shape(shapes: Shapes, name: str) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None or not all(shape):
        raise ValueError(f"the shape of {name!r} cannot be inferred from the file")
    return shape


def _item_bytes(data_type: int) -> int:
    return helper.tensor_dtype_to_np_dtype(data_type).itemsize
