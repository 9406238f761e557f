"""The tables of a report, from a run's JSON; the terminal and Markdown show the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.text import printable

Json = Mapping[str, Any]

UNSTABLE, UNKNOWN = "?", "unknown"


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the first column names, the others hold numbers with their units in the heading.

    Attributes:
        title: Of the table.
        columns: Their headings.
        rows: As many cells each.
        notes: What its marks mean, one line each; shown below it.
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
    return Table("What the searched model runs and stores", columns, tuple(rows))


def accuracy_table(models: Sequence[Json], deltas: Mapping[str, Mapping[str, float]]) -> Table:
    """Return each model's metrics on the split that reports, and Δ against single-task models where they were trained.

    Δ of a model that was not trained as they were is marked.
    """
    keys = [(task, metric) for task, metrics in models[0]["metrics"].items() for metric in metrics]
    rows = [
        (f"{task} {metric}", *(_figure(model["metrics"].get(task, {}).get(metric)) for model in models))
        for task, metric in keys
    ]
    if deltas:
        rows.append(("Δ mean (%)", *(_change(model, deltas.get(model["name"], {}).get("mean")) for model in models)))
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
        ratio_mark = f" {UNSTABLE}" if name in speed_ups and reasons.keys() & {name, first["name"]} else ""
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
    return Table(title, columns, tuple(rows), (*unstable_notes(first["name"], reasons), *_unknown_notes(bench)))


def unstable(bench: Json) -> dict[str, str]:
    """Return why a latency cannot be relied on, by the name of the model; steady ones are left out."""
    return {model["name"]: model["reason"] for model in bench["models"] if not model["stable"]}


def unstable_notes(first: str, reasons: Mapping[str, str]) -> list[str]:
    """Return why latencies cannot be relied on, in sentences; ``first`` is what speed-ups are against."""
    ratios = ", and so are all speed-ups and bounds, which are against it"
    return [
        f"{UNSTABLE} {name} is unstable{ratios if name == first else ''}: {reason}" for name, reason in reasons.items()
    ]


def _unknown_notes(bench: Json) -> list[str]:
    names = ", ".join(model["name"] for model in bench["models"] if model["macs"] is None)
    return [f"{UNKNOWN}: the MACs of {names}; `trunkline inspect` says why they cannot be counted"] if names else []


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


def _cost_row(name: str, mine: Json, theirs: Json) -> tuple[str, ...]:
    row = [name]
    for key, unit in (("macs", 1e6), ("parameters", 1e3)):
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
    for mark, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "\\`")):
        safe = safe.replace(mark, shown)
    return safe
