"""The inputs of an ONNX file by its own words, for runtimes that do not tell the names of its axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from trunkline.bench.runtimes.fill import fill
from trunkline.bench.runtimes.inputs import Declared, FedInput, Feeds, make_feeds
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidModel, first_line
from trunkline.graph.graph import Graph


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model as it is stored, with numbers for its inputs.

    Attributes:
        place: What messages call it.
        content: Its bytes, as ONNX stores it; weights that a file has beside it stay there.
        inputs: What it is fed with.
        feeds: Numbers for them.
        output_names: In order.
    """

    place: str
    content: bytes
    inputs: tuple[FedInput, ...]
    feeds: Feeds
    output_names: tuple[str, ...]


def open_model(model: Path | Graph, settings: Settings) -> OpenedModel:
    """Read a model, and make its inputs.

    Raises:
        InvalidModel: It cannot be read, it is no ONNX model, or its inputs cannot be made.
    """
    place = model.name if isinstance(model, Graph) else str(model)
    content = model_bytes(model)
    declared, output_names = declared_inputs(content, place=place)
    inputs = fill(declared, settings, place=place)
    feeds = make_feeds(inputs, settings, place=place)
    return OpenedModel(place, content, inputs, feeds, tuple(output_names))


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
