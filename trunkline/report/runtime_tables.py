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
    columns = ("runtime", "model", "p50 (ms)", "99 % interval (ms)", "speed-up", "images/s", "output difference")
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
            f"{model['images_per_s']:,.1f}{mark}",
            _difference(model),
        )


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
    """Return what a measurement needs beside the latency table of its first runtime; none for a plain one."""
    found = []
    runtimes = {runtime_name(one) for one in measurements(bench)}
    batches = {one["settings"]["batch"] for one in measurements(bench)}
    if len(runtimes) > 1 or any(model["agrees"] is not None for model in bench["models"]):
        found.append(runtimes_table(bench))
    if len(batches) > 1:
        found.append(throughput_table(bench))
    footprints = footprint_table(bench)
    return [*found, footprints] if footprints.rows else found
