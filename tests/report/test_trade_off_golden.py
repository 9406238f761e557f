"""Δ and latency stand side by side, each model's own, and what is not steady is marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trunkline.report.trade_off import draw_trade_off, trade_off_table, ways

pytestmark = pytest.mark.golden

Json = dict[str, Any]


def measured(name: str, p50_ms: float, macs: float | None, *, stable: bool = True) -> dict[str, Any]:
    reason = "" if stable else "too noisy"
    interval = [p50_ms - 0.1, p50_ms + 0.1]
    return {
        "name": name,
        "p50_ms": p50_ms,
        "p50_ci_ms": interval,
        "macs_ratio": macs,
        "stable": stable,
        "reason": reason,
    }


def run(*, noisy: str = "", alike: bool = True) -> tuple[list[Json], dict[str, Json], Json]:
    times = {"single-task": (3.0, 1.0), "share-until:2": (2.5, 0.83), "multi-task": (1.0, 0.36)}
    times["model"] = (2.0, None)
    bench = {
        "models": [measured(name, *row, stable=name != noisy) for name, row in times.items()],
        "ratios": [{"name": name, "speed_up": 3.0 / row[0]} for name, row in times.items() if name != "single-task"],
    }
    changes = {"model": -2.0, "share-until:2": 0.5, "multi-task": -7.0}
    deltas = {name: {"depth": change - 1, "edges": change + 1, "mean": change} for name, change in changes.items()}
    names = ("model", "multi-task", "single-task", "share-until:2")
    models = [{"name": name, "alike": alike or name != "model"} for name in names]
    return models, deltas, bench


def test_each_way_has_its_figures() -> None:
    """Every way of sharing has its own figures."""
    models, deltas, bench = run()
    table = trade_off_table(ways(models, deltas, bench), bench)
    assert table.columns == ("model", "MACs", "p50 (ms)", "speed-up", "Δ depth (%)", "Δ edges (%)", "Δ mean (%)")
    assert table.rows == (
        ("single-task", "1.000", "3.00", "1.00", "+0.00", "+0.00", "+0.00"),
        ("share-until:2", "0.830", "2.50", "1.20", "-0.50", "+1.50", "+0.50"),
        ("multi-task", "0.360", "1.00", "3.00", "-8.00", "-6.00", "-7.00"),
        ("model", "–", "2.00", "1.50", "-3.00", "-1.00", "-2.00"),
    )


@pytest.mark.parametrize(("noisy", "marked"), [("model", 1), ("single-task", 4)])
def test_unsteady_ways_are_marked(noisy: str, marked: int) -> None:
    """What is not steady is marked, with its reason."""
    models, deltas, bench = run(noisy=noisy)
    table = trade_off_table(ways(models, deltas, bench), bench)
    assert sum(any(" " in cell for cell in row) for row in table.rows) == marked
    assert "too noisy" in table.to_markdown()


def test_more_training_is_reported() -> None:
    """A model that had more training than the others is said to have had it."""
    models, deltas, bench = run(alike=False)
    rows = {row[0]: row for row in trade_off_table(ways(models, deltas, bench), bench).rows}
    assert rows["model"][-1] == "-2.00 (not alike)" and rows["multi-task"][-1] == "-7.00"


def test_nothing_without_single_task_models() -> None:
    """Δ is against them."""
    models, _, bench = run()
    assert ways(models, {}, bench) == []


def test_picture_is_drawn(tmp_path: Path) -> None:
    """What is not steady looks otherwise."""
    for noisy in ("", "model"):
        models, deltas, bench = run(noisy=noisy)
        path = tmp_path / f"trade_off{noisy}.png"
        draw_trade_off(ways(models, deltas, bench), bench, path)
        assert path.stat().st_size > 5000
    assert (tmp_path / "trade_off.png").read_bytes() != (tmp_path / "trade_offmodel.png").read_bytes()
