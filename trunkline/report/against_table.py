"""The table of what changed since an earlier measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.report.tables import UNSTABLE, Table

Json = Mapping[str, Any]


def against_table(bench: Json, title: str = "Against an earlier measurement") -> Table | None:
    """Return each model now and then; nothing where a measurement was not compared with another."""
    changes = bench.get("against") or []
    if not changes:
        return None
    columns = ("model", "runs on", "then (ms)", "now (ms)", "now / then", "99 % interval", "compared", "verdict")
    rows = tuple(_row(change) for change in changes)
    margin = changes[0]["margin_percent"]
    notes = [f"Slower or faster: the whole interval lies beyond a margin of {margin:g} %."]
    if any(change["compared"] != "latency" for change in changes):
        notes.append("Ratio to baseline: the model's time divided by that of the first one, then and now.")
    notes += [f"{UNSTABLE} {change['name']}: {change['reason']}" for change in changes if change["reason"]]
    return Table(title, columns, rows, tuple(notes))


def _row(change: Json) -> tuple[str, ...]:
    low, high = change["ci"]
    mark = f" {UNSTABLE}" if change["reason"] else ""
    return (
        change["name"],
        f"{change['runtime']}, batch {change['batch']}",
        f"{change['old_ms']:.2f}",
        f"{change['new_ms']:.2f}",
        f"{change['ratio']:.3f}{mark}",
        f"{low:.3f}–{high:.3f}",
        "the baseline" if change["baseline"] else change["compared"],
        change["verdict"],
    )
