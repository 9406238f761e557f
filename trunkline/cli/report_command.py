"""``trunkline report``: write a run's tables and pictures again, or one page about runs, comparisons, measurements."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json
from trunkline.cli.options import Json
from trunkline.cli.results import show_report
from trunkline.errors import InvalidConfig

Sources = Annotated[
    Path,
    Parameter(
        help="The run's folder; with --out several, also of comparisons, and JSON files of measurements and layouts."
    ),
]
Page = Annotated[
    Path | None, Parameter(name="--out", help="Write one HTML page that opens offline, instead of files in the folder.")
]


def report_command(*runs: Sources, out: Page = None, json: Json = False) -> int:
    """Write a run's report: tables and pictures, or one page for others to read."""
    if out is not None:
        return _page(runs, out, json=json)
    if len(runs) != 1:
        advice = "name one run, or give --out report.html for one page about all of them"
        raise InvalidConfig(f"{len(runs)} runs are named", place="RUN", advice=advice)
    from trunkline.report.document import write_report

    report = write_report(runs[0])
    if json:
        emit_json(report.to_json())
    else:
        show_report(report)
    return 0


def _page(runs: tuple[Path, ...], out: Path, *, json: bool) -> int:
    from trunkline.report.html.write import write_html

    if not runs:
        advice = "name the folders of runs and comparisons, or JSON files of measurements"
        raise InvalidConfig("nothing is named that the page could be about", place="RUN", advice=advice)
    command = shlex.join(["trunkline", "report", *map(str, runs), "--out", str(out)])
    written = write_html(runs, out, command)
    if json:
        emit_json(written.to_json())
        return 0
    for title, sentences in written.summary.items():
        emit(title)
        for sentence in sentences:
            emit(f"  {sentence}")
    emit(f"report  {written.path}  ({written.size_bytes / 1e6:.2f} MB)")
    return 0
