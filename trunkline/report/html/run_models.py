"""The rows of the overview that a run has: its model, and what it was trained or measured next to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.report.html.page import Model
from trunkline.report.int8_note import int8_note, is_int8
from trunkline.report.run_files import RunFiles, in_form
from trunkline.report.trade_off import FOUND, SINGLE_TASK

Json = Mapping[str, Any]
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


def models_of_run(files: RunFiles) -> tuple[Model, ...]:
    """Return a row for each model that a run has trained or measured."""
    bench = files.found["bench"] or {"models": []}
    with in_form(files.folder / "bench.json"):
        measured = {row.name: row for row in models_of_bench(bench)}
    changes = {way.name: (way.change, way.alike) for way in files.compared}
    with in_form(files.folder / "train*.json"):
        trained = {str(model["name"]): bool(model["alike"]) for model in files.models}
    with in_form(files.folder / "delta.json"):
        deltas = {name: delta.get("mean") for name, delta in (files.found["delta"] or {}).items()}
    rows = []
    for name in dict.fromkeys([*measured, *trained]):
        row = measured.get(name) or Model(name)
        # In another precision it is the same training.
        of = FOUND if name.startswith(f"{FOUND} ") else name
        change, alike = changes.get(name, (deltas.get(name, row.change), trained.get(of, True)))
        size, form = row.file_bytes or _bytes_of(files, name), row.form if row.form != "–" else _form_of(name)
        rows.append(
            Model(
                name=name,
                form=form,
                change=0.0 if change is None and name == SINGLE_TASK and deltas else change,
                alike=alike,
                latency_ms=row.latency_ms,
                latency_ends=row.latency_ends,
                stable=row.stable,
                speed_up=row.speed_up,
                macs_share=row.macs_share,
                file_bytes=size,
                where=row.where,
                note=row.note,
            )
        )
    return tuple(rows)


def models_of_bench(bench: Json) -> list[Model]:
    """Return a row for each model of a measurement; all but its name and its median may be missing."""
    ratios = {ratio["name"]: ratio["speed_up"] for ratio in bench.get("ratios") or []}
    instructions = (bench.get("environment") or {}).get("instructions")
    rows = []
    for number, model in enumerate(bench["models"]):
        ends = model.get("p50_ci_ms")
        name = str(model["name"])
        rows.append(
            Model(
                name=name,
                form=str(model.get("format") or "–"),
                change=model.get("change_percent"),
                latency_ms=float(model["p50_ms"]),
                latency_ends=(float(ends[0]), float(ends[1])) if ends else None,
                stable=bool(model.get("stable", True)),
                # The first has no ratio to itself.
                speed_up=ratios.get(name, 1.0 if number == 0 else None),
                macs_share=model.get("macs_ratio"),
                file_bytes=model.get("file_bytes"),
                where=_where(model),
                note=int8_note(instructions) if is_int8(model) else "",
            )
        )
    return rows


def device_of(bench: Json) -> str:
    """Return on what a measurement was made, as far as it says."""
    environment = bench.get("environment") or {}
    cores = environment.get("cores")
    parts = [environment.get("gpu") or environment.get("cpu") or "", f"{cores} cores" if cores else ""]
    return ", ".join(part for part in parts if part) or "a device that is not named"


def _form_of(name: str) -> str:
    """Return the form of a run's file: its model in another precision is called ``model int8``."""
    found, _, precision = name.partition(" ")
    return f"ONNX, {precision}" if found == FOUND and precision else "ONNX, fp32"


def _where(model: Json) -> str:
    runtime = (model.get("runtime") or {}).get("runtime")
    provider, threads = model.get("provider"), model.get("threads")
    parts = [runtime, provider, f"{threads} thread{'' if threads == 1 else 's'}" if threads else None]
    return ", ".join(str(part) for part in parts if part) or "–"


def _bytes_of(files: RunFiles, name: str) -> int | None:
    """Return the size of a model's files; ``None`` where they are not there."""
    export = files.found["export"]
    if name == FOUND:
        with in_form(files.folder / "export.json"):
            return int(export["file_bytes"]) if export else None
    bench = files.folder / "bench"
    if name == SINGLE_TASK:
        # One file a task, as independent models are deployed.
        sizes = [path.stat().st_size for path in bench.glob("single-*.onnx")]
        return sum(sizes) or None
    method, _, argument = name.partition(":")
    file = f"{method}-{_UNSAFE.sub('-', Path(argument).name)}" if argument else method
    path = bench / f"{file}.onnx"
    return path.stat().st_size if path.is_file() else None
