"""What a file holds about its pixels that Pillow's array of them does not: how grey is spread, and what is transparent.

Everything here is looked up before the pixels are read: then Pillow forgets how they were stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

_OPAQUE = 255


def spread_of(picture: Image.Image) -> int:
    """Return the factor that Pillow puts on stored numbers: it spreads grey of 2 and 4 bits over 0..255."""
    return {"L;2": 85, "L;4": 17}.get(_raw_mode(picture), 1)


def transparent_pixels(picture: Image.Image) -> int:
    """Return how many pixels are not fully opaque: by a channel, or by the value that PNG's tRNS chunk names."""
    # A fully opaque channel is what many editors add; anything else may have been painted with a meaning.
    if "A" in picture.getbands():
        return int(np.count_nonzero(np.asarray(picture.getchannel("A")) != _OPAQUE))
    said = picture.info.get("transparency")
    if said is None:
        return 0
    raw, spread = _raw_mode(picture), spread_of(picture)
    pixels = np.asarray(picture)
    # 1. Of a palette, the alphas of its first entries. 2. Otherwise one value is transparent, and all others are not.
    if isinstance(said, bytes):
        alphas = np.full(256, _OPAQUE, np.uint8)
        alphas[: len(said)] = np.frombuffer(said, np.uint8)
        return int(np.count_nonzero(alphas[pixels] != _OPAQUE))
    found = pixels == _as_read(said, picture.mode, raw, spread)
    return int(np.count_nonzero(found if found.ndim == 2 else found.all(axis=-1)))


def _as_read(said: Any, mode: str, raw: str, spread: int) -> Any:
    """Return a transparent value as the pixels that have it come out of Pillow."""
    if mode == "1":
        return bool(said)  # 0 and 1 in the file, and in some versions of Pillow 0 and 255
    if mode == "RGB":
        # Of 16 bits a channel Pillow keeps the upper 8. So a colour that it makes equal to the transparent one counts.
        return [value >> 8 if ";16" in raw else value for value in said]
    return said * spread


def _raw_mode(picture: Image.Image) -> str:
    """Return how a file stores its pixels, such as ``L;4`` for grey of four bits."""
    # Pillow's decoders know it, its picture does not: after reading, the mode is L for any number of bits.
    tile = getattr(picture, "tile", None)
    return str(tile[0][3]) if tile else ""
