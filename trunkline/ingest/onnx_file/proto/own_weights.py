"""Large weights of an ONNX file, left in the file until they are used.

Protobuf copies a file of weights twice, as bytes and as messages, before anything of it can be read. So the weights
of a large file are passed over: the file is parsed without them, and each is read from its place whenever it is used.
The file is then their one lasting copy, as with a caffemodel.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.files.mapped import map_file
from trunkline.files.wire import BYTES, Wire, WireFault, WireField, message
from trunkline.text import shape_text

LARGE_FILE_BYTES = 2**25
"""Smaller files are parsed whole: their copies are small, and walking a file field by field takes its time."""

_LARGE_WEIGHT_BYTES = 2**16
"""Smaller weights are parsed: all together they are a small part of a large file."""
_MOST_FIELDS = 2**22
# WireField numbers of onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
_TENSOR_NAME, _TENSOR_RAW_DATA, _TENSOR_EXTERNAL_DATA, _TENSOR_LOCATION = 8, 9, 13, 14


class OwnWeights:
    """The large weights of one file: where they lie in it, by name.

    The file stays open, so that a new file under its name changes nothing; one that was changed in place is noticed.

    Attributes:
        path: The file the weights lie in.
        places: By a weight's name, its offset in the file and its number of bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[str, tuple[int, int]] = {}
        # Neither flag exists on every system: one keeps a pipe from blocking, the other keeps Windows from text mode.
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)
        self._status = _age(self._file)
        self._lock = Lock()  # seeking and reading are two calls on one descriptor

    def tensor(self, stored: onnx.TensorProto, dtype: np.dtype[Any], nbytes: int) -> ir.LazyTensor:
        """Return a tensor that reads its numbers from the file whenever it is used.

        Raises:
            InvalidModel: The file holds more or fewer bytes of it than shape and type need.
        """
        name, shape = stored.name, tuple(stored.dims)
        offset, length = self.places[name]
        if length != nbytes:
            text = f"tensor of shape {shape_text(shape)} needs {nbytes:,} bytes, the file holds {length:,}"
            raise InvalidModel(text, place=name)
        kind = ir.DataType(stored.data_type)

        def read() -> ir.TensorProtocol:
            content = self._read(offset, length).view(dtype.newbyteorder("<"))
            return ir.Tensor(content.reshape(shape), dtype=kind, name=name)

        # Cached, every weight that was once used would stay in memory.
        return ir.LazyTensor(read, kind, ir.Shape(shape), cache=False, name=name)

    def _read(self, offset: int, length: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        content = np.empty(length, np.uint8)
        left = content.data
        with self._lock:
            if _age(self._file) != self._status:
                advice = "leave it as it is until the work is done"
                raise InvalidModel("was changed since it was opened", place=str(self.path), advice=advice)
            os.lseek(self._file, offset, os.SEEK_SET)
            with open(self._file, "rb", buffering=0, closefd=False) as file:
                while left:  # the system gives at most 2 GiB at once, and may give less
                    left = left[file.readinto(left) or len(left) :]
        return content


def _age(file: int) -> tuple[int, int]:
    status = os.fstat(file)
    return status.st_size, status.st_mtime_ns


def without_weights(data: memoryview, path: Path) -> tuple[bytes, OwnWeights]:
    """Return an ONNX file without its large weights, and where they are.

    Args:
        data: The content of the file, mapped: what is passed over is not read.
        path: The file.

    Returns:
        The bytes of a model in which the data of each such weight lies elsewhere. A file that cannot be walked is
        returned whole: then the parser reports what is wrong with it.
    """
    own = OwnWeights(path.absolute())
    wire = Wire(data, _MOST_FIELDS)
    try:
        fields = list(wire.fields(0, len(data)))
        graphs = [item for item in fields if item.number == _MODEL_GRAPH]
        if len(graphs) != 1 or graphs[0].wire != BYTES:
            return bytes(data), own  # protobuf merges two messages of one field, which is the parser's business
        graph = b"".join(_graph_parts(wire, graphs[0], own))
    except (WireFault, UnicodeDecodeError):
        own.places.clear()
        return bytes(data), own
    rest = b"".join(bytes(data[item.at : item.end]) for item in fields if item is not graphs[0])
    return rest + message(_MODEL_GRAPH, graph), own


def open_shell(path: Path) -> tuple[onnx.ModelProto, OwnWeights]:
    """Return a file of our own that is parsed without its large weights, and where these are."""
    data, own = without_weights(map_file(path, path.stat().st_size), path)
    return onnx.ModelProto.FromString(data), own


def _graph_parts(wire: Wire, graph: WireField, own: OwnWeights) -> Sequence[bytes]:
    """Return the fields of a graph as they are, but for large weights, of which a shell is left."""
    parts = []
    for item in wire.fields(graph.start, graph.end):
        is_weight = item.number == _GRAPH_INITIALIZER and item.wire == BYTES
        is_large = item.end - item.start > _LARGE_WEIGHT_BYTES
        shell = _shell(wire, item, own) if is_weight and is_large else None
        if shell is None:
            parts.append(bytes(wire.data[item.at : item.end]))
        else:
            parts.append(message(_GRAPH_INITIALIZER, shell))
    return parts


def _shell(wire: Wire, tensor: WireField, own: OwnWeights) -> bytes | None:
    """Return a tensor without its bytes, whose place is kept; ``None`` for one that does not hold plain bytes."""
    fields = list(wire.fields(tensor.start, tensor.end))
    content = [item for item in fields if item.number == _TENSOR_RAW_DATA]
    names = [item for item in fields if item.number == _TENSOR_NAME]
    is_plain = not any(item.number in (_TENSOR_EXTERNAL_DATA, _TENSOR_LOCATION) for item in fields)
    if len(content) != 1 or len(names) != 1 or not is_plain:
        return None
    name = bytes(wire.data[names[0].start : names[0].end]).decode()
    own.places[name] = (content[0].start, content[0].end - content[0].start)
    elsewhere = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    elsewhere.external_data.add(key="location", value=own.path.name)
    kept = (bytes(wire.data[item.at : item.end]) for item in fields if item is not content[0])
    text: bytes = elsewhere.SerializeToString()
    return b"".join([*kept, text])
