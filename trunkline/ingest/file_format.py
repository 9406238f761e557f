"""The format of a file, by its first bytes, and what to do about those that are not read."""

from __future__ import annotations

from typing import Literal

from trunkline.errors import InvalidModel
from trunkline.ingest.foreign_formats import foreign

Format = Literal["onnx", "prototxt"]

HEAD_BYTES = 65536

_CAFFEMODEL = (b"\x0a", b"\xa2\x06")
"""A Caffe network's name, or its first layer: ONNX has neither field."""
_ONNX = frozenset(b"\x08\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2\xca")
"""First byte of each field an ONNX model has."""
# Tabs and line ends are control characters too, but texts have them.
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\v\f\r") + b"\x7f"


def tell_format(head: bytes, place: str) -> Format:
    """Return the format of a file that begins with ``head``.

    >>> tell_format(b'name: "net" layer { }', "net.prototxt")
    'prototxt'

    Raises:
        InvalidModel: It is not one of the formats that are read.
    """
    if not head.strip():
        raise InvalidModel("the file is empty", place=place, advice="copy or export it again")
    if kind := foreign(head):
        raise InvalidModel(f"is {kind.what}", place=place, advice=kind.advice)
    if head.translate(None, _CONTROL) == head:  # a text; protobuf's small numbers are control characters
        return "prototxt"
    if head.startswith(_CAFFEMODEL):
        advice = "give its prototxt, and this with --weights"
        raise InvalidModel("is a caffemodel: weights without their network", place=place, advice=advice)
    if head[0] in _ONNX:
        return "onnx"
    raise InvalidModel(
        "is neither an ONNX model nor a prototxt",
        place=place,
        advice="supported are ONNX files, Caffe prototxts, zoo:NAME",
    )
