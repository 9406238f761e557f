"""The tables of a report, from a run's JSON; the terminal and Markdown show the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.report.device_line import device_lines
from trunkline.report.int8_note import int8_note, int8_note_of
from trunkline.text import printable

Json = Mapping[str, Any]

UNSTABLE, UNKNOWN = "?", "unknown"


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the first column names, the others hold numbers with their units in the heading.

    Attributes:
        title: The heading above it.
        columns: The headings of its columns.
        rows: The cells of each row, as many as there are columns.
        notes: What its marks mean, one line each; shown below it.

    >>> print(Table("Cost", ("model", "MACs (M)"), (("shared", "1.0"),)).to_markdown())
    ### Cost
    <BLANKLINE>
    | model | MACs (M) |
    | --- | ---: |
    | shared | 1.0 |
    <BLANKLINE>
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """Return a Markdown table; cell text from model files is escaped."""
        head = f"| {' | '.join(map(in_markdown, self.columns))} |"
        rule = "|" + " --- |" + " ---: |" * (len(self.columns) - 1)
        body = [f"| {' | '.join(map(in_markdown, row))} |" for row in self.rows]
        notes = [line for note in self.notes for line in (in_markdown(note), "")]
        return "\n".join([f"### {in_markdown(self.title)}", "", head, rule, *body, "", *notes])


def cost_table(search: Json) -> Table:
    """Return what the plan's model runs and stores, backbone and heads apart."""
    parts = search["parts"]
    rows = [_cost_row("backbone", parts["backbone"], parts["independent_backbone"])]
    heads = {key: parts["independent"][key] - parts["independent_backbone"][key] for key in ("macs", "parameters")}
    rows.append(_cost_row("heads", parts["heads"], heads))
    whole = {key: parts["backbone"][key] + parts["heads"][key] for key in ("macs", "parameters")}
    rows.append(_cost_row("all", whole, parts["independent"]))
    columns = (
        "cost of one image",
        "MACs (M)",
        "N models (M)",
        "ratio",
        "parameters (k)",
        "N models (k)",
        "ratio",
    )
    return Table("What the found model runs and stores", columns, tuple(rows))


def accuracy_table(models: Sequence[Json], deltas: Mapping[str, Mapping[str, float]]) -> Table:
    """Return each model's metrics on the split that reports, and Δ against single-task models where they were trained.

    Δ of a model that was not trained as they were is marked.
    """
    rows = []
    for task, metrics in models[0]["metrics"].items():
        for metric in metrics:
            # A single-task model has the metrics of its own task only.
            figures = [_figure(model["metrics"].get(task, {}).get(metric)) for model in models]
            rows.append((f"{task} {metric}", *figures))
    if deltas:
        changes = [deltas.get(model["name"], {}).get("mean") for model in models]
        cells = [_change(model, change) for model, change in zip(models, changes, strict=True)]
        rows.append(("Δ mean (%)", *cells))
    reported = models[0]["splits"]["report"]
    title = f"Accuracy on {reported['split']} ({reported['samples']} samples)"
    return Table(title, ("metric", *(model["name"] for model in models)), tuple(rows))


def latency_table(bench: Json) -> Table:
    """Return p50 with its 99 % interval, speed-up over the first, and time against the MAC-proportional bound.

    What is not steady is marked, and so is what was computed from it.
    """
    first, reasons = bench["models"][0], unstable(bench)
    speed_ups = {ratio["name"]: ratio["speed_up"] for ratio in bench["ratios"]}
    rows = []
    for model in bench["models"]:
        name, (low, high) = model["name"], model["p50_ci_ms"]
        time_mark = f" {UNSTABLE}" if name in reasons else ""
        ratio_mark = mark_of_ratio(name, first["name"], bench)
        rows.append(
            (
                name,
                f"{model['p50_ms']:.2f}{time_mark}",
                f"{low:.2f}–{high:.2f}{time_mark}",
                f"{speed_ups.get(name, 1.0):.2f}{ratio_mark}",
                _known(model["macs_ratio"]),
                _known(model["time_over_bound"], ratio_mark),
                str(model["samples"]),
            )
        )
    title = f"Latency ({first['provider']}, {first['threads']} thread(s))"
    columns = ("model", "p50 (ms)", "99 % interval (ms)", "speed-up", "MAC ratio", "time / MAC bound", "samples")
    notes = [*unstable_notes(first["name"], reasons), *_unknown_notes(bench), *machine_notes(bench)]
    return Table(title, columns, tuple(rows), tuple(notes))


