"""Tables of a report as tables of a page: a number beside the text of a cell, by which a column is sorted."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trunkline.report.tables import Table

_NUMBER = re.compile(r"[+-]?(?:\d[\d,]*)(?:\.\d+)?(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class SortableCell:
    """A cell.

    Attributes:
        text: What it shows.
        value: By what it is sorted in a column of numbers; ``None`` where it is no number.
    """

    text: str
    value: float | None


@dataclass(frozen=True, slots=True)
class SortableColumn:
    """A column.

    Attributes:
        name: Its heading.
        numeric: Whether it holds numbers: those are sorted by value, and stand to the right.
    """

    name: str
    numeric: bool


@dataclass(frozen=True, slots=True)
class SortableTable:
    """A table, with what sorting it needs.

    Attributes:
        title: What stands above it.
        columns: The columns.
        rows: Their cells.
        notes: What its marks mean.
    """

    title: str
    columns: tuple[SortableColumn, ...]
    rows: tuple[tuple[SortableCell, ...], ...]
    notes: tuple[str, ...]


def sortable(table: Table) -> SortableTable:
    """Return a table with the numbers that its cells begin with.

    >>> found = sortable(Table("Cost", ("model", "MACs (M)"), (("a", "1,024.5 ± 2"), ("b", "–"))))
    >>> [column.numeric for column in found.columns], [row[1].value for row in found.rows]
    ([False, True], [1024.5, None])
    """
    rows = tuple(tuple(_cell(text) for text in row) for row in table.rows)
    columns = tuple(
        SortableColumn(str(name), _is_numeric([row[place] for row in rows if place < len(row)]))
        for place, name in enumerate(table.columns)
    )
    return SortableTable(table.title, columns, rows, table.notes)


def _cell(content: object) -> SortableCell:
    # Names come from JSON files, which may hold a number there.
    text = str(content)
    return SortableCell(text, number_in(text))


def number_in(text: str) -> float | None:
    """Return the number that a text begins with; ``None`` where it begins otherwise.

    >>> number_in("+1.25 ± 0.3"), number_in("1.5e-3"), number_in("12-bit"), number_in("–")
    (1.25, 0.0015, None, None)
    """
    found = _NUMBER.match(text)
    # Behind a number stands nothing, a mark, a margin or the end of a range: a name such as `3x3` is no number.
    if found is None or (found.end() < len(text) and text[found.end()] not in " –%×"):
        return None
    return float(found.group().replace(",", ""))


def _is_numeric(cells: list[SortableCell]) -> bool:
    known = [cell for cell in cells if cell.text.strip() not in ("", "–", "unknown")]
    return bool(known) and all(cell.value is not None for cell in known)
