"""The spreadsheets of TreeMTL's release: a column for each task of each pair, a row for each branching point.

A column is called ``(a, b)-0`` or ``(a, b)-1``: what the first, or the second, task of the pair came to. Row b, below
the header, is the model that shares the first b blocks.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator

from trunkline.errors import InvalidConfig
from trunkline.text import quoted

MOST_BYTES = 50_000_000
"""A sheet is a few kilobytes; an archive that unpacks to more than this is none."""
MOST_ROWS, MOST_COLUMNS = 1_000, 10_000
_PAIR = re.compile(r"\(?\s*['\"]?([^,'\"()]+?)['\"]?\s*,\s*['\"]?([^,'\"()]+?)['\"]?\s*\)?\s*-\s*([01])")


def sheet_rows(content: bytes) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield place, task, partner, branching point and percent of every number, as text.

    Raises:
        InvalidConfig: It is no workbook, too large, or a column has another name.
    """
    cells = _cells(content)
    header = next(cells, ())
    pairs = {}
    for column, name in enumerate(header):
        if name in {None, "", "Unnamed: 0"}:  # an index column, as pandas writes one
            continue
        found = _PAIR.fullmatch(str(name).strip())
        if not found:
            text = f"column {quoted(str(name))} is not called like (0, 1)-0"
            raise InvalidConfig(
                text, place=_cell(0, column), advice="each names a pair, and which of the two it is about"
            )
        first, second, which = found.groups()
        pairs[column] = (second, first) if which == "1" else (first, second)
    if not pairs:
        raise InvalidConfig("the first sheet has no column of a pair", advice="columns are called like (0, 1)-0")
    for point, row in enumerate(cells):
        if all(cell in {None, ""} for cell in row):
            continue
        for column, (task, partner) in pairs.items():
            value = row[column] if column < len(row) else None
            yield _cell(point + 1, column), task, partner, str(point), "" if value is None else str(value)


def _cells(content: bytes) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the first sheet."""
    from openpyxl import load_workbook

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MOST_BYTES:
            raise InvalidConfig(f"the workbook unpacks to {size:,} bytes, more than {MOST_BYTES:,}")
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        sheet = book.worksheets[0]
        yield from sheet.iter_rows(max_row=MOST_ROWS, max_col=MOST_COLUMNS, values_only=True)
    except InvalidConfig:
        raise
    except Exception as error:  # openpyxl lets through whatever its parsers raise
        raise InvalidConfig(f"cannot read the workbook: {error}", advice="save it as .xlsx again, or as CSV") from error


def _cell(row: int, column: int) -> str:
    """Return the name of a cell, from 0.

    >>> _cell(0, 0), _cell(6, 27)
    ('cell A1', 'cell AB7')
    """
    letters, number = "", column + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return f"cell {letters}{row + 1}"
