"""Changes to bytes that know nothing of a format."""

from __future__ import annotations

from random import Random

_ODD = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff\x0f",
    b"\xff" * 9 + b"\x01",
    b"\0" * 8,
    b"\x08\x08",
    b"\n",
    b" ",
)


def mutate_bytes(data: bytes, other: bytes, rng: Random) -> bytes:
    """Flip, insert, delete, repeat, overwrite, or take a part of ``other``."""
    at = rng.randrange(len(data) + 1)
    stop = min(len(data), at + 1 + int(rng.expovariate(0.1)))
    kind = rng.randrange(7)
    if kind == 0 and at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1 and at < len(data):
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + rng.choice(_ODD) + data[at:]
    if kind == 3:
        return data[:at] + data[stop:]
    if kind == 4:
        return data[:at] + data[at:stop] * rng.randrange(2, 5) + data[stop:]
    if kind == 5 and other:
        start = rng.randrange(len(other))
        return data[:at] + other[start : start + 1 + int(rng.expovariate(0.03))] + data[stop:]
    return data[:at]
