"""A measurement as rows for other programs: one for each model, runtime and batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.report.runtime_tables import measurements

Json = Mapping[str, Any]
_FIRST = ("runtime", "provider", "threads", "batch", "name")
_LEFT_OUT = frozenset({"samples_ms", "inputs", "region", "runtime"})
"""What is a list for each model, or the same for all."""


def rows_of_bench(bench: Json) -> list[dict[str, Any]]:
    """Return the numbers of every model of every measurement, with its speed-up over the first model there."""
    return [row for one in measurements(bench) for row in _rows(one)]


def _rows(one: Json) -> list[dict[str, Any]]:
    ratios = {ratio["name"]: ratio for ratio in one["ratios"]}
    rows = []
    for model in one["models"]:
        own = {key: value for key, value in model.items() if key not in _LEFT_OUT}
        low, high = own.pop("p50_ci_ms")
        ratio = ratios.get(model["name"])
        speed_low, speed_high = ratio["speed_up_ci"] if ratio else (1.0, 1.0)
        row = {
            "runtime": one["runtime"],
            "batch": one["settings"]["batch"],
            **own,
            "p50_low_ms": low,
            "p50_high_ms": high,
            "speed_up": ratio["speed_up"] if ratio else 1.0,
            "speed_up_low": speed_low,
            "speed_up_high": speed_high,
        }
        rows.append({key: row[key] for key in (*_FIRST, *(key for key in row if key not in _FIRST))})
    return rows
