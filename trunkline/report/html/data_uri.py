"""Pictures as data URIs: drawn once more as SVG where that is small, and as an image no larger than a page needs."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from trunkline.errors import InvalidConfig

MOST_SVG_BYTES = 250_000
"""Beyond that, as of losses over many steps, an image is smaller and shows as much."""
MOST_IMAGE_BYTES = 500_000
_WIDEST = 1600
"""Pixels; what a wide screen shows of a page's width."""


def drawn_uri(draw: Callable[[Path], object]) -> str | None:
    """Return what ``draw`` writes to a path, as a data URI; ``None`` where it returns that there is nothing to draw."""
    with tempfile.TemporaryDirectory(prefix="trunkline-report-") as folder:
        path = Path(folder) / "picture.svg"
        if draw(path) is False:
            return None
        content = path.read_bytes()
        if len(content) <= MOST_SVG_BYTES:
            return _uri("image/svg+xml", content)
        path = path.with_suffix(".png")
        draw(path)
        return image_uri(path)


def image_uri(path: Path) -> str:
    """Return an image file as a data URI; one that is too large is made smaller, and written as JPEG.

    Raises:
        InvalidConfig: It is no image.
    """
    content = path.read_bytes()
    if len(content) <= MOST_IMAGE_BYTES and content.startswith(b"\x89PNG"):
        return _uri("image/png", content)
    return _uri("image/jpeg", _smaller(path))


def _smaller(path: Path) -> bytes:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    # Pillow refuses very large images by a warning or an error of its own, and torn ones by an OSError.
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        text = f"this is no picture that can be shown: {error}"
        raise InvalidConfig(text, place=str(path), advice="`trunkline report RUN` draws it again") from error
    image.thumbnail((_WIDEST, 4 * _WIDEST))
    # Labels have sharp edges, which a low quality smears; most pictures fit at the first.
    for quality in (88, 75, 60, 40):
        buffer = BytesIO()
        image.save(buffer, format="jpeg", quality=quality)
        if buffer.tell() <= MOST_IMAGE_BYTES:
            break
    return buffer.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