def unstable(bench: Json) -> dict[str, str]:
    """Return why a latency cannot be relied on, by the name of the model; steady ones are left out."""
    return {model["name"]: model["reason"] for model in bench["models"] if not model["stable"]}


def mark_of_ratio(name: str, first: str, bench: Json) -> str:
    """Return the mark behind a model's speed-up; empty where both latencies are steady, or it is the baseline."""
    has_ratio = any(ratio["name"] == name for ratio in bench["ratios"])
    is_unsteady = not unstable(bench).keys().isdisjoint({name, first})
    return f" {UNSTABLE}" if has_ratio and is_unsteady else ""


def unstable_notes(first: str, reasons: Mapping[str, str]) -> list[str]:
    """Return why latencies cannot be relied on, in sentences; ``first`` is what speed-ups are against."""
    notes = []
    for name, reason in reasons.items():
        consequence = ", and so are all speed-ups and bounds, which are against it" if name == first else ""
        notes.append(f"{UNSTABLE} {name} is unstable{consequence}: {reason}")
    return notes


def machine_notes(bench: Json) -> list[str]:
    """Return what a table of latencies says of the machine: its state, and what it lacks for 8-bit models."""
    lacks = int8_note_of(bench)
    return [*([f"int8: {lacks}"] if lacks else []), *device_lines(bench)]


def _unknown_notes(bench: Json) -> list[str]:
    names = ", ".join(model["name"] for model in bench["models"] if model["macs"] is None)
    if not names:
        return []
    return [f"{UNKNOWN}: the MACs of {names}; `trunkline inspect` says why they cannot be counted"]


def parity_table(export: Json) -> Table:
    """Return the errors of the exported file against the trained twin in float64."""
    rows = [
        (
            output["name"],
            f"{output['max_abs']:.2e}",
            f"{output['max_rel']:.2e}",
            f"{output['tolerance']:.2e}",
            "passed" if output["passed"] else "FAILED",
        )
        for output in export["parity"]["outputs"]
    ]
    columns = ("output", "max abs error", "max rel error", "tolerance", "verdict")
    return Table("Parity of the exported file", columns, tuple(rows))


def precision_table(precisions: Json) -> Table:
    """Return what each precision costs the tasks, next to the float32 file."""
    first = precisions["float32"]
    tasks = list(first["metrics"])
    rows = [("float32", *("" for _ in tasks), "", "", _megabytes(first["file_bytes"]))]
    for file in precisions["files"]:
        worst = max(file["parity"]["outputs"], key=lambda output: output["max_rel"])
        changes = (_percent(file["change"].get(task)) for task in tasks)
        left = ", ".join(file["in_float32"]) or "nothing"
        rows.append((file["precision"], *changes, f"{worst['max_rel']:.1e}", left, _megabytes(file["file_bytes"])))
    columns = ("precision", *(f"{task} (%)" for task in tasks), "largest error", "stays in float32", "MB")
    notes = [
        "Changes of the tasks' metrics are against the float32 file, on the split that reports. The error is that of "
        "parity, as a part of the output: of int8 against the same file without fused kernels.",
    ]
    lacks = int8_note(precisions.get("instructions"))
    if lacks and any(file["precision"] == "int8" for file in precisions["files"]):
        notes.append(f"int8: {lacks}")
    return Table("Precisions", columns, tuple(rows), tuple(notes))


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.2f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _cost_row(name: str, mine: Json, theirs: Json) -> tuple[str, ...]:
    row = [name]
    for key, unit in (("macs", 1e6), ("parameters", 1e3)):
        # Tasks without heads run nothing there, in either model.
        ratio = mine[key] / theirs[key] if theirs[key] else 1.0
        row += [f"{mine[key] / unit:,.1f}", f"{theirs[key] / unit:,.1f}", f"{ratio:.3f}"]
    return tuple(row)


def _change(model: Json, change: float | None) -> str:
    if change is None:
        return "–"
    return f"{change:+.2f}" if model["alike"] else f"{change:+.2f} (not alike)"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _known(value: float | None, mark: str = "") -> str:
    return UNKNOWN if value is None else f"{value:.3f}{mark}"


def in_markdown(text: str) -> str:
    """Show text from files as text: no markup, no line breaks, no table bars."""
    safe = printable(text, " ")
    # The ampersand first, or those of the other replacements would be escaped once more.
    for mark, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "\\`")):
        safe = safe.replace(mark, shown)
    return safe
