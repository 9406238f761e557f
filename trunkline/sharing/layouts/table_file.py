"""Two-task tables as files: tidy CSV, and the spreadsheets of TreeMTL's release."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.files.read import in_file, read_own
from trunkline.files.write import atomic_write
from trunkline.sharing.layouts.table_sheet import sheet_rows
from trunkline.sharing.layouts.two_task_table import COLUMNS, TwoTaskTable
from trunkline.text import quoted

MOST_PROBLEMS = 10
"""More than that are counted, not listed."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A number of a table's file, with its place.

    Attributes:
        place: Line of a text, or cell of a sheet.
        task: Whose performance it is.
        partner: Beside which other task.
        point: Branching point, as it stands there.
        value: Percent, as it stands there.
    """

    place: str
    task: str
    partner: str
    point: str
    value: str


def load_table(path: Path) -> TwoTaskTable:
    """Read a table: ``.xlsx`` as a sheet of TreeMTL's release, anything else as CSV.

    Tasks are in the order in which they first have a number. In a release's sheet they are numbers.

    Raises:
        InvalidConfig: The file cannot be read, a row is wrong or stands there twice, or the table is not complete.
    """
    with in_file(path):
        content = read_own(path, "two-task table")
        rows = sheet_rows(content) if path.suffix.lower() == ".xlsx" else _csv_rows(content)
        return _table_of([TableRow(*row) for row in rows])


def load_table_of(path: Path, tasks: Sequence[str]) -> TwoTaskTable:
    """Read a table of these tasks, in whatever order it has them; return it in theirs.

    Raises:
        InvalidConfig: As :func:`load_table`, or it is about other tasks.
    """
    table = load_table(path)
    if set(table.tasks) != set(tasks):
        text = f"the table is about {', '.join(table.tasks)}, and the tasks are {', '.join(tasks)}"
        raise InvalidConfig(text, place=str(path), advice="name its tasks as the pipeline does")
    return table.in_order(tasks)


def save_table(table: TwoTaskTable, path: Path) -> None:
    """Write a table as CSV, in the order of its tasks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for task in table.tasks:
        for partner in table.tasks:
            if task != partner:
                for point, value in enumerate(table.series(task, partner)):
                    writer.writerow([task, partner, point, repr(value)])
    atomic_write(path, text.getvalue().encode())


def _csv_rows(content: bytes) -> Iterator[tuple[str, str, str, str, str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidConfig(f"the table is no text: {error}", advice="save it as CSV in UTF-8, or as .xlsx") from error
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        places = _columns(header)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            where = f"line {reader.line_num}"
            if len(row) != len(header):
                raise InvalidConfig(f"{len(row)} cells, and the header has {len(header)}", place=where)
            task, partner, point, value = (row[place].strip() for place in places)
            yield where, task, partner, point, value
    except csv.Error as error:
        raise InvalidConfig(f"the table is no CSV: {error}", place=f"line {reader.line_num}") from error


def _columns(header: list[str]) -> list[int]:
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        text = f"the header has no column {quoted(missing[0])}"
        advice = did_you_mean(missing[0], header) or f"it is {','.join(COLUMNS)}"
        raise InvalidConfig(text, place="line 1", advice=advice)
    return [header.index(name) for name in COLUMNS]


def _table_of(rows: list[TableRow]) -> TwoTaskTable:
    tasks = list(dict.fromkeys(row.task for row in rows))
    found: dict[tuple[str, str, int], float] = {}
    places: dict[tuple[str, str, int], str] = {}
    problems: list[Problem] = []
    for row in rows:
        problem = _problem_of(row, tasks)
        if problem:
            problems.append(problem)
            continue
        key = (row.task, row.partner, int(row.point))
        if key in found:
            text = f"{quoted(row.task)} beside {quoted(row.partner)} at branching point {row.point} stands there twice"
            problems.append(Problem(text, row.place, advice=f"it is in {places[key]} as well"))
            continue
        found[key], places[key] = float(row.value), row.place
    if problems:
        raise InvalidConfig(_first(problems))
    return TwoTaskTable.of(tasks, found)


def _problem_of(row: TableRow, tasks: list[str]) -> Problem | None:
    if not row.task or not row.partner:
        return Problem("a row without a task or a partner", row.place)
    if row.task == row.partner:
        return Problem(f"{quoted(row.task)} beside itself", row.place)
    if row.partner not in tasks:
        text = f"{quoted(row.partner)} is a partner, and no task of the table"
        return Problem(text, row.place, advice=did_you_mean(row.partner, tasks) or "each task has rows of its own")
    if not row.point.isdecimal() or len(row.point) > 4:
        return Problem(f"branching point {quoted(row.point)} is no whole number from 0 on", row.place)
    if not _is_finite(row.value):
        return Problem(f"{quoted(row.value)} is no number of percent", row.place, advice="measure this pair again")
    return None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _first(problems: list[Problem]) -> list[Problem]:
    more = len(problems) - MOST_PROBLEMS
    return problems if more <= 0 else [*problems[:MOST_PROBLEMS], Problem(f"and {more} more")]
