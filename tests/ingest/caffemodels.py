"""Caffemodels for tests, from two independent sources: a tiny encoder, and protobuf's runtime with Caffe's schema."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

INT, FLOAT, DOUBLE, TEXT, MESSAGE, INT64, ENUM = 5, 2, 1, 9, 11, 3, 5


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, content: bytes | int | str) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def floats(values: Iterable[float], *, packed: bool = True, number: int = 5, form: str = "<f") -> bytes:
    parts = [struct.pack(form, value) for value in values]
    if packed:
        return field(number, b"".join(parts))
    return b"".join(varint(number << 3 | (5 if form == "<f" else 1)) + part for part in parts)


def blob(array: np.ndarray[Any, Any], *, legacy: bool = False, packed: bool = True) -> bytes:
    data = floats(array.ravel().tolist(), packed=packed)
    if legacy:
        dims = (1,) * (4 - array.ndim) + array.shape
        return b"".join(field(index, size) for index, size in enumerate(dims, 1)) + data
    return field(7, field(1, b"".join(map(varint, array.shape)))) + data


def v2(name: str, *blobs: bytes, kind: str = "Convolution") -> bytes:
    return field(100, field(1, name) + field(2, kind) + b"".join(field(7, item) for item in blobs))


def v1(name: str, *blobs: bytes) -> bytes:
    return field(2, field(4, name) + field(5, 4) + b"".join(field(6, item) for item in blobs))


def v0(name: str, *blobs: bytes) -> bytes:
    return field(2, field(1, field(1, name) + field(2, "conv") + b"".join(field(50, item) for item in blobs)))


def net(*layers: bytes) -> bytes:
    return field(1, "net") + b"".join(layers)


_SCHEMA: dict[str, Sequence[tuple[str, int, int, bool, str, bool]]] = {
    # name, number, type, repeated, message type, packed. Only what weights need: any other field is opaque to both.
    "BlobShape": [("dim", 1, INT64, True, "", True)],
    "BlobProto": [
        ("num", 1, INT, False, "", False),
        ("channels", 2, INT, False, "", False),
        ("height", 3, INT, False, "", False),
        ("width", 4, INT, False, "", False),
        ("data", 5, FLOAT, True, "", True),
        ("shape", 7, MESSAGE, False, "BlobShape", False),
        ("double_data", 8, DOUBLE, True, "", True),
    ],
    "LayerParameter": [
        ("name", 1, TEXT, False, "", False),
        ("type", 2, TEXT, False, "", False),
        ("bottom", 3, TEXT, True, "", False),
        ("top", 4, TEXT, True, "", False),
        ("blobs", 7, MESSAGE, True, "BlobProto", False),
    ],
    "V0LayerParameter": [("name", 1, TEXT, False, "", False), ("blobs", 50, MESSAGE, True, "BlobProto", False)],
    "V1LayerParameter": [
        ("layer", 1, MESSAGE, False, "V0LayerParameter", False),
        ("name", 4, TEXT, False, "", False),
        ("type", 5, ENUM, False, "", False),
        ("blobs", 6, MESSAGE, True, "BlobProto", False),
    ],
    "NetParameter": [
        ("name", 1, TEXT, False, "", False),
        ("layers", 2, MESSAGE, True, "V1LayerParameter", False),
        ("input", 3, TEXT, True, "", False),
        ("layer", 100, MESSAGE, True, "LayerParameter", False),
    ],
}


@cache
def net_parameter() -> Any:
    """Return protobuf's class of a NetParameter."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe_weights.proto", package="caffe_weights", syntax="proto2")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for label, number, kind, repeated, other, packed in fields:
            item = message.field.add(name=label, number=number, type=kind, label=3 if repeated else 1)
            if other:
                item.type_name = f".caffe_weights.{other}"
            item.options.packed = packed
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe_weights.NetParameter"))


def parsed(data: bytes) -> list[tuple[str, list[np.ndarray[Any, Any]]]]:
    """Return the layers that hold blobs as protobuf's runtime reads them; raises its ``DecodeError``."""
    message = net_parameter().FromString(data)
    layers = []
    # Both generations in the order V1, V2: protobuf does not keep the order between different fields.
    for layer in [*message.layers, *message.layer]:
        inner = layer.layer if layer.DESCRIPTOR.name == "V1LayerParameter" and layer.HasField("layer") else None
        blobs = [*(inner.blobs if inner is not None else ()), *layer.blobs]
        name = layer.name or (inner.name if inner is not None else "")
        if blobs:
            # The runtime gives bytes where a string is no UTF-8.
            name = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
            layers.append((name, [_array(item) for item in blobs]))
    return layers


def _array(item: Any) -> np.ndarray[Any, Any]:
    legacy = ("num", "channels", "height", "width")
    old = any(item.HasField(name) for name in legacy)
    shape = [getattr(item, name) for name in legacy] if old else list(item.shape.dim)
    return np.array(item.double_data or item.data, np.float32).reshape(shape)
