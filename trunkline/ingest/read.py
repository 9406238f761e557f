"""The one door: from a path, or a packaged network's name, to a verified Graph."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import InvalidModel
from trunkline.ingest.graph import Graph
from trunkline.ingest.limits import Limits
from trunkline.ingest.onnx_file.door import read_bytes
from trunkline.ingest.onnx_file.sniff import HEAD_BYTES, tell_format
from trunkline.ingest.verify import verify

ZOO = "zoo:"


def read(path: str | Path, *, input_size: tuple[int, int] | None = None, limits: Limits | None = None) -> Graph:
    """Read a network from an ONNX file, a Caffe prototxt, or the packaged ``zoo:NAME``.

    The format is told by the content, not by the suffix.

    Args:
        path: The file, or ``zoo:`` and a name.
        input_size: Height and width in pixels, in place of the file's own.
        limits: What the file may ask for; the defaults where none are given.

    Raises:
        InvalidModel: It cannot be read, is in no format that is supported, or breaks a rule.
        UnsupportedOp: It holds operators or layers that are not supported.
    """
    limits = limits or Limits()
    file = _locate(path)
    if input_size is not None and min(input_size) < 1:
        raise InvalidModel(f"input size {input_size}; at least 1 pixel was expected", advice="--input-size H,W")
    if _is_onnx(file, limits):
        from trunkline.ingest.onnx_file.reader import read_onnx

        return verify(read_onnx(file, input_size=input_size, limits=limits))
    from trunkline.ingest.prototxt.reader import read_prototxt

    graph = verify(read_prototxt(file, input_size=input_size))
    # Notes tell users about their own files; in a packaged one there is nothing for them to know or mend.
    return Graph(graph.model) if str(path).startswith(ZOO) else graph


def _is_onnx(file: Path, limits: Limits) -> bool:
    head = read_bytes(file, limit_bytes=limits.file_bytes, head_bytes=HEAD_BYTES)
    return tell_format(head, str(file)) == "onnx"


def _locate(path: str | Path) -> Path:
    text = str(path)
    if not text.startswith(ZOO):
        return Path(path)
    from trunkline.ingest import zoo

    return Path(zoo.path(text.removeprefix(ZOO)))
