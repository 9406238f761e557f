"""How results look in the terminal."""

from __future__ import annotations

from trunkline.bench.compare import Comparison
from trunkline.bench.report.document import Report
from trunkline.bench.report.tables import Table, latency_table
from trunkline.cli.console import emit, emit_table, say
from trunkline.verbs.project import Project
from trunkline.verbs.run import RunResult


def say_notes(project: Project) -> None:
    """Tell on stderr what the user should know of the backbone and the data."""
    for note in project.notes:
        say(f"note: {note}")


def show_table(table: Table) -> None:
    """Print one table of a report."""
    emit_table(table.title, table.columns, table.rows)
    emit("")


def show_report(report: Report) -> None:
    """Print a report's tables and where its files are."""
    for table in report.tables:
        show_table(table)
    emit(f"report  {report.path}")
    for picture in report.pictures:
        emit(f"picture {picture}")


def show_run(result: RunResult) -> None:
    """Print what a run came to."""
    show_report(result.report)
    emit(f"plan    {result.search.path}")
    emit(f"model   {result.exported.path}")
    verdict = "passed" if result.exported.parity.passed else "failed"
    emit(f"parity  {verdict}")


def show_comparison(comparison: Comparison) -> None:
    """Print a measurement and whatever makes it doubtful."""
    show_table(latency_table(comparison.to_json()))
    emit(f"timed: {comparison.latencies[0].region}")
    for latency in comparison.latencies:
        if not latency.stable:
            emit(f"unstable: {latency.name}: {latency.reason}")
