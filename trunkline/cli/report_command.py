"""``trunkline report``: write a run's tables and pictures again from what its folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit_json
from trunkline.cli.options import Json
from trunkline.cli.results import show_report
from trunkline.report.document import write_report


def report_command(run: Annotated[Path, Parameter(help="The run's folder.")], *, json: Json = False) -> int:
    """Write a run's report: tables and pictures."""
    report = write_report(run)
    if json:
        emit_json(report.to_json())
    else:
        show_report(report)
    return 0
