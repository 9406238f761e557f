"""Layers with blobs → caffemodel: the messages around the numbers, and then the numbers, one blob at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from trunkline.errors import InvalidModel
from trunkline.files.wire import head, message, varint
from trunkline.ingest.prototxt.writer.net import CaffeBlob, CaffeLayer, CaffeNet

_NET_NAME, _NET_LAYER = 1, 100
_NAME, _TYPE, _BOTTOM, _TOP, _BLOBS = 1, 2, 3, 4, 7
_DATA, _SHAPE, _DIM = 5, 7, 1
_MOST_BYTES = 2**31 - 1
"""Protobuf reads no larger message, so Caffe reads no larger file."""


def write_caffemodel(net: CaffeNet, file: BinaryIO) -> None:
    """Write the weights of ``net`` in Caffe's V2 format, float32, bit for bit; each is read just before it is written.

    Raises:
        InvalidModel: They are more than a caffemodel can hold.
    """
    # A message's length comes before its content, so all sizes are known before any number is read.
    layers = [(layer, _head(layer)) for layer in net.layers]
    sizes = [len(start) + sum(map(_blob_bytes, layer.blobs)) for layer, start in layers]
    total = sum(sizes)
    if total > _MOST_BYTES:
        advice = "convert to ONNX instead, which keeps weights beside the file"
        raise InvalidModel(f"{total:,} bytes of weights; a caffemodel holds at most {_MOST_BYTES:,}", advice=advice)
    file.write(message(_NET_NAME, net.name.encode()))
    for (layer, start), size in zip(layers, sizes, strict=True):
        file.write(head(_NET_LAYER, size) + start)
        for part in _parts(layer.blobs):
            file.write(part)


def _head(layer: CaffeLayer) -> bytes:
    texts = [(_NAME, layer.name), (_TYPE, layer.type)]
    texts += [(_BOTTOM, name) for name in layer.bottoms] + [(_TOP, name) for name in layer.tops]
    return b"".join(message(number, text.encode()) for number, text in texts)


def _parts(blobs: Sequence[CaffeBlob]) -> Iterator[bytes | memoryview]:
    for blob in blobs:
        content = np.ascontiguousarray(blob.tensor.numpy(), dtype="<f4")
        if content.size != blob.size:
            raise ValueError(f"{blob.weight}: {content.size} numbers for a blob of {blob.size}")
        yield head(_BLOBS, _inner_bytes(blob)) + _blob_head(blob)
        yield content.reshape(-1).view(np.uint8).data


def _blob_head(blob: CaffeBlob) -> bytes:
    # Packed, and left out where there are no axes, as protobuf writes it.
    shape = message(_DIM, b"".join(map(varint, blob.shape))) if blob.shape else b""
    return message(_SHAPE, shape) + head(_DATA, 4 * blob.size)


def _inner_bytes(blob: CaffeBlob) -> int:
    return len(_blob_head(blob)) + 4 * blob.size


def _blob_bytes(blob: CaffeBlob) -> int:
    inner = _inner_bytes(blob)
    return len(head(_BLOBS, inner)) + inner
