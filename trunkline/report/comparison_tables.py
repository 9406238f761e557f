"""The tables of a comparison: what each way of sharing costs and saves, its metrics, and what finding it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.report.style import short
from trunkline.report.tables import UNSTABLE, Table

Json = Mapping[str, Any]
NOT_KNOWN = "–"
INTERVAL = "± is half of the 95 % interval of the mean over seeds (Student's t); seeds are paired in every difference."


def cost_table(content: Json) -> Table:
    """Return what each way of sharing runs, stores and takes, next to one model a task."""
    rows = []
    for method in content["methods"]:
        mark = f" {UNSTABLE}" if method["stable"] is False else ""
        rows.append(
            (
                short(method["method"]),
                _number(method["macs"], 1, scale=1e6),
                _number(method["macs_share"], 3),
                _number(method["parameters_share"], 3),
                _number(method["paper_parameters_share"], 3),
                _number(method["latency_ms"], 2, mark),
                _number(method["speed_up"], 2, mark),
            )
        )
    columns = ("method", "MACs (M)", "MACs, share", "parameters, share", "by the papers' rule", "p50 (ms)", "speed-up")
    notes = [
        f"Shares are of one model a task. The papers' rule counts convolutions of the backbone. {INTERVAL}",
    ]
    if any(method["stable"] is False for method in content["methods"]):
        notes.append(f"{UNSTABLE} the latency was not steady.")
    return Table("What sharing saves", columns, tuple(rows), tuple(notes))


def accuracy_table(content: Json) -> Table:
    """Return Δ of each way of sharing, and by how much it lies above what needs no search, at equal MACs."""
    rows = []
    for method in content["methods"]:
        delta = method["delta"]
        rows.append(
            (
                short(method["method"]),
                str(method["macs"]["seeds"]),
                _number(method["macs_share"], 3),
                *(_change(delta.get(task) if delta else None) for task in content["tasks"]),
                _change(delta["mean"] if delta else None) + ("" if method["alike"] else " (not alike)"),
                _change(method["over_cuts"]),
                _change(method["over_best_cut"]),
                _change(method["over_random"]),
            )
        )
    columns = (
        *("method", "seeds", "MACs, share"),
        *(f"Δ {task} (%)" for task in content["tasks"]),
        *("Δ mean (%)", "over the cuts", "over the best cut", "over random"),
    )
    notes = [
        f"Δ is against single-task models of the same seed. {INTERVAL}",
        "Over the cuts: Δ mean above the line through single-task, multi-task and share-until models, at equal MACs. "
        "Over the best cut: above the best of those that execute no more. Over random: above random plans like it.",
    ]
    for method in content["methods"]:
        if method["left_out"]:
            name, left = short(method["method"]), ", ".join(method["left_out"])
            notes.append(f"Δ of {name} is without {left}: no value, or 0 alone.")
    if not all(method["alike"] for method in content["methods"]):
        notes.append(
            "Not alike: it goes on from a search's weights, had a teacher or other steps, or its method weighs losses."
        )
    return Table("What sharing costs", columns, tuple(rows), tuple(notes))


def judged_table(content: Json) -> Table | None:
    """Return how well estimates agree with measurements; nothing where no plan had one."""
    judged = content.get("judged")
    if not judged:
        return None
    rows = []
    for key, found in judged.items():
        rows.append((key, str(found["n"]), _correlation(found["pearson"]), _correlation(found["spearman"])))
    notes = (
        "Estimates that plans were chosen by, before any was trained, against Δ of the trained models; n is the number "
        "of plans. In brackets the 95 % interval.",
    )
    return Table("How good the estimates were", ("Δ", "n", "Pearson", "Spearman"), tuple(rows), notes)


def rankings_table(content: Json) -> Table | None:
    """Return how good each way to rank trees is; nothing where no method ranked any, or too few were trained."""
    rankings = content.get("rankings")
    if not rankings:
        return None
    rows = []
    for found in rankings:
        cells = [_correlation(found[kind]) for kind in ("pearson", "spearman", "at_equal_macs")]
        rows.append((found["by"], *cells, short(found["first"] or "any"), f"{found['first_delta']:+.2f}"))
    notes = (
        f"Each ranking is held against the mean Δ of the same {rankings[0]['n']} trees. In brackets the 95 % interval; "
        "of chance, where 95 % of orders lie. At equal MACs: Spearman's, beyond what MACs explain.",
        "Its first: the tree that it ranks first of these, and what that came to; by chance it is any of them.",
    )
    columns = ("ranked by", "Pearson", "Spearman", "at equal MACs", "its first", "Δ mean (%)")
    return Table("How good rankings of trees were", columns, tuple(rows), notes)


def _correlation(found: Json | None) -> str:
    if found is None or found["value"] is None:
        return NOT_KNOWN
    ends = "" if found["low"] is None else f" [{found['low']:+.2f}, {found['high']:+.2f}]"
    return f"{found['value']:+.2f}{ends}"


def metrics_table(content: Json) -> Table:
    """Return the mean of every metric on the split that reports."""
    first = content["methods"][0]["metrics"]
    keys = [(task, metric) for task, values in first.items() for metric in values]
    rows = []
    for method in content["methods"]:
        cells = [_metric(method["metrics"].get(task, {}).get(metric)) for task, metric in keys]
        rows.append((short(method["method"]), *cells))
    columns = ("method", *(f"{task} {metric}" for task, metric in keys))
    return Table("Every metric, mean over seeds", columns, tuple(rows), (INTERVAL,))


def effort_table(content: Json) -> Table:
    """Return the time and memory that each way of sharing took."""
    rows = [
        (
            short(method["method"]),
            _number(method["search_seconds"], 1),
            _number(method["train_seconds"], 1),
            _number(method["search_peak_bytes"], 0, scale=2**20),
        )
        for method in content["methods"]
    ]
    columns = ("method", "search (s)", "training (s)", "search peak (MiB)")
    notes = (
        "Search: all that a method does before the last training of its model, with single-task "
        "models and draws that it trains.",
        f"The peak is that of the whole process with its libraries; on a GPU, what torch held there. {INTERVAL}",
    )
    return Table("What finding it took", columns, tuple(rows), notes)


def _number(mean: Json | None, digits: int, mark: str = "", scale: float = 1.0) -> str:
    if mean is None or mean["mean"] is None:
        return NOT_KNOWN
    low, high = mean["low"], mean["high"]
    margin = "" if low is None else f"{(high - low) / scale / 2:,.{digits}f}"
    # What no seed moves in these digits, as the MACs of a cut, has no margin that would say anything.
    shown = f" ± {margin}" if margin.strip("0.") else ""
    return f"{mean['mean'] / scale:,.{digits}f}{shown}{mark}"


def _metric(mean: Json | None) -> str:
    if mean is None or mean["mean"] is None:
        return NOT_KNOWN
    low, high = mean["low"], mean["high"]
    return f"{mean['mean']:.4g}{_margin(low, high, '.2g')}"


def _change(mean: Json | None) -> str:
    if mean is None or mean["mean"] is None:
        return NOT_KNOWN
    low, high = mean["low"], mean["high"]
    return f"{mean['mean']:+.2f}{_margin(low, high, '.2f')}"


def _margin(low: float | None, high: float | None, form: str) -> str:
    if low is None or high is None:  # one seed alone has no interval
        return ""
    return f" ± {(high - low) / 2:{form}}"
