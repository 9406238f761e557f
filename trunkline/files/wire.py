"""Protobuf's wire format, read one field at a time and without copying: a field is a place in the file.

Source: "Encoding", protobuf's documentation. A message is a sequence of fields; a field is a tag (number and wire
type) with a varint, 8 bytes, 4 bytes, or a length and so many bytes. Groups (wire types 3 and 4) are refused:
neither Caffe's schema nor ONNX's has any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trunkline.limits import how_to_raise

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_MASK64 = 2**64 - 1
_WIDTH = {FIXED64: 8, FIXED32: 4}
_NAMES = {VARINT: "a varint", FIXED64: "8 bytes", BYTES: "bytes with a length", FIXED32: "4 bytes"}


class WireFault(Exception):
    """Bytes that are not what they claim to be; ``offset`` counts from the start of the file."""

    def __init__(self, message: str, offset: int, advice: str = "") -> None:
        super().__init__(message)
        self.message, self.offset, self.advice = message, offset, advice


@dataclass(frozen=True, slots=True)
class WireField:
    """One field of a message.

    Attributes:
        number: Field number in the schema.
        wire: Wire type, such as ``VARINT``.
        at: Where its tag begins in the file.
        start: Where its payload begins.
        end: Where its payload ends.
        value: Its number, for a varint.

    >>> data = memoryview(message(3, b"relu"))
    >>> [(field.number, bytes(data[field.start : field.end])) for field in Wire(data, 10).fields(0, len(data))]
    [(3, b'relu')]
    """

    number: int
    wire: int
    at: int
    start: int
    end: int
    value: int = 0

    def expect(self, *wires: int) -> None:
        """Raise unless the field has one of these wire types."""
        if self.wire not in wires:
            wanted = " or ".join(_NAMES[wire] for wire in wires)
            raise WireFault(f"field {self.number} is {_NAMES[self.wire]}; expected {wanted}", self.at)

    def signed(self, bits: int) -> int:
        """Return the varint as a two's complement number of ``bits`` bits, as protobuf truncates it."""
        self.expect(VARINT)
        half = 1 << (bits - 1)
        return (self.value + half) % (2 * half) - half


class Wire:
    """Walks through the messages of one file, counting fields against a limit."""

    def __init__(self, data: memoryview, most_fields: int) -> None:
        self.data = data
        self._left = most_fields
        self._most = most_fields

    def fields(self, start: int, end: int) -> Iterator[WireField]:
        """Yield the fields of the message in ``data[start:end]``.

        Raises:
            WireFault: The bytes are no message, or the file holds more fields than allowed.
        """
        while start < end:
            item = self.field(start, end)
            yield item
            start = item.end

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """Return the number at ``at`` and the place after it."""
        # 64 bits in groups of 7: ten bytes at most, of which protobuf's own readers drop what exceeds 64 bits.
        value = 0
        for index in range(10):
            if at + index >= end:
                raise WireFault("a number is cut off", at)
            byte = self.data[at + index]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value & _MASK64, at + index + 1
        raise WireFault("a number has more than 10 bytes", at)

    def field(self, at: int, end: int) -> WireField:
        """Return the field at ``at`` of a message that ends at ``end``; see :meth:`fields`."""
        self._left -= 1
        if self._left < 0:
            raise WireFault(f"more than {self._most:,} fields", at, how_to_raise("tokens"))
        tag, start = self.varint(at, end)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 2**29:  # a tag is 32 bits, of which 3 are the wire type
            raise WireFault(f"field number {number} is outside 1 to {2**29 - 1}", at)
        if wire == VARINT:
            value, stop = self.varint(start, end)
            return WireField(number, wire, at, start, stop, value)
        if wire not in _NAMES:
            raise WireFault(f"field {number} has wire type {wire}, which no model file has", at)
        length = _WIDTH.get(wire, 0)
        if wire == BYTES:
            length, start = self.varint(start, end)
        if length > end - start:
            raise WireFault(f"field {number} claims {length:,} bytes; {end - start:,} are left of its message", at)
        return WireField(number, wire, at, start, start + length)


def varint(value: int) -> bytes:
    """Return a number that is not negative as protobuf writes it: 7 bits a byte, the lowest first."""
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def head(number: int, length: int) -> bytes:
    """Return the tag and the length of field ``number``, which precede its ``length`` bytes."""
    return varint(number << 3 | BYTES) + varint(length)


def message(number: int, content: bytes) -> bytes:
    """Return field ``number`` of bytes, tag and length included."""
    return head(number, len(content)) + content
