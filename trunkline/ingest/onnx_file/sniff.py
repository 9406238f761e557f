"""Tell the format of a file by its first bytes, and say what to do about those that are not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from trunkline.errors import InvalidModel

Format = Literal["onnx", "prototxt"]

HEAD_BYTES = 65536

_PICKLE = "files with Python objects are never loaded, because loading runs them; export it: torch.onnx.export(...)"
_OTHERS: Mapping[bytes, tuple[str, str]] = {
    b"PK\x03\x04": ("a torch or zip archive", _PICKLE),
    b"PK\x05\x06": ("an empty zip archive", _PICKLE),
    b"\x80\x02": ("a pickle", _PICKLE),
    b"\x80\x03": ("a pickle", _PICKLE),
    b"\x80\x04": ("a pickle", _PICKLE),
    b"\x80\x05": ("a pickle", _PICKLE),
    b"\x1f\x8b": ("compressed with gzip", "unpack it: gunzip"),
    b"\x93NUMPY": ("a NumPy array", "give the network; weights alone are not one"),
    b"\x89HDF": ("a Keras or HDF5 file", "export the network to ONNX, with tf2onnx"),
    b"ftrt": ("a TensorRT engine", "give the ONNX file it was built from"),
    b"version https://git-lfs": ("a pointer of Git LFS, not the file", "fetch the file: git lfs pull"),
    b"\xff\xfe": ("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
}
_CAFFEMODEL = (b"\x0a", b"\xa2\x06")
"""A Caffe network's name, or its first layer: ONNX has neither field."""
_ONNX = frozenset(b"\x08\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2\xca")
"""First byte of each field an ONNX model has."""
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\v\f\r") + b"\x7f"


def tell_format(head: bytes, place: str) -> Format:
    """Return the format of a file that begins with ``head``.

    Raises:
        InvalidModel: It is not one of the formats that are read.
    """
    if not head.strip():
        raise InvalidModel("the file is empty", place=place, advice="copy or export it again")
    for prefix, (what, advice) in _OTHERS.items():
        if head.startswith(prefix):
            raise InvalidModel(f"is {what}", place=place, advice=advice)
    if head.startswith(b"<") or head[8:10] == b'{"':
        what = "a web page or XML" if head.startswith(b"<") else "a safetensors file: weights without a network"
        raise InvalidModel(f"is {what}", place=place, advice="give an ONNX file or a Caffe prototxt")
    if head.translate(None, _CONTROL) == head:
        return "prototxt"
    if head.startswith(_CAFFEMODEL):
        advice = "give its prototxt; weights of this format are not read yet"
        raise InvalidModel("is a caffemodel: weights without their network", place=place, advice=advice)
    if head[0] in _ONNX:
        return "onnx"
    raise InvalidModel(
        "is neither an ONNX model nor a prototxt",
        place=place,
        advice="supported are ONNX files, Caffe prototxts, zoo:NAME",
    )
