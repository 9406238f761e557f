"""One blob of a caffemodel: its shape, and where in the file its numbers are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trunkline.errors import InvalidModel
from trunkline.files.wire import BYTES, FIXED32, FIXED64, VARINT, Wire, WireFault, WireField
from trunkline.text import shape_text

Array = np.ndarray[Any, np.dtype[np.float32]]

_LEGACY = (1, 2, 3, 4)  # num, channels, height, width
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
_DIM = 1
_LARGEST = 2**48
"""Elements that no tensor has. NumPy refuses a shape of not much more, even one without any numbers."""


@dataclass(frozen=True, slots=True)
class NumberRun:
    """``count`` numbers at equal distances: ``stride`` is their width when packed, more when each has a tag."""

    offset: int
    count: int
    stride: int


@dataclass(frozen=True, slots=True)
class CaffemodelBlob:
    """A tensor whose numbers stay in the file until :meth:`array` asks for them.

    Attributes:
        shape: Sizes of its axes as in the file; four of them in the legacy form.
        runs: Where in the file its numbers are.
        is_double: Whether they are float64; Caffe rounds them to float32 on loading, and so does :meth:`array`.
        offset: The byte at which it starts in the file.
        place: File, layer and index, for errors.
        data: The file.
    """

    shape: tuple[int, ...]
    runs: tuple[NumberRun, ...]
    is_double: bool
    offset: int
    place: str
    data: memoryview = field(repr=False)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def array(self) -> Array:
        """Return a new array with the content, float32, in the blob's own shape.

        Raises:
            InvalidModel: It holds NaN or infinity, or a float64 too large for float32.
        """
        kind = np.dtype("<f8" if self.is_double else "<f4")
        result, start = np.empty(self.size, np.float32), 0
        # A float64 too large for float32 becomes infinity here, which the check below finds.
        with np.errstate(over="ignore", invalid="ignore"):
            for run in self.runs:
                view = np.ndarray((run.count,), kind, self.data, run.offset, (run.stride,))
                result[start : start + run.count] = view
                start += run.count
        if not np.isfinite(result).all():
            advice = "the training diverged: use an earlier snapshot"
            raise InvalidModel("holds NaN or infinity", place=self.place, advice=advice)
        return result.reshape(self.shape)


def read_blob(wire: Wire, message: WireField, place: str, most_axes: int) -> CaffemodelBlob:
    """Read the head of a blob and find its numbers; nothing is copied.

    Args:
        wire: The file.
        message: The field that holds the blob.
        place: The blob's name in errors.
        most_axes: Number of axes it may have.

    Raises:
        WireFault: The bytes are wrong, or shape and data disagree.
    """
    message.expect(BYTES)
    legacy: dict[int, int] = {}
    shape: list[int] | None = None
    single: list[NumberRun] = []
    double: list[NumberRun] = []
    at = message.start
    while at < message.end:
        item = wire.field(at, message.end)
        at = item.end
        if item.number in _LEGACY:
            legacy[item.number] = item.signed(32)
        elif item.number == _SHAPE:  # protobuf joins the parts of a message that comes in several
            shape = _dims(wire, item, shape or [], most_axes)
        elif item.number in (_DATA, _DOUBLE_DATA):
            width, runs = (4, single) if item.number == _DATA else (8, double)
            run, at = _run(wire, item, width, message.end)
            runs.append(run)
    # Caffe itself prefers the legacy form, and double data, where a blob has both.
    dims = tuple(legacy.get(number, 0) for number in _LEGACY) if legacy else tuple(shape or ())
    runs = double or single
    _check(dims, sum(run.count for run in runs), message.at, known=bool(legacy) or shape is not None)
    return CaffemodelBlob(dims, tuple(runs), bool(double), message.at, place, wire.data)


def _run(wire: Wire, item: WireField, width: int, end: int) -> tuple[NumberRun, int]:
    """Return the numbers of a field, packed, or one in each of several fields, and the place after them."""
    item.expect(BYTES, FIXED32 if width == 4 else FIXED64)
    length = item.end - item.start
    if length % width:
        raise WireFault(f"{length:,} bytes of data are no whole number of {width}-byte numbers", item.at)
    if item.wire == BYTES:
        return NumberRun(item.start, length // width, width), item.end
    # Not packed: each number is a field with a tag. Equal tags are counted by NumPy, because there may be millions.
    stride = item.end - item.at
    count = _equal_tags(wire.data, item.at, stride, item.start - item.at, end)
    return NumberRun(item.start, count, stride), item.at + count * stride


def _equal_tags(data: memoryview, at: int, stride: int, width: int, end: int) -> int:
    """Return how many fields of ``stride`` bytes, with the same tag of ``width`` bytes, come one after another."""
    most, count, step = (end - at) // stride, 1, 64  # the step doubles: a short row costs little, a long one few steps
    tag = np.frombuffer(data[at : at + width], np.uint8)
    while count < most:
        step = min(2 * step, most - count)
        tags = np.ndarray((step, width), np.uint8, data, at + count * stride, (stride, 1))
        equal = (tags == tag).all(axis=1)
        if not equal.all():
            return count + int(equal.argmin())
        count += step
    return count


def _dims(wire: Wire, message: WireField, known: list[int], most: int) -> list[int]:
    """Return the sizes of a shape, packed or not, after those ``known`` from an earlier part of it."""
    message.expect(BYTES)
    sizes = list(known)
    for item in wire.fields(message.start, message.end):
        if item.number != _DIM:
            continue
        item.expect(VARINT, BYTES)
        if item.wire == VARINT:
            sizes.append(item.signed(64))
        at = item.start
        while item.wire == BYTES and at < item.end and len(sizes) <= most:
            value, after = wire.varint(at, item.end)
            sizes.append(WireField(_DIM, VARINT, at, at, after, value).signed(64))
            at = after
        if len(sizes) > most:
            raise WireFault(f"a shape of more than {most} axes", message.at)
    return sizes


def _check(shape: tuple[int, ...], count: int, at: int, *, known: bool) -> None:
    """Raise unless ``shape`` is one that a file may have, and the number of its elements is ``count``."""
    if not known:
        raise WireFault(f"a blob of {count:,} numbers without a shape", at)
    shown = shape_text(shape)
    if any(size < 0 for size in shape):
        raise WireFault(f"a blob of shape {shown}; a size cannot be negative", at)
    # With a size of 0 any shape agrees with no numbers, also one that no array can have (found by fuzzing).
    if count == 0 and math.prod(size for size in shape if size) > _LARGEST:
        raise WireFault(f"a blob of shape {shown}; no tensor is that large", at)
    if math.prod(shape) != count:
        advice = "the file is damaged, or keeps its numbers in a form of a fork (raw_data of NVCaffe)"
        raise WireFault(
            f"a blob of shape {shown} needs {math.prod(shape):,} numbers; the file holds {count:,}", at, advice
        )
