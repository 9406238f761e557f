"""How results look in the terminal."""

from __future__ import annotations

from trunkline.bench.compare import Comparison
from trunkline.cli.console import emit, emit_table, say
from trunkline.cli.export_notes import show_free_size
from trunkline.files.write import json_ready
from trunkline.pipeline.project import Project
from trunkline.report.against_table import against_table
from trunkline.report.document import Report
from trunkline.report.runtime_tables import tables_of
from trunkline.report.tables import Table, latency_table
from trunkline.report.trade_off import FOUND
from trunkline.text import shape_text
from trunkline.verbs.run import RunResult


def say_notes(project: Project) -> None:
    """Print on stderr what the user should know of the backbone and the data."""
    for note in project.notes:
        say(f"note: {note}")


def show_table(table: Table, *, left: int = 1) -> None:
    """Print one table of a report, whose first ``left`` columns are names."""
    emit_table(table.title, table.columns, table.rows, left=left)
    for note in table.notes:
        emit(note)
    emit("")


def show_report(report: Report) -> None:
    """Print a report's tables and where its files are."""
    for table in report.tables:
        show_table(table)
    emit(f"report  {report.path}")
    for picture in report.pictures:
        emit(f"picture {picture}")


def show_run(result: RunResult) -> None:
    """Print a run's report, where its files are, and how fast its model is."""
    show_report(result.report)
    emit(f"plan    {result.search.path}")
    emit(f"model   {result.exported.path}")
    verdict = "passed" if result.exported.parity.passed else "failed"
    emit(f"parity  {verdict}")
    show_free_size(result.exported)
    emit(f"latency {_latency(result.latency)}")


def show_comparison(comparison: Comparison) -> None:
    """Print a measurement and whatever makes it doubtful."""
    content = json_ready(comparison.to_json())
    if len({one.runtime for one in (comparison, *comparison.further)}) == 1:
        show_table(latency_table(content))
    for table in tables_of(content):
        show_table(table, left=2)
    changes = against_table(content)
    if changes is not None:
        show_table(changes, left=2)
    for region in dict.fromkeys(one.latencies[0].region for one in (comparison, *comparison.further)):
        emit(f"timed: {region}")
    # Sizes that the user chose decide the latency, and a model may have several inputs that they are for.
    if comparison.settings.input_size or comparison.settings.axes:
        for latency in comparison.latencies:
            fed = ", ".join(f"{one.declared.name} {shape_text(one.shape)}" for one in latency.inputs)
            emit(f"fed: {latency.name}: {fed}")


def _latency(comparison: Comparison) -> str:
    """Return in a line how much faster than N models the run's own is, and whether that can be relied on."""
    latency = next(each for each in comparison.latencies if each.name == FOUND)
    ratio = next(each for each in comparison.ratios if each.name == FOUND)
    # The interval is of the ratio of times; a speed-up is its inverse, so the ends change places.
    high, low = (1 / end for end in ratio.ci)
    line = f"{latency.p50_ms:.2f} ms, {ratio.speed_up:.2f}× as fast as {ratio.against} [{low:.2f}, {high:.2f}]"
    return line if ratio.stable else f"{line}, unstable: {ratio.reason}"
