"""Formats that are not read, by their first bytes, each with what to do about it. Nothing is unpacked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_EXPORT = "export the network to ONNX: torch.onnx.export(...)"
_PICKLE = f"files with Python objects are never loaded, because loading runs them; {_EXPORT}"
_TENSORFLOW = "export the network to ONNX, with tf2onnx"
_WEIGHTS = "give the network; weights alone are not one"
_ORIGINAL = "give the ONNX file it was made from"
_DOWNLOAD = "a download that went wrong looks like this: fetch the file itself, and look inside"
_UNPACK = "unpack it first"


class Foreign(NamedTuple):
    """A format, named as in "is a pickle", and what to do with a file of it."""

    what: str
    advice: str


_MAGIC: Sequence[tuple[int, bytes, Foreign]] = (
    (0, b"version https://git-lfs", Foreign("a pointer of Git LFS, not the file", "fetch the file: git lfs pull")),
    (0, b"PK\x05\x06", Foreign("an empty zip archive", _DOWNLOAD)),
    # A pickle of protocol 2 or later begins with its protocol's number.
    (0, b"\x80\x02", Foreign("a pickle", _PICKLE)),
    (0, b"\x80\x03", Foreign("a pickle", _PICKLE)),
    (0, b"\x80\x04", Foreign("a pickle", _PICKLE)),
    (0, b"\x80\x05", Foreign("a pickle", _PICKLE)),
    (0, b"\x1f\x8b", Foreign("compressed with gzip", f"{_UNPACK}: gunzip")),
    (0, b"BZh", Foreign("compressed with bzip2", f"{_UNPACK}: bunzip2")),
    (0, b"\xfd7zXZ\0", Foreign("compressed with xz", f"{_UNPACK}: unxz")),
    (0, b"(\xb5/\xfd", Foreign("compressed with Zstandard", f"{_UNPACK}: unzstd")),
    (0, b"7z\xbc\xaf", Foreign("a 7-Zip archive", _UNPACK)),
    (0, b"Rar!", Foreign("a RAR archive", _UNPACK)),
    # A tar archive begins with its first file's name and rights.
    (257, b"ustar", Foreign("a tar archive", f"{_UNPACK}: tar xf")),
    (0, b"\x93NUMPY", Foreign("a NumPy array", _WEIGHTS)),
    (0, b"\x89HDF\r\n", Foreign("a Keras or HDF5 file", _TENSORFLOW)),
    (0, b"GGUF", Foreign("a GGUF file: weights of a language model", _WEIGHTS)),
    (0, b"MATLAB 5.0", Foreign("a MATLAB file", _WEIGHTS)),
    (0, b"ftrt", Foreign("a TensorRT engine", _ORIGINAL)),
    (0, b"ptrt", Foreign("a TensorRT engine", _ORIGINAL)),
    # FlatBuffers have the place of their root first, then four letters for their schema.
    (4, b"TFL", Foreign("a TensorFlow Lite model", f"{_ORIGINAL}, or {_TENSORFLOW}")),
    (4, b"ORTM", Foreign("a model in ONNX Runtime's own format", _ORIGINAL)),
    (4, b"ET12", Foreign("an ExecuTorch program", _EXPORT)),
    (0, b"RKNN", Foreign("an RKNN model", _ORIGINAL)),
    (0, b"\x89PNG", Foreign("a PNG picture", _DOWNLOAD)),
    (0, b"\xff\xd8\xff", Foreign("a JPEG picture", _DOWNLOAD)),
    (0, b"%PDF", Foreign("a PDF document", _DOWNLOAD)),
    (0, b"\x7fELF", Foreign("a program or library", _ORIGINAL)),
    (0, b"MZ", Foreign("a program or library", _ORIGINAL)),
    (0, b"#!", Foreign("a script", "give the model file itself; nothing is run")),
    # ncnn's param files are text that begins with this number.
    (0, b"7767517", Foreign("an ncnn network", _ORIGINAL)),
    (0, b"\xff\xfe", Foreign("text in UTF-16", "save it as UTF-8")),
    (0, b"\xfe\xff", Foreign("text in UTF-16", "save it as UTF-8")),
    (8, b'{"', Foreign("a safetensors file: weights without a network", "give the network, and this with --weights")),
)
_ZIPPED: Sequence[tuple[bytes, Foreign]] = (
    (b"data.pkl", Foreign("a torch archive", _PICKLE)),
    (b"constants.pkl", Foreign("a TorchScript archive", _PICKLE)),
    (b"serialized_exported_program", Foreign("a torch.export archive", _EXPORT)),
    (b"model.weights.h5", Foreign("a Keras model", _TENSORFLOW)),
    (b".npy", Foreign("a NumPy archive", _WEIGHTS)),
    (b"", Foreign("a zip archive", f"{_UNPACK}; {_PICKLE}")),
)
"""By a name inside the archive, which its first bytes show. The first one found counts; the last fits any."""
_TEXT: Sequence[tuple[re.Pattern[bytes], Foreign]] = (
    (
        re.compile(rb"<\s*(?:ir_version|opset_import)\b"),
        Foreign("ONNX in its text form", "save it as binary: onnx.save(onnx.parser.parse_model(text), path)"),
    ),
    (
        re.compile(rb"(?:ir_version|producer_name|opset_import)\s*[:{]"),
        Foreign("ONNX as protobuf text", 'save it as binary: onnx.save(onnx.load(path, format="textproto"), out)'),
    ),
    (
        re.compile(rb"<(?:[^<]*<)?net\b"),
        Foreign("an OpenVINO network", f"{_ORIGINAL}; OpenVINO's own form is not read"),
    ),
    (re.compile(rb"(?i)<(?:!doctype html|html|head|body)\b"), Foreign("a web page", _DOWNLOAD)),
    (re.compile(rb"<"), Foreign("XML or a web page", _DOWNLOAD)),
    (re.compile(rb"\[net(?:work)?\]"), Foreign("a Darknet configuration", "export the network to ONNX")),
    (
        re.compile(rb"[\[{]\s*[\"\[{\]}0-9]"),
        Foreign("JSON", "give a model file; plans and layouts have options of their own"),
    ),
)


def foreign(head: bytes) -> Foreign | None:
    """Return the format of a file that begins with ``head``, if it is one that is known and not read.

    >>> foreign(b"GGUF")
    Foreign(what='a GGUF file: weights of a language model', advice='give the network; weights alone are not one')
    >>> foreign(b'name: "a prototxt"') is None
    True
    """
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return next(kind for name, kind in _ZIPPED if name in head)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for form, kind in _TEXT if form.match(text)), None) or _protobuf(head)


def _protobuf(head: bytes) -> Foreign | None:
    """Return which program's protobuf file this is, by what its first field holds."""
    # A first field 1 that is itself a message: ONNX has a number there, and a Caffe network a name.
    number, start = _length(head, 1)
    inner = head[start : start + 1]
    if head.startswith(b"\x0a") and number and inner == b"\x0a":
        return Foreign("a frozen TensorFlow graph", _TENSORFLOW)
    if head.startswith(b"\x0a") and number and inner == b"\x08":
        return Foreign("a PaddlePaddle model", "export the network to ONNX, with paddle2onnx")
    if head[:1] == b"\x08" and head[2:3] == b"\x12":
        _, start = _length(head, 3)
        if head[start : start + 1] == b"\x0a":  # ONNX has text there, and no program's name begins with a line break
            return Foreign("a Core ML model or a TensorFlow SavedModel", f"{_ORIGINAL}, or {_TENSORFLOW}")
    return None


def _length(head: bytes, at: int) -> tuple[int, int]:
    """Return the length that protobuf wrote at ``at`` as a varint, and where the content that long begins."""
    value = 0
    for index, byte in enumerate(head[at : at + 5]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    return 0, at
