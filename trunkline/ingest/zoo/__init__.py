"""Packaged backbones: our own prototxt files, written by :mod:`trunkline.ingest.zoo.make`."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import InvalidModel, did_you_mean
from trunkline.text import quoted

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the packaged backbones, sorted."""
    return sorted(file.stem for file in _FOLDER.glob("*.prototxt"))


def path(name: str) -> Path:
    """Return the file of a packaged backbone.

    Raises:
        InvalidModel: There is no backbone of this name.
    """
    if name not in names():
        advice = did_you_mean(name, names()) or f"there are {', '.join(names())}"
        raise InvalidModel(f"there is no packaged backbone {quoted(name)}", place=f"zoo:{name}", advice=advice)
    return _FOLDER / f"{name}.prototxt"
