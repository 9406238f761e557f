"""Files of two-task tables: what is read is what was written, and wrong ones are refused with their place."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts.table_file import load_table, save_table
from trunkline.sharing.layouts.two_task_table import TwoTaskTable

pytestmark = pytest.mark.abuse
HEADER = "task,partner,branch_point,relative_performance_percent\n"
GOOD = HEADER + "a,b,0,0.0\na,b,1,2.5\nb,a,0,0\nb,a,1,-1e-1\n"


def written(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_is_read(tmp_path: Path) -> None:
    table = load_table(written(tmp_path, GOOD))
    assert (table.tasks, table.blocks) == (("a", "b"), 1)
    assert table.series("b", "a") == (0.0, -0.1)
    # Columns in another order, with others beside them, a byte order mark, blank lines and Windows' ends of lines.
    turned = "﻿seed,branch_point,task,partner,relative_performance_percent\r\n"
    turned += (
        "\r\n".join(f"7,{p}, {t} ,{u},{v}" for t, u, p, v in (row.split(",") for row in GOOD.split()[1:])) + "\r\n\r\n"
    )
    assert load_table(written(tmp_path, turned)).series("a", "b") == table.series("a", "b")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.integers(2, 4), st.integers(1, 5), st.integers(0, 2**31))
def test_what_is_written_is_read(tmp_path: Path, tasks: int, blocks: int, seed: int) -> None:
    names = ["one", "two, with comma", 'three "quoted"', "4"][:tasks]
    rng = np.random.default_rng(seed)
    rows = {(t, u, p): float(rng.normal()) for t in names for u in names if t != u for p in range(blocks + 1)}
    table = TwoTaskTable.of(names, rows)
    save_table(table, tmp_path / "table.csv")
    found = load_table(tmp_path / "table.csv")
    assert found.tasks == table.tasks and np.array_equal(found.values, table.values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'line 1.*no column "task"'),
        ("task,partner,branch,relative_performance_percent\n", "branch_point"),
        (HEADER, "two tasks at least"),
        (HEADER + "a,b,0,0\nb,a,0,0\n", "no branching point behind 0"),
        (GOOD + "a,b,1,3\n", "line 6.*twice\n.*line 3"),
        (GOOD.replace("a,b,1,2.5\n", ""), '"a" beside "b" has no number at branching point 1'),
        (GOOD + "a,b,3,3\nb,a,2,1\n", '"a" beside "b" has no number at branching point 2'),
        (GOOD.replace("2.5", "nan"), "line 3.*no number of percent"),
        (GOOD.replace("2.5", "inf"), "line 3.*no number of percent"),
        (GOOD.replace("2.5", ""), "line 3.*no number of percent"),
        (GOOD.replace("a,b,1", "a,b,-1"), "line 3.*no whole number"),
        (GOOD.replace("a,b,1", "a,b,1.5"), "line 3.*no whole number"),
        (GOOD.replace("a,b,1", "a,b,99999"), "line 3.*no whole number"),
        (GOOD + "a,c,0,0\n", 'line 6.*"c" is a partner, and no task'),
        (GOOD + "a,a,0,0\n", 'line 6.*"a" beside itself'),
        (GOOD + "a,,0,0\n", "line 6.*without a task"),
        (GOOD + "c,a,0,0\nc,a,1,0\n", '"a" beside "c" has no number'),
        (GOOD + "a,b\n", "line 6.*2 cells, and the header has 4"),
        (GOOD + '"a,b,1,3\n', "no CSV|cells"),
        (b"\xff\xfe\x00", "no text"),
        (b"PK\x03\x04", "no column"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidConfig) as caught:
        load_table(path)
    assert all(problem.place.startswith(str(path)) for problem in caught.value.problems)
    import re

    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_table(written(tmp_path, HEADER + "a,b,x,0\n" * 50))
    assert len(caught.value.problems) == 11 and "40 more" in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InvalidConfig, match="two-task table"):
            load_table(path)


def sheet(rows: list[list[Any]]) -> bytes:
    from openpyxl import Workbook

    book = Workbook()
    for row in rows:
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def test_sheets_of_the_release(tmp_path: Path) -> None:
    """Pairs in any order, with an index column as pandas writes one, or without."""
    rows = [["(0, 1)-0", "(0, 1)-1"], [0, 0], [1.5, -2]]
    found = load_table(written(tmp_path, sheet(rows), "t.xlsx"))
    assert found.series("0", "1") == (0.0, 1.5) and found.series("1", "0") == (0.0, -2.0)
    indexed = [[None, "(b, a)-0", "(b, a)-1"], [0, 0, 0], [1, 3, 4]]
    found = load_table(written(tmp_path, sheet(indexed), "t.XLSX"))
    assert found.tasks == ("b", "a") and found.series("b", "a") == (0.0, 3.0) and found.series("a", "b") == (0.0, 4.0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["(0, 1)-0", "(0, 1)-2"], [0, 0], [1, 2]], "cell B1.*not called like"),
        ([["(0, 1)-0", "(0, 1)-1"], [0, 0], [1, None]], "cell B3.*no number"),
        ([["(0, 1)-0", "(0, 1)-1"], [0, 0], [1, "x"]], "cell B3.*no number"),
        ([["(0, 1)-0", "(0, 1)-1", "(0, 1)-1"], [0, 0, 0], [1, 2, 3]], "cell C2.*twice"),
        ([["(0, 1)-0"], [0], [1]], 'cell A2.*"1" is a partner'),
        ([[]], "no column of a pair"),
    ],
)
def test_wrong_sheets_are_refused(tmp_path: Path, rows: list[list[Any]], message: str) -> None:
    path = written(tmp_path, sheet(rows), "t.xlsx")
    with pytest.raises(InvalidConfig, match=message):
        load_table(path)


def test_archives_that_are_no_sheets(tmp_path: Path) -> None:
    """Nothing is unpacked that would not fit, and no parser's own error comes through."""
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 60_000_000)
    for content, message in ((bomb.getvalue(), "unpacks to"), (b"", "cannot read"), (b"PK\x03\x04abc", "cannot read")):
        path = written(tmp_path, content, "t.xlsx")
        with pytest.raises(InvalidConfig, match=message):
            load_table(path)
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("a.txt", "b")
    with pytest.raises(InvalidConfig, match="cannot read"):
        load_table(written(tmp_path, empty.getvalue(), "t.xlsx"))


def test_names_of_tasks_can_be_changed(tmp_path: Path) -> None:
    table = load_table(written(tmp_path, GOOD))
    assert table.renamed(["seg", "depth"]).series("depth", "seg") == table.series("b", "a")
    with pytest.raises(InvalidConfig, match="1 names, and the table has 2 tasks"):
        table.renamed(["seg"])
