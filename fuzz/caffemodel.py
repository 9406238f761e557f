"""The caffemodel reader: bytes → layers and blobs → weights, with a mutator that knows the wire format."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random

from fuzz.bytes_mutator import mutate_bytes
from fuzz.target import Target
from trunkline.graph.graph import Graph
from trunkline.ingest.caffemodel import read_caffemodel_bytes
from trunkline.ingest.caffemodel.match import match
from trunkline.ingest.prototxt import parse_prototxt
from trunkline.limits import Limits

CORPUS = Path(__file__).parents[1] / "tests" / "corpus" / "fuzz" / "caffemodel"
LIMITS = Limits(file_bytes=2**20, tokens=5000, nodes=200, tensor_elements=2**20, total_elements=2**21)
NETWORK = """
input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" batch_norm_param { use_global_stats: true } }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true } }
layer { name: "prelu" type: "PReLU" bottom: "scale" top: "prelu" }
layer { name: "ip" type: "InnerProduct" bottom: "prelu" top: "ip" inner_product_param { num_output: 2 } }
"""
_SIZES = (0, 1, 2, 3, 4, 127, 128, 255, 2**14, 2**21, 2**28, 2**31 - 1, 2**31, 2**32, 2**35, 2**62, 2**63, 2**64 - 1)
_BLOBS: Mapping[bytes, Sequence[Sequence[int]]] = {
    b"conv": [(2, 3, 1, 1), (2,)],
    b"bn": [(2,), (2,), (1,)],
    b"scale": [(2,), (2,)],
    b"prelu": [(2,)],
    b"ip": [(2, 128), (2,)],
}
_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 100, 101, 2**29 - 1)


@cache
def graph() -> Graph:
    """Return the network whose weights are looked for."""
    return parse_prototxt(NETWORK, "net.prototxt")


def read(data: bytes) -> None:
    """Read the file, match it, and read every number of it."""
    model = read_caffemodel_bytes(data, LIMITS, "net.caffemodel")
    found = match(graph(), model)
    for tensor in found.tensors.values():
        tensor.numpy()
    for layer in model.layers:
        for blob in layer.blobs:
            blob.array()


def varint(value: int) -> bytes:
    """Return protobuf's variable form."""
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, content: bytes) -> bytes:
    """Return a field with a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(shape: Sequence[int], form: int, fill: float = 0.5) -> bytes:
    """Return a blob: shape packed, one by one or legacy; data packed, one by one or as doubles."""
    count = 1
    for size in shape:
        count *= size
    if form % 3 == 0:
        head = field(7, field(1, b"".join(map(varint, shape))))
    elif form % 3 == 1:
        head = field(7, b"".join(b"\x08" + varint(size) for size in shape))
    else:
        legacy = [1] * (4 - len(shape)) + list(shape)
        head = b"".join(varint(number << 3) + varint(size) for number, size in enumerate(legacy[-4:], 1))
    if form % 4 == 1:
        return head + b"".join(b"\x2d" + struct.pack("<f", fill) for _ in range(count))
    if form % 4 == 2:
        return head + field(8, struct.pack("<d", fill) * count)
    return head + field(5, struct.pack("<f", fill) * count)


@cache
def seeds() -> tuple[bytes, ...]:
    """Files that fit the network, in every form, and earlier findings."""
    made = [b"", field(1, b"net")]
    for form in range(12):
        content = field(1, b"net")
        for name, shapes in _BLOBS.items():
            content += _layer(form, name, [blob(shape, form) for shape in shapes])
        made.append(content)
    return (*made, *(path.read_bytes() for path in sorted(CORPUS.glob("*"))))


def _layer(form: int, name: bytes, blobs: Sequence[bytes]) -> bytes:
    if form % 3 == 0:
        return field(100, field(1, name) + field(2, b"Kind") + b"".join(field(7, content) for content in blobs))
    if form % 3 == 1:
        return field(2, field(4, name) + b"\x28\x04" + b"".join(field(6, content) for content in blobs))
    return field(2, field(1, field(1, name) + b"".join(field(50, content) for content in blobs)))


def mutate(data: bytes, other: bytes, rng: Random) -> bytes:
    """Change fields on some level and mend the lengths around them, or plain bytes."""
    if rng.random() < 0.25:
        return mutate_bytes(data, other, rng)
    return _inside(data, other, rng, rng.randrange(5))


def _inside(data: bytes, other: bytes, rng: Random, depth: int) -> bytes:
    parts = split(data)
    if not parts:
        return mutate_bytes(data, other, rng)
    at = rng.randrange(len(parts))
    start, body, stop = parts[at]
    if depth and body > 0 and stop - body:
        tag = data[start : _after(data, start)]
        inner = _inside(data[body:stop], other, rng, depth - 1)
        return data[:start] + tag + varint(len(inner)) + inner + data[stop:]
    choice = rng.randrange(6)
    if choice == 0:
        return data[:start] + data[stop:]
    if choice == 1:
        return data[:stop] + data[start:stop] + data[stop:]
    if choice == 2:
        theirs = split(other)
        first, _, last = rng.choice(theirs) if theirs else (0, 0, 0)
        return data[:start] + other[first:last] + data[start:]
    if choice == 3:
        return data[:start] + varint(rng.choice(_NUMBERS) << 3 | rng.randrange(8)) + data[_after(data, start) :]
    if choice == 4:
        return data[:start] + varint(rng.choice(_NUMBERS) << 3) + varint(rng.choice(_SIZES)) + data[stop:]
    return data[: _after(data, start)] + varint(rng.choice(_SIZES)) + data[stop if rng.random() < 0.5 else body :]


def split(data: bytes) -> list[tuple[int, int, int]]:
    """Return start, start of the content (0 where it has no length) and end of every field, as far as they go."""
    parts, at = [], 0
    while at < len(data):
        body = _after(data, at)
        kind = data[at] & 7
        stop = body + {1: 8, 5: 4}.get(kind, 0)
        if kind == 0:
            stop = _after(data, body)
        if kind == 2:
            size = sum((byte & 0x7F) << 7 * index for index, byte in enumerate(data[body : _after(data, body)]))
            body = _after(data, body)
            stop = body + size
        if stop <= at or stop > len(data):
            break
        parts.append((at, body if kind == 2 else 0, stop))
        at = stop
    return parts


def _after(data: bytes, at: int) -> int:
    """Return where the number at ``at`` ends."""
    while at < len(data) and data[at] >= 0x80:
        at += 1
    return min(len(data), at + 1)


TARGET = Target("caffemodel", read, seeds, mutate, "trunkline/ingest/caffemodel", longest=4096)
