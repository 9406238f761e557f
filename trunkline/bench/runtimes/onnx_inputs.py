"""The inputs of an ONNX file by its own words, for runtimes that do not tell the names of its axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from trunkline.bench.runtimes.inputs import Declared
from trunkline.errors import InvalidModel, first_line
from trunkline.graph.graph import Graph


def model_bytes(model: Path | Graph) -> bytes:
    """Return a model as ONNX stores it; weights that a file has beside it stay there.

    Raises:
        InvalidModel: The file cannot be read.
    """
    if isinstance(model, Graph):
        import onnx_ir as ir  # only for models that are not files

        content: bytes = ir.to_proto(model.model).SerializeToString()
        return content
    try:
        return model.read_bytes()
    except OSError as error:
        raise InvalidModel(f"it cannot be read: {error.strerror}", place=str(model)) from error


def declared_inputs(content: bytes, *, place: str) -> tuple[list[Declared], list[str]]:
    """Return what a model reads, and the names of its outputs in order.

    Raises:
        InvalidModel: It is no ONNX model, or an input has no type that numpy knows.
    """
    try:
        graph = onnx.load_model_from_string(content).graph
    # protobuf's error has another base in each of its implementations.
    except Exception as error:
        raise InvalidModel(f"it is no ONNX model: {first_line(error)}", place=place) from error
    # Until IR version 3 weights are inputs too.
    stored = {tensor.name for tensor in graph.initializer}
    return [_declared(one, place) for one in graph.input if one.name not in stored], [one.name for one in graph.output]


def _declared(one: onnx.ValueInfoProto, place: str) -> Declared:
    tensor = one.type.tensor_type
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError as error:
        raise InvalidModel(f'input "{one.name}" has a type that the bench cannot draw', place=place) from error
    shape = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None for axis in tensor.shape.dim]
    return Declared(one.name, tuple(shape), dtype)
