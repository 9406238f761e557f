"""The numbers of a comparison: a row for each run, and for each way of sharing what its seeds say together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.report.front_picture import CUTS
from trunkline.report.trade_off import SINGLE_TASK
from trunkline.train.loop.evaluate import metrics_from_json
from trunkline.train.tasks.relative import relative_performance
from trunkline.verbs.agreement import agreement_of
from trunkline.verbs.reference_line import Point, line_at
from trunkline.verbs.seed_statistics import mean_of

Json = Mapping[str, Any]
FEWEST_JUDGED = 2
"""Plans with estimates, without which nothing is said of these."""


def rows_of(
    records: Sequence[Json], latencies: Mapping[str, Json], directions: Mapping[str, Mapping[str, bool]]
) -> list[dict[str, Any]]:
    """Return a row for each finished run.

    Args:
        records: What the runs came to.
        latencies: ``latency_ms``, ``interval_ms``, ``speed_up`` and ``stable`` by structure; empty where not measured.
        directions: Whether higher is better, by task and metric.
    """
    alone = {record["seed"]: record for record in records if _is_single_task(record)}
    return [_row(record, latencies, alone.get(record["seed"]), directions) for record in records]


def methods_of(
    rows: Sequence[Json], names: Sequence[str], chances: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, Any]]:
    """Return what the rows of each way of sharing say together, in the order of ``names``.

    Args:
        rows: Those of :func:`rows_of`.
        names: Of the ways of sharing.
        chances: For a way of sharing, those that share by chance and execute as much as it does with the same seed.
    """
    found = []
    for name in names:
        own = [row for row in rows if row["method"] == name]
        if own:
            over = {
                "over_cuts": _over_line(own, rows),
                "over_random": _over_chance(own, rows, (chances or {}).get(name, ())),
                "over_best_cut": _over_best_cut(own, rows),
            }
            found.append({"method": name, "decided_by": own[0]["decided_by"], **_summary(own), **over})
    return found


def judged_estimates(rows: Sequence[Json]) -> dict[str, Any]:
    """Return how well estimates that plans were chosen by agree with what their models came to.

    By task, and on the mean of the tasks. Of a plan that several seeds trained the mean counts. Nothing is judged by
    fewer than two plans.
    """
    measured: dict[str, list[Json]] = {}
    for row in rows:
        if row["estimate"] and row["delta"] and not any(row["delta"].get(task) is None for task in row["estimate"]):
            measured.setdefault(row["method"], []).append(row)
    if len(measured) < FEWEST_JUDGED:
        return {}
    tasks = list(next(iter(measured.values()))[0]["estimate"])
    pairs = {task: [_estimated_and_measured(own, [task]) for own in measured.values()] for task in tasks}
    pairs["mean"] = [_estimated_and_measured(own, tasks) for own in measured.values()]
    return {key: agreement_of(*zip(*found, strict=True)).to_json() for key, found in pairs.items()}


def _estimated_and_measured(rows: Sequence[Json], tasks: Sequence[str]) -> tuple[float, float]:
    """Return the mean over tasks of what was expected of a plan, and of what its models came to."""
    estimated, measured = (
        math.fsum(row[key][task] for row in rows for task in tasks) / (len(rows) * len(tasks))
        for key in ("estimate", "delta")
    )
    return estimated, measured


def _row(
    record: Json, latencies: Mapping[str, Json], alone: Json | None, directions: Mapping[str, Mapping[str, bool]]
) -> dict[str, Any]:
    # One model a task is its own measure: what it is compared with has the same seed.
    delta = None
    if alone is not None:
        theirs = metrics_from_json(alone["metrics"])
        delta = relative_performance(metrics_from_json(record["metrics"]), theirs, directions)
    # A variant may be trained for other steps, to see what steps alone do.
    has_their_steps = alone is None or record["steps"]["train"] == alone["steps"]["train"]
    unknown = dict.fromkeys(("latency_ms", "interval_ms", "speed_up", "stable"))
    latency = latencies.get(SINGLE_TASK if _is_single_task(record) else record["structure"], unknown)
    spent = record["spent"]
    return {
        "method": record["name"],
        "decided_by": record["method"],
        "seed": record["seed"],
        "macs": record["macs"],
        "macs_share": record["macs"] / record["independent_macs"],
        "parameters": record["parameters"],
        "parameters_share": record["parameters"] / record["independent_parameters"],
        "paper_parameters": record["paper_parameters"],
        "paper_parameters_share": record["paper_parameters"] / max(1, record["independent_paper_parameters"]),
        **latency,
        "metrics": record["metrics"],
        # Every task stands there: Δ of one whose metrics have no value is not known, and is not left out of sight.
        "delta": None if delta is None else {**dict.fromkeys(directions), **delta.to_json()},
        "left_out": [] if delta is None else list(delta.left_out),
        "alike": record["alike"] and has_their_steps,
        "steps": record["steps"],
        "estimate": record.get("estimate"),
        "search_seconds": spent["search"]["seconds"],
        "search_peak_bytes": spent["search"]["peak_bytes"],
        "train_seconds": spent["train"]["seconds"],
        "train_peak_bytes": spent["train"]["peak_bytes"],
        "file_bytes": record["file_bytes"],
        "parity": record["parity"],
    }


def _summary(own: Sequence[Json]) -> dict[str, Any]:
    counted = (
        *("macs", "macs_share", "parameters", "parameters_share", "paper_parameters", "paper_parameters_share"),
        *("latency_ms", "speed_up", "search_seconds", "search_peak_bytes", "train_seconds"),
    )
    found: dict[str, Any] = {key: _mean([row[key] for row in own]) for key in counted}
    found["stable"] = None if own[0]["stable"] is None else all(row["stable"] for row in own)
    found["alike"] = all(row["alike"] for row in own)
    found["metrics"] = {
        task: {metric: _mean([row["metrics"][task][metric] for row in own]) for metric in values}
        for task, values in own[0]["metrics"].items()
    }
    has_delta = all(row["delta"] is not None for row in own)
    found["delta"] = {key: _mean([row["delta"][key] for row in own]) for key in own[0]["delta"]} if has_delta else None
    found["left_out"] = sorted({metric for row in own for metric in row["left_out"]})
    return found


def _over_line(own: Sequence[Json], rows: Sequence[Json]) -> dict[str, Any] | None:
    """Return Δ above the line through the cuts, seed by seed."""
    differences = []
    for row in own:
        others = [other for other in rows if other["seed"] == row["seed"] and _is_cut(other, row)]
        points = [Point(other["macs"], other["delta"]["mean"]) for other in others if other["delta"] is not None]
        if row["delta"] is not None:
            differences.append(row["delta"]["mean"] - line_at(points, row["macs"]))
    return _mean(differences) if differences else None


def _over_chance(own: Sequence[Json], rows: Sequence[Json], chances: Sequence[str]) -> dict[str, Any] | None:
    """Return Δ above the mean of what shares by chance, seed by seed; nothing where a seed has none yet."""
    differences = []
    for row in own:
        same = [other for other in rows if other["seed"] == row["seed"] and bool(other["alike"])]
        others = [_delta(other) for other in same if other["method"] in chances]
        differences.append(_delta(row) - math.fsum(others) / len(others) if others else math.nan)
    return _mean(differences)


def _over_best_cut(own: Sequence[Json], rows: Sequence[Json]) -> dict[str, Any] | None:
    """Return Δ above that of the cut which has the best mean Δ of those that execute no more, seed by seed."""
    most = math.fsum(row["macs"] for row in own) / len(own)
    cuts: dict[str, dict[int, float]] = {}
    for row in rows:
        if _is_cut(row, own[0]) and row["macs"] <= most and not math.isnan(_delta(row)):
            cuts.setdefault(row["method"], {})[row["seed"]] = row["delta"]["mean"]
    seeds = {row["seed"] for row in own}
    whole = {name: by_seed for name, by_seed in cuts.items() if by_seed.keys() >= seeds}
    if not whole:
        return None
    best = max(whole, key=lambda name: math.fsum(whole[name][seed] for seed in seeds))
    difference = _mean([_delta(row) - whole[best][row["seed"]] for row in own])
    return None if difference is None else {"cut": best, **difference}


def _is_cut(other: Json, row: Json) -> bool:
    """Whether a row is one of the cuts that another row is compared with."""
    # A cut would be compared with itself, and one that had other steps shows what steps do.
    return other["decided_by"] in CUTS and other["method"] != row["method"] and bool(other["alike"])


def _delta(row: Json) -> float:
    """Return the mean Δ of a row; NaN where there is none."""
    return float(row["delta"]["mean"]) if row["delta"] is not None else math.nan


def _is_single_task(record: Json) -> bool:
    return bool(record["name"] == SINGLE_TASK)


def _mean(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Return the mean of values over seeds; nothing where a seed has none: it says nothing about the mean of all."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return mean_of(known).to_json() if len(known) == len(values) else None
