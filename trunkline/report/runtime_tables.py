"""Tables of a measurement on several runtimes or at several batch sizes, and of what models take besides time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trunkline.report.tables import UNSTABLE, Table, machine_notes, mark_of_ratio, unstable

Json = Mapping[str, Any]

DIFFERS = "!"
"""Marks outputs that are not onnxruntime's."""
_BYTES_PER_MB = 1e6


def measurements(bench: Json) -> list[Json]:
    """Return the first measurement and all further ones."""
    return [bench, *bench["further"]]


def runtimes_table(bench: Json) -> Table:
    """Return p50 of every model on every runtime, at the first batch size, each against the first model there."""
    batch = bench["settings"]["batch"]
    rows = [row for one in measurements(bench) if one["settings"]["batch"] == batch for row in _runtime_rows(one)]
    notes = [note for one in measurements(bench) for note in _notes(one)]
    # All were made on one machine; its state is that of the first measurement.
    notes += machine_notes(bench)
    columns = (
        *("runtime", "model", "p50 (ms)", "99 % interval (ms)", "speed-up"),
        *("time / MAC bound", "images/s", "output difference"),
    )
    title = f"Latency by runtime ({bench['models'][0]['threads']} thread(s), batch {batch})"
    return Table(title, columns, tuple(rows), tuple(notes))


def throughput_table(bench: Json) -> Table:
    """Return images a second of every model on every runtime, by batch size."""
    batches = list(dict.fromkeys(one["settings"]["batch"] for one in measurements(bench)))
    found: dict[tuple[str, str], dict[int, str]] = {}
    for one in measurements(bench):
        for model in one["models"]:
            cells = found.setdefault((runtime_name(one), model["name"]), {})
            cells[one["settings"]["batch"]] = f"{model['images_per_s']:,.1f}{'' if model['stable'] else f' {UNSTABLE}'}"
    rows = [(*key, *(cells.get(batch, "–") for batch in batches)) for key, cells in found.items()]
    columns = ("runtime", "model", *(f"batch {batch}" for batch in batches))
    return Table("Throughput (images/s)", columns, tuple(rows))


def footprint_table(bench: Json) -> Table:
    """Return size, start-up and memory of every model on every runtime, where they were measured."""
    rows = [
        (
            runtime_name(one),
            model["name"],
            _shown(model["file_bytes"], _BYTES_PER_MB),
            _shown(model["start_up_ms"]),
            _shown(model["peak_memory_bytes"], _BYTES_PER_MB),
            _shown(model["device_memory_bytes"], _BYTES_PER_MB),
        )
        for one in measurements(bench)
        for model in one["models"]
        if model["start_up_ms"] is not None
    ]
    columns = ("runtime", "model", "files (MB)", "start-up (ms)", "peak memory (MB)", "device memory (MB)")
    return Table("What they take, each in a process of its own", columns, tuple(rows))


def models_table(bench: Json) -> Table:
    """Return what models are besides their time: accuracy, work, parameters by both rules, size, and memory.

    Columns of which nothing is known are left out.
    """
    columns = (
        "model",
        "Δ mean (%)",
        "MACs (M)",
        "parameters (k)",
        "papers' rule (k)",
        "files (MB)",
        "peak memory (MB)",
    )
    rows = [
        (
            model["name"],
            "–" if model["change_percent"] is None else f"{model['change_percent']:+.2f}",
            _shown(model["macs"], 1e6),
            _shown(model["parameters"], 1e3),
            _shown(model["paper_parameters"], 1e3),
            _shown(model["file_bytes"], _BYTES_PER_MB),
            _shown(model["peak_memory_bytes"], _BYTES_PER_MB),
        )
        for model in bench["models"]
    ]
    kept = [place for place in range(len(columns)) if place == 0 or any(row[place] != "–" for row in rows)]
    notes = ["Δ: mean change over metrics against single-task models; more is better."] if 1 in kept else []
    if 4 in kept:
        notes.append("The papers' rule counts weights of the backbone's convolutions and linear layers alone.")
    shown = tuple(tuple(row[place] for place in kept) for row in rows)
    return Table("What they are", tuple(columns[place] for place in kept), shown, tuple(notes))


def runtime_name(one: Json) -> str:
    """Return what ran a measurement, in a word or two."""
    provider = one["settings"]["provider"]
    return one["runtime"] if provider == "cpu" else f"{one['runtime']} {provider}"


def _runtime_rows(one: Json) -> Iterator[tuple[str, ...]]:
    first, reasons = one["models"][0]["name"], unstable(one)
    speed_ups = {ratio["name"]: ratio["speed_up"] for ratio in one["ratios"]}
    for model in one["models"]:
        low, high = model["p50_ci_ms"]
        mark = f" {UNSTABLE}" if model["name"] in reasons else ""
        yield (
            runtime_name(one),
            model["name"],
            f"{model['p50_ms']:.2f}{mark}",
            f"{low:.2f}–{high:.2f}{mark}",
            f"{speed_ups.get(model['name'], 1.0):.2f}{mark_of_ratio(model['name'], first, one)}",
            _bound(model, mark_of_ratio(model["name"], first, one)),
            f"{model['images_per_s']:,.1f}{mark}",
            _difference(model),
        )


def _bound(model: Json, mark: str) -> str:
    over = model["time_over_bound"]
    return "–" if over is None else f"{over:.3f}{mark}"


def _difference(model: Json) -> str:
    if model["agrees"] is None:
        return "–"
    mark = "" if model["agrees"] else f" {DIFFERS}"
    # JSON has no infinity: it stands for outputs of other shapes.
    return f"{model['difference']:.1e}{mark}" if model["difference"] is not None else f"other shapes{mark}"


def _notes(one: Json) -> Iterator[str]:
    name = f"{runtime_name(one)}, batch {one['settings']['batch']}"
    for model, reason in unstable(one).items():
        yield f"{UNSTABLE} {name}: {model} is unstable: {reason}"
    differing = [model["name"] for model in one["models"] if model["agrees"] is False]
    if differing:
        yield f"{DIFFERS} {name}: outputs of {', '.join(differing)} are not those of onnxruntime on the CPU"


def _shown(value: float | None, unit: float = 1.0) -> str:
    return "–" if value is None else f"{value / unit:,.1f}"


def tables_of(bench: Json) -> Sequence[Table]:
    """Return what a measurement needs beside the latency table of its first runtime."""
    found = [models_table(bench)]
    runtimes = {runtime_name(one) for one in measurements(bench)}
    batches = {one["settings"]["batch"] for one in measurements(bench)}
    if len(runtimes) > 1 or any(model["agrees"] is not None for model in bench["models"]):
        found.append(runtimes_table(bench))
    if len(batches) > 1:
        found.append(throughput_table(bench))
    footprints = footprint_table(bench)
    return [*found, footprints] if footprints.rows else found
