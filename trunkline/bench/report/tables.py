"""The tables of a report, from a run's JSON; the terminal and Markdown show the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the first column names, the others hold numbers with their units in the heading."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_markdown(self) -> str:
        """Return a Markdown table; cell text from model files is escaped."""
        head = f"| {' | '.join(map(escaped, self.columns))} |"
        rule = "|" + " --- |" + " ---: |" * (len(self.columns) - 1)
        body = [f"| {' | '.join(map(escaped, row))} |" for row in self.rows]
        return "\n".join([f"### {escaped(self.title)}", "", head, rule, *body, ""])


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
    """Return p50 with its 99 % interval, speed-up over the first, and time against the MAC-proportional bound."""
    ratios = {ratio["name"]: ratio for ratio in bench["ratios"]}
    rows = []
    for model in bench["models"]:
        ratio = ratios.get(model["name"])
        low, high = model["p50_ci_ms"]
        rows.append(
            (
                model["name"],
                f"{model['p50_ms']:.2f}",
                f"{low:.2f}–{high:.2f}",
                "1.00" if ratio is None else f"{ratio['speed_up']:.2f}",
                _maybe(model.get("macs_ratio"), "{:.3f}"),
                _maybe(model.get("time_over_bound"), "{:.3f}"),
                str(model["samples"]),
            )
        )
    first = bench["models"][0]
    title = f"Latency ({first['provider']}, {first['threads']} thread(s))"
    columns = ("model", "p50 (ms)", "99 % interval (ms)", "speed-up", "MAC ratio", "time / MAC bound", "samples")
    return Table(title, columns, tuple(rows))


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


def _maybe(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def escaped(text: str) -> str:
    """Show text from files as text: no markup, no line breaks, no table bars."""
    safe = "".join(c if c.isprintable() else " " for c in text)
    for mark, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "\\`")):
        safe = safe.replace(mark, shown)
    return safe
