"""docs/prototxt.md describes what the program does: the same layer types, and every field a translator reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import trunkline.ingest.prototxt.layers as layers
from trunkline.ingest.prototxt.layers import DROPPED, REFUSED, TRANSLATORS
from trunkline.ingest.prototxt.text.harmless import HARMLESS

pytestmark = pytest.mark.golden

DOCS = Path(__file__).parents[2] / "docs" / "prototxt.md"
FOLDER = Path(layers.__file__).parent
NOT_LAYERS = {
    "__init__",
    "auto_crop",
    "formula",
    "initial",
    "layer",
    "nearest_pixels",
    "pairs",
    "refused",
    "spatial",
    "site",
    "too_small",
}
"""Modules that read no field, or only those that several layers share."""

READERS = {"block", "blocks", "choice", "flag", "has", "integer", "integers", "number", "numbers", "string", "strings"}
HELPERS = {"_no_settings", "_plain", "filler", "pair"}
SIDES = re.compile(r"(dilation|hole|kernel|pad|stride|scale)_[hw]")
"""The two halves of a field, which the tables leave to the row of Convolution."""


def sections() -> dict[str, list[list[str]]]:
    """Return the cells of every table row, by the heading above it."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in DOCS.read_text().splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| `"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def quoted(text: str) -> list[str]:
    return re.findall(r"`([A-Za-z0-9_]+)`", text)


def named(*headings: str) -> set[str]:
    return {name for heading in headings for row in sections()[heading] for name in quoted(row[0])}


def words_read(path: Path) -> Iterator[str]:
    """Yield every field name that a module of translators asks its fields for."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        on_fields = isinstance(function, ast.Attribute) and function.attr in READERS and not is_layer(function.value)
        if on_fields or (isinstance(function, ast.Name) and function.id in HELPERS):
            for argument in [*node.args[:2], *node.args[3:], *(keyword.value for keyword in node.keywords)]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def is_layer(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "layer"


def test_tables_name_every_layer_once() -> None:
    headings = sections()
    ends = ("Dropped, with a note", "Refused by name")
    assert named(*(heading for heading in headings if heading not in ends)) == set(TRANSLATORS)
    assert named(ends[0]) == set(DROPPED)
    assert named(ends[1]) == set(REFUSED)


TRANSLATING = [path for path in sorted(FOLDER.glob("*.py")) if path.stem not in NOT_LAYERS]


@pytest.mark.parametrize("path", TRANSLATING, ids=lambda path: path.stem)
def test_tables_name_every_field(path: Path) -> None:
    documented = set(quoted(DOCS.read_text()))
    translated = {name for name in words_read(path) if name.islower()} - set(HARMLESS)
    assert translated
    assert {name for name in translated if not SIDES.fullmatch(name)} <= documented


def test_fields_of_the_tables_are_read() -> None:
    """A name in a table's second column is written as a string in some translator, or in what they share."""
    source = "\n".join(path.read_text() for path in FOLDER.glob("*.py"))
    for rows in sections().values():
        for row in rows:
            for name in quoted(row[1]) if len(row) == 4 else ():
                half = re.sub(r"(kernel|stride|pad|dilation|hole)_[hw]", r"\1", name)
                assert f'"{name}"' in source or f'"{half}"' in source, f"{row[0]}: {name}"
