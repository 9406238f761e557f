"""A comparison on paper: its tables, its rows for other programs, and the front that nothing beats."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.report.comparison import write_comparison
from trunkline.report.comparison_csv import csv_of
from trunkline.report.comparison_tables import accuracy_table, cost_table, effort_table, metrics_table
from trunkline.report.front_picture import AXES, FrontMark, draw_front, front_of, limits_of, marks_of

pytestmark = pytest.mark.golden


def mean(value: float, margin: float | None = 0.5, seeds: int = 3) -> dict[str, Any]:
    low, high = (None, None) if margin is None else (value - margin, value + margin)
    return {"mean": value, "low": low, "high": high, "least": value - 1, "most": value + 1, "seeds": seeds}


def method(name: str, change: float, macs: float, ms: float, **others: Any) -> dict[str, Any]:
    """The summary of a way of sharing, as `compare` gives it."""
    counted = ("parameters", "parameters_share", "paper_parameters", "paper_parameters_share", "speed_up")
    return {
        "method": name,
        "decided_by": name.partition(":")[0],
        "macs": mean(macs * 1e6),
        "macs_share": mean(macs),
        "latency_ms": mean(ms),
        **{key: mean(0.5) for key in counted},
        "search_seconds": mean(61.25),
        "search_peak_bytes": mean(3 * 2.0**20),
        "train_seconds": mean(4.0),
        "stable": True,
        "alike": True,
        "left_out": [],
        "metrics": {"depth": {"rmse": mean(0.25)}, "seg": {"miou": None}},
        "delta": {"depth": mean(change), "seg": mean(change), "mean": mean(change)},
        "over_cuts": None,
        "over_best_cut": {"cut": "multi-task", **mean(1.5)},
        "over_random": mean(-2.0, None, 1),
        **others,
    }


CONTENT = {
    "backbone": "tiny|net",
    "tasks": ["depth", "seg"],
    "runs": {"done": 5, "all": 6},
    "rows": [{"method": "single-task", "seed": 0, "delta": {"mean": 0.0}}],
    "methods": [
        method("single-task", 0.0, 1.0, 9.0, delta=None),
        method("multi-task", -8.0, 0.4, 3.0, left_out=["depth.rmse"]),
        method("mine", 1.25, 0.6, 5.0, stable=False, alike=False, decided_by="automtl"),
    ],
}


def test_what_sharing_costs() -> None:
    """Δ with half of its interval; without one where there is one seed; a dash where nothing is known."""
    table = accuracy_table(CONTENT)
    cells = dict(zip(table.columns, table.rows[2], strict=True))
    assert cells == {
        "method": "mine",
        "seeds": "3",
        "MACs, share": "0.600 ± 0.500",
        "Δ depth (%)": "+1.25 ± 0.50",
        "Δ seg (%)": "+1.25 ± 0.50",
        "Δ mean (%)": "+1.25 ± 0.50 (not alike)",
        "over the cuts": "–",
        "over the best cut": "+1.50 ± 0.50",
        "over random": "-2.00",
    }
    assert table.rows[0][3:6] == ("–", "–", "–")
    assert any(note.startswith("Not alike") for note in table.notes)
    assert any("Δ of multi-task is without depth.rmse" in note for note in table.notes)


def test_a_task_without_delta_has_a_dash() -> None:
    """Its metrics have no value; the others stand as they are."""
    lost = method("lost", 1.0, 0.5, 2.0, delta={"depth": None, "seg": mean(1.0), "mean": mean(1.0)})
    assert accuracy_table({**CONTENT, "methods": [lost]}).rows[0][3:6] == ("–", "+1.00 ± 0.50", "+1.00 ± 0.50")


def test_what_sharing_saves() -> None:
    """A latency that was not steady is marked, in all that rests on it."""
    table = cost_table(CONTENT)
    cells = dict(zip(table.columns, table.rows[2], strict=True))
    assert (cells["MACs (M)"], cells["p50 (ms)"], cells["speed-up"]) == ("0.6", "5.00 ± 0.50 ?", "0.50 ± 0.50 ?")
    assert any(note.startswith("?") for note in table.notes)
    assert not any("?" in cell for cell in table.rows[1])


def test_what_no_seed_moves_has_no_margin() -> None:
    """Nor has what is less than the last digit, or one seed alone."""
    cut = method("share-until:2", -1.0, 0.7, 5.0, macs_share=mean(0.7, 0.0), latency_ms=mean(5.0, 0.001))
    cut["speed_up"] = mean(2.0, None, 1)
    table = cost_table({**CONTENT, "methods": [cut]})
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert (cells["MACs, share"], cells["p50 (ms)"], cells["speed-up"]) == ("0.700", "5.00", "2.00")


def test_metrics_and_effort() -> None:
    assert metrics_table(CONTENT).rows[1] == ("multi-task", "0.25 ± 0.5", "–")
    assert effort_table(CONTENT).rows[1] == ("multi-task", "61.2 ± 0.5", "4.0 ± 0.5", "3")


def test_rows_for_other_programs() -> None:
    """Every number is a column, also where only some rows have it; text with commas stays one cell."""
    rows = [
        {"method": "a,b", "delta": None, "metrics": {"depth": {"rmse": 0.5}}, "stable": None, "interval_ms": [1, 2]},
        {"method": "c", "delta": {"mean": 1.5}, "metrics": {"depth": {"rmse": None}}, "stable": True},
    ]
    read = list(csv.DictReader(io.StringIO(csv_of(rows))))
    assert read[0] == {
        "method": "a,b",
        "metrics.depth.rmse": "0.5",
        "interval_ms": "1 2",
        "delta.mean": "",
        "stable": "",
    }
    assert (read[1]["delta.mean"], read[1]["metrics.depth.rmse"], read[1]["stable"]) == ("1.5", "", "True")


def test_the_written_comparison(tmp_path: Path) -> None:
    """All tables, both pictures, and how much of it is done; text of files is text."""
    report = write_comparison(CONTENT, tmp_path)
    text = report.path.read_text()
    assert "# tiny\\|net: depth, seg" in text and "5 of 6 runs are done" in text
    for table in report.tables:
        assert f"### {table.title}" in text
    for picture in report.pictures:
        assert picture.read_bytes().startswith(b"\x89PNG") and f"({picture.name})" in text
    assert len(report.pictures) == 2
    assert report.rows.read_text() == csv_of(CONTENT["rows"])  # type: ignore[arg-type]


def test_what_is_drawn() -> None:
    """What has no Δ is not; cuts, means and their ends are what the summary says."""
    marks = marks_of(CONTENT["methods"], "latency_ms")  # type: ignore[arg-type]
    assert [mark.name for mark in marks] == ["multi-task", "mine"]
    assert [mark.is_cut for mark in marks] == [True, False]
    assert (marks[1].cost, marks[1].cost_ends, marks[1].change_ends) == (5.0, (4.0, 6.0), (0.75, 1.75))
    assert not marks[1].steady
    assert [mark.alike for mark in marks] == [True, False]


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert not draw_front([CONTENT["methods"][0]], AXES["macs"], tmp_path / "a.png")  # type: ignore[index]
    assert not list(tmp_path.iterdir())


@given(st.lists(st.floats(-10, 10), min_size=4, max_size=20), st.floats(1e3, 1e6))
def test_an_outlier_is_drawn_at_the_edge(changes: list[float], far: float) -> None:
    """All that is near stands where it is, with one outlier and without; the outlier lies outside."""
    marks = [FrontMark("", 1.0, (1, 1), change, (0, 0), is_cut=False, steady=True) for change in changes]
    low, high = limits_of(marks)
    assert low >= min(changes) and high <= max(changes) and low <= sorted(changes)[len(changes) // 2] <= high
    outlier = FrontMark("", 1.0, (1, 1), -far, (0, 0), is_cut=False, steady=True)
    assert limits_of([*marks, outlier])[0] > -far


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=9))
def test_the_front_is_what_nothing_beats(pairs: list[tuple[int, int]]) -> None:
    """Against the definition, pair by pair; of equal ones one stands for all."""
    marks = [
        FrontMark(f"{number}", cost, (cost, cost), gain, (gain, gain), is_cut=False, steady=True)
        for number, (cost, gain) in enumerate(pairs)
    ]

    def beats(other: FrontMark, mark: FrontMark) -> bool:
        better = other.cost <= mark.cost and other.change >= mark.change
        return better and (other.cost, other.change) != (mark.cost, mark.change)

    unbeaten = {(mark.cost, mark.change) for mark in marks if not any(beats(other, mark) for other in marks)}
    front = front_of(marks)
    assert {(mark.cost, mark.change) for mark in front} == unbeaten
    assert len(front) == len(unbeaten)
    assert [mark.cost for mark in front] == sorted(mark.cost for mark in front)
    longer = FrontMark("longer", -1.0, (-1, -1), 99.0, (99.0, 99.0), is_cut=True, steady=True, alike=False)
    assert front_of([longer, *marks]) == front
