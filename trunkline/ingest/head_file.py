"""A task's head from the user's own file: a network of feature maps in place of an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from trunkline.errors import InvalidModel
from trunkline.files.read import in_file, read_bytes
from trunkline.graph.budget_check import check_budget
from trunkline.graph.graph import Graph
from trunkline.graph.verify import verify
from trunkline.ingest.file_format import HEAD_BYTES, tell_format
from trunkline.ingest.onnx_file.reader import read_onnx
from trunkline.ingest.read import read
from trunkline.limits import DEFAULT_LIMITS, Limits


def maps_read(path: Path, limits: Limits = DEFAULT_LIMITS) -> int:
    """Return how many feature maps the head in ``path`` reads: its inputs, of which a prototxt has one.

    Raises:
        InvalidModel: The file cannot be read.
    """
    if not _is_onnx(path, limits):
        return 1
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(read_bytes(path, limit_bytes=limits.file_bytes))
    except DecodeError as error:
        raise InvalidModel("cannot be parsed as ONNX", place=str(path)) from error
    # Up to IR version 3, weights were listed among the inputs too.
    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value.name for value in proto.graph.input if value.name not in stored]
    return max(1, len(inputs))


def read_head(path: Path, maps: Sequence[tuple[int, int, int]], limits: Limits = DEFAULT_LIMITS) -> Graph:
    """Read the head in ``path`` for feature maps of these sizes ``[C, h, w]``, one for each of its inputs in order.

    Raises:
        InvalidModel: The file cannot be read, or does not take such maps.
        UnsupportedOp: It holds operators that are not supported.
    """
    if not _is_onnx(path, limits):
        # A prototxt head has one input, and a head of one map reads the coarsest, which is the last.
        return read(path, input_size=maps[-1][1:], limits=limits)
    with in_file(path):
        graph = read_onnx(path, limits=limits, maps=maps)
        return check_budget(verify(graph, maps=len(maps)), limits, str(path))


def _is_onnx(path: Path, limits: Limits) -> bool:
    head = read_bytes(path, limit_bytes=limits.file_bytes, head_bytes=HEAD_BYTES)
    return tell_format(head, str(path)) == "onnx"
