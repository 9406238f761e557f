"""A file with a free image size, settled for one: then ONNX's inference knows every shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

Numbers = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def settle_size(proto: onnx.ModelProto, image: Sequence[int]) -> None:
    """Set the image's height and width in ``proto``, and compute the sizes that it would compute as it runs.

    Inference looks at stored sizes only, so each computed one is stored, and may settle the shapes that a further one
    is computed from.

    Args:
        proto: A model that Trunkline wrote, its batch axis set; its sizes are computed by Shape, Add and Concat alone.
        image: Height and width in pixels.
    """
    for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim[2:], image, strict=True):
        dim.dim_value = size
    while any(node.op_type == "Shape" for node in proto.graph.node):
        shapes = _known_shapes(proto)
        known = _small_numbers(proto.graph)
        count = len(proto.graph.node)
        for node in list(proto.graph.node):
            found = _computed(node, shapes, known)
            if found is not None:
                known[node.output[0]] = found
                proto.graph.initializer.append(numpy_helper.from_array(found, node.output[0]))
                proto.graph.node.remove(node)
        if len(proto.graph.node) == count:
            return


def _computed(node: onnx.NodeProto, shapes: Mapping[str, list[int]], known: Mapping[str, Numbers]) -> Numbers | None:
    if node.op_type == "Shape" and node.input[0] in shapes:
        bounds = {item.name: item.i for item in node.attribute}
        return np.array(shapes[node.input[0]][bounds.get("start", 0) : bounds.get("end")], np.int64)
    if node.op_type not in ("Add", "Concat") or any(name not in known for name in node.input):
        return None
    parts = [known[name] for name in node.input]
    return parts[0] + parts[1] if node.op_type == "Add" else np.concatenate(parts)


def _known_shapes(proto: onnx.ModelProto) -> dict[str, list[int]]:
    inferred = shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph
    shapes = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if all(sizes):
            shapes[value.name] = sizes
    return shapes


def _small_numbers(graph: onnx.GraphProto) -> dict[str, Numbers]:
    """Return the stored lists of whole numbers; no list of sizes is long."""
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT64 and len(tensor.dims) == 1 and tensor.dims[0] <= 16
    }
