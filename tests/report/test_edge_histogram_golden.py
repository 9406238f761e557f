"""The histogram of how decided edges are: what is counted where, and for which policies a report has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trunkline.report.document import write_report
from trunkline.report.edge_histogram import BINS, draw_edge_histogram, edge_histogram

pytestmark = pytest.mark.golden


def policy(*rows: list[list[float]], options: tuple[str, str] = ("off", "on")) -> dict[str, Any]:
    units = [f"e{number}" for number in range(len(rows))]
    return {"method": "m", "options": list(options), "units": units, "tasks": ["a", "b"], "probabilities": list(rows)}


@pytest.mark.parametrize(
    ("p", "place"), [(0.0, 0), (0.039, 0), (0.041, 1), (0.5, 12), (0.959, 23), (0.97, 24), (1.0, 24)]
)
def test_bins_are_a_twenty_fifth_wide(p: float, place: int) -> None:
    """As in Fig. S1; the last one holds what is certain."""
    counts = edge_histogram(policy([[1 - p, p], [0.0, 0.0]]))
    assert BINS == 25
    assert counts["a"] == [int(number == place) for number in range(25)]
    assert counts["b"] == [0] * 25  # there is no such edge


def test_the_picture_is_written(tmp_path: Path) -> None:
    """Equal policies give equal pictures, others do not."""
    names = []
    for number, p in enumerate((0.2, 0.2, 0.9)):
        draw_edge_histogram(policy([[1 - p, p], [0.5, 0.5]]), tmp_path / f"{number}.png")
        names.append((tmp_path / f"{number}.png").read_bytes())
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize("options", [("off", "on"), ("run", "skip")])
def test_reports_show_it_for_edges_alone(options: tuple[str, str], tmp_path: Path) -> None:
    content = policy([[0.2, 0.8], [0.5, 0.5]], options=options)
    (tmp_path / "policy.json").write_text(json.dumps(content))
    report = write_report(tmp_path)
    shown = {path.name for path in report.pictures}
    assert "policy.png" in shown
    assert ("edges.png" in shown) == (options == ("off", "on")) == (tmp_path / "edges.png").is_file()
