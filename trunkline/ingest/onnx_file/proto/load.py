"""Load an ONNX file: from a path to an onnx-ir model whose every byte has been checked.

onnx-ir's own loader is not used: given a bare file name it skips every check of external data paths.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from trunkline.errors import InvalidModel, Problem
from trunkline.files.mapped import map_file
from trunkline.files.read import read_bytes
from trunkline.graph.fillers import FILLER_KEY
from trunkline.graph.marks import restore_marks
from trunkline.ingest.onnx_file.proto.external_data import (
    ByteRange,
    ExternalData,
    ExternalDataFault,
    external_data_error,
)
from trunkline.ingest.onnx_file.proto.inline_functions import inline_functions
from trunkline.ingest.onnx_file.proto.own_weights import LARGE_FILE_BYTES, OwnWeights, without_weights
from trunkline.ingest.onnx_file.proto.scan import scan
from trunkline.ingest.onnx_file.proto.tensors import bytes_of, is_external, is_packed, numpy_type
from trunkline.limits import Limits

_PROTOBUF_BYTES = 2**31
"""protobuf counts the bytes of a message in 31 bits."""


def load(path: Path, limits: Limits, prepare: Callable[[onnx.ModelProto], None] = lambda _: None) -> ir.Model:
    """Read and check an ONNX file. External weights are mapped, and read when first used.

    Args:
        path: The file.
        limits: What it may ask for.
        prepare: Changes the parsed file before it is checked: what it takes out need not be readable.

    Raises:
        InvalidModel: The file is not a good ONNX model, or its external data is not safe to read.
        UnsupportedOp: It holds operators that are not supported.
    """
    proto, own = _opened(path, limits)
    try:
        inline_functions(proto, limits, str(path))
        prepare(proto)  # before the scan: what a cut takes out need not be readable
        scan(proto, limits, str(path))
        arrays = _stored_elsewhere(proto.graph, path.absolute().parent.resolve(), limits, own)
        model = ir.from_proto(proto)
    except (UnicodeDecodeError, ValueError, TypeError, KeyError, ir.serde.SerdeError) as error:
        raise InvalidModel(f"is not a well-formed ONNX model: {_first_line(error)}", place=str(path)) from error
    # They take the place of onnx-ir's own external tensors, which do not check where a path leads.
    for name, tensor in arrays.items():
        model.graph.initializers[name].const_value = tensor
    _forget_fillers(model.graph)
    restore_marks(model)
    return model


def _parse(data: bytes, place: str) -> onnx.ModelProto:
    if not data:
        raise InvalidModel("the file is empty", place=place, advice="copy or export it again")
    if len(data) >= _PROTOBUF_BYTES:
        advice = "save it with external data: onnx.save(model, path, save_as_external_data=True)"
        raise InvalidModel("an ONNX file of 2 GiB or more cannot be parsed", place=place, advice=advice)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        advice = "it is not an ONNX model, or it was cut short: copy or export it again"
        raise InvalidModel("cannot be parsed as ONNX", place=place, advice=advice) from error
    return proto


def _opened(path: Path, limits: Limits) -> tuple[onnx.ModelProto, OwnWeights | None]:
    """Return the parsed file; a large one without its weights, which stay in the file."""
    # Reports what is wrong with a path that is no file, before stat does in its own words.
    read_bytes(path, limit_bytes=limits.file_bytes, head_bytes=1)
    if not LARGE_FILE_BYTES <= path.stat().st_size < _PROTOBUF_BYTES:
        return _parse(read_bytes(path, limit_bytes=limits.file_bytes), str(path)), None
    # From 2 GiB on the file goes to the parser whole, which refuses it: other tools could not read it either.
    shell, own = without_weights(map_file(path, limits.file_bytes), path)
    return _parse(shell, str(path)), own


def _stored_elsewhere(
    graph: onnx.GraphProto, folder: Path, limits: Limits, own: OwnWeights | None
) -> dict[str, ir.TensorProtocol]:
    """Return the tensors whose numbers were not parsed, by name: those in other files, and large ones of this file."""
    data = ExternalData(folder, limits)
    tensors: dict[str, ir.TensorProtocol] = {}
    problems: list[Problem] = []
    for tensor in filter(is_external, graph.initializer):
        if own is not None and tensor.name in own.places:
            tensors[tensor.name] = own.tensor(tensor, numpy_type(tensor), bytes_of(tensor))
            continue
        try:
            tensors[tensor.name] = _mapped(tensor, data)
        except ExternalDataFault as error:
            problems += external_data_error(error, tensor.name).problems
    if problems:
        raise InvalidModel(problems)
    return tensors


def _mapped(tensor: onnx.TensorProto, data: ExternalData) -> ir.TensorProtocol:
    kind, size = ir.DataType(tensor.data_type), bytes_of(tensor)
    window = ByteRange.of(tensor, size)
    if is_packed(tensor):  # numpy has no type of 4 bits
        content = data.array(window, [size], np.dtype(np.uint8))
        return ir.PackedTensor(content, kind, shape=ir.Shape(tensor.dims), name=tensor.name)
    return ir.Tensor(data.array(window, tensor.dims, numpy_type(tensor)), dtype=kind, name=tensor.name)


def _forget_fillers(graph: ir.Graph) -> None:
    """Remove notes that a weight is yet to be drawn: a file's weights are what they are."""
    for value in graph.initializers.values():
        value.metadata_props.pop(FILLER_KEY, None)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
