"""Small files that real exporters' files were cut down to, each with a text beside it that says what is right."""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).parents[1] / "corpus"


def zoo(name: str) -> Path:
    """A file cut out of an export of a well-known architecture."""
    return CORPUS / "zoo" / f"{name}.onnx"


def field(folder: str) -> Path:
    """The ONNX file of a folder of public reports."""
    (path,) = (CORPUS / "field" / folder).glob("*.onnx")
    return path
