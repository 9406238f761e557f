"""The rows of a comparison as a table for other programs: one line a run, one column a number."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

Json = Mapping[str, Any]


def csv_of(rows: Sequence[Json]) -> str:
    """Return CSV, RFC 4180, with inner tables as columns such as ``metrics.depth.rmse``; what is not known is empty.

    >>> print(csv_of([{"method": "a", "delta": {"mean": 1.5}}, {"method": "b", "delta": None}]), end="")
    method,delta.mean
    a,1.5
    b,
    """
    flat = [_flat(row) for row in rows]
    # A row without Δ has no column for it, so columns are those of all rows, in the order in which they come.
    columns = list(dict.fromkeys(key for row in flat for key, value in row.items() if value is not None))
    written = StringIO()
    writer = csv.DictWriter(written, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return written.getvalue()


def _flat(row: Json, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in row.items():
        match value:
            case Mapping():
                found |= _flat(value, f"{prefix}{key}.")
            case list() | tuple():
                found[f"{prefix}{key}"] = " ".join(str(item) for item in value)
            case _:
                found[f"{prefix}{key}"] = value
    return found
