"""Weights for the network of ``bad_files.NETWORK`` that are damaged, lie about their size, or belong elsewhere."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from bad_foreign import Harmful, raw

NET_LAYER, LAYER_NAME, LAYER_BLOB, BLOB_DATA, BLOB_SHAPE, BLOB_DOUBLES = 100, 1, 7, 5, 7, 8


def varint(value: int) -> bytes:
    """A number in protobuf's variable form; negative ones take ten bytes."""
    value &= 2**64 - 1
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def claiming(number: int, size: int, content: bytes = b"") -> bytes:
    """A field that claims ``size`` bytes and has fewer."""
    return varint(number << 3 | 2) + varint(size) + content


def blob(shape: Sequence[int], count: int | None = None, fill: float = 0.5) -> bytes:
    size = 1
    for axis in shape:
        size *= axis
    numbers = struct.pack("<f", fill) * (size if count is None else count)
    return field(BLOB_SHAPE, field(1, b"".join(varint(axis) for axis in shape))) + field(BLOB_DATA, numbers)


def layer(name: bytes, *blobs: bytes) -> bytes:
    return field(NET_LAYER, field(LAYER_NAME, name) + b"".join(field(LAYER_BLOB, content) for content in blobs))


WEIGHT, BIAS = blob([4, 3, 3, 3]), blob([4])
GOOD = field(1, b"net") + layer(b"conv", WEIGHT, BIAS)
"""What fits the network."""


def conv(*blobs: bytes) -> Callable[[Path], object]:
    return raw(field(1, b"net") + layer(b"conv", *blobs))


def first(weight: bytes) -> Callable[[Path], object]:
    """The network's weights with another blob in the first place."""
    return conv(weight, BIAS)


_LEGACY = b"".join(varint(number << 3) + varint(size) for number, size in ((1, 4), (2, 3), (3, 3)))
_MANY = field(NET_LAYER, field(LAYER_NAME, b"x")) * 120_000
_NUMBERS = struct.pack("<f", 0.5) * 108
_DEEP_BYTES = 20_000


def deep(path: Path) -> None:
    """Layers inside layers; only the outermost is one."""
    content = b""
    for _ in range(_DEEP_BYTES):
        content = field(2, content)
    path.write_bytes(content)


AT = "bad.caffemodel"
CAFFEMODELS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "empty": (raw(b""), (AT,)),
    "missing": (lambda path: None, (AT,)),
    "folder": (lambda path: path.mkdir(), (AT,)),
    "device": (lambda path: path.symlink_to("/dev/zero"), (AT,)),
    "pickle": (raw(pickle.dumps(Harmful(), protocol=2)), (AT,)),
    "zeros": (raw(bytes(100)), (AT,)),
    "all_bytes": (raw(bytes(range(256))), (AT,)),
    "text": (raw(b'name: "net"\nlayer { name: "conv" }\n'), (AT,)),
    "cut_short": (raw(GOOD[:-5]), (AT, "byte")),
    "cut_in_half": (raw(GOOD[: len(GOOD) // 2]), (AT, "byte")),
    "no_layers": (raw(field(1, b"net")), (AT,)),
    "layers_without_blobs": (conv(), (AT,)),
    "junk_after_the_end": (raw(GOOD + b"\xff" * 20), (AT, "byte")),
    "endless_number": (raw(b"\xff" * 100), (AT, "byte 0")),
    "group": (raw(GOOD + b"\x0b\x0c"), (AT, "byte")),
    "field_number_zero": (raw(GOOD + b"\x02\x00"), (AT, "byte")),
    "layer_as_a_number": (raw(varint(NET_LAYER << 3) + b"\x07"), (AT, "byte 0")),
    "layer_longer_than_the_file": (raw(claiming(NET_LAYER, 2**62)), (AT, "byte 0")),
    "blob_longer_than_its_layer": (
        raw(field(NET_LAYER, field(LAYER_NAME, b"conv") + claiming(LAYER_BLOB, 2**40)) + GOOD),
        (AT, "byte"),
    ),
    "name_longer_than_its_layer": (raw(field(NET_LAYER, claiming(LAYER_NAME, 999, b"c"))), (AT, "byte")),
    "shape_2_to_62": (first(field(BLOB_SHAPE, field(1, varint(2**62))) + field(BLOB_DATA, _NUMBERS)), (AT, "byte")),
    "shape_2_to_40_without_data": (first(field(BLOB_SHAPE, field(1, varint(2**40)))), (AT, "byte")),
    "shape_negative": (first(field(BLOB_SHAPE, field(1, varint(-4))) + field(BLOB_DATA, _NUMBERS)), (AT, "negative")),
    "shape_of_1000_axes": (
        first(field(BLOB_SHAPE, field(1, b"\x01" * 1000)) + field(BLOB_DATA, _NUMBERS)),
        (AT, "axes"),
    ),
    "shape_absent": (first(field(BLOB_DATA, _NUMBERS)), (AT, "byte")),
    "shape_zero": (first(blob([4, 0, 3, 3])), (AT,)),
    "shape_of_text": (first(field(BLOB_SHAPE, field(1, b"\xff\xff")) + field(BLOB_DATA, _NUMBERS)), (AT, "byte")),
    "data_too_short": (first(blob([4, 3, 3, 3], 107)), (AT, "107")),
    "data_too_long": (first(blob([4, 3, 3, 3], 109)), (AT, "109")),
    "data_absent": (first(field(BLOB_SHAPE, field(1, b"\x04\x03\x03\x03"))), (AT, "byte")),
    "data_not_whole": (first(blob([4, 3, 3, 3])[:-2]), (AT, "byte")),
    "data_as_a_number": (first(varint(BLOB_DATA << 3) + b"\x07"), (AT, "byte")),
    "doubles_not_whole": (first(field(BLOB_SHAPE, field(1, b"\x01")) + field(BLOB_DOUBLES, b"\0" * 7)), (AT, "byte")),
    "doubles_too_few": (first(field(BLOB_SHAPE, field(1, b"\x02")) + field(BLOB_DOUBLES, b"\0" * 8)), (AT, "byte")),
    "legacy_shape_incomplete": (first(_LEGACY + field(BLOB_DATA, _NUMBERS)), (AT, "byte")),
    "not_finite": (first(blob([4, 3, 3, 3], fill=float("nan"))), (AT, "NaN")),
    "infinite": (first(blob([4, 3, 3, 3], fill=float("inf"))), (AT, "NaN or infinity")),
    "too_few_blobs": (conv(WEIGHT), (AT, '"conv"')),
    "too_many_blobs": (conv(WEIGHT, BIAS, BIAS), (AT, '"conv"')),
    "other_shape": (conv(blob([4, 3, 5, 5]), BIAS), (AT, "[4, 3, 5, 5]", "[4, 3, 3, 3]")),
    "other_rank": (conv(blob([108]), BIAS), (AT, "108")),
    "blobs_swapped": (conv(BIAS, WEIGHT), (AT, '"conv.weight"')),
    "layer_twice": (raw(GOOD + layer(b"conv", WEIGHT, BIAS)), (AT, '"conv"')),
    "other_network": (raw(layer(b"conw", WEIGHT, BIAS)), (AT, "conw")),
    "name_not_utf8": (raw(layer(b"c\xf6nv", WEIGHT, BIAS)), (AT,)),
    "name_of_a_megabyte": (raw(layer(b"c" * 2**20, WEIGHT, BIAS)), (AT, "byte")),
    "many_layers": (raw(_MANY), (AT, "--allow nodes=")),
    "deep": (deep, (AT,)),
}
