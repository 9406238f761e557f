"""Measure start-up and memory of a candidate in a process of its own, where no other candidate is.

The same process first runs a model that does nothing on the same runtime: what a runtime takes once, whatever the
model, is then not counted as the model's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import trunkline
from trunkline.bench.footprint import Footprint, file_bytes
from trunkline.bench.memory import forget_peak, peak_bytes, resident_bytes
from trunkline.bench.runtimes.registry import runtime_class
from trunkline.bench.settings import Settings
from trunkline.errors import TrunklineError, WorkFailed
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph
from trunkline.limits import Limits

RUNS = 3
"""Runs of each model: an arena may still grow in the second."""
_CHILD = "from trunkline.bench.footprint_process import main; main()"
_LIMIT_S = 900


def measure_footprint(models: Sequence[Path], runtime: str, settings: Settings, limits: Limits) -> Footprint:
    """Return what the models of one candidate take together.

    Args:
        models: Its files, each a session.
        runtime: Name of a runtime.
        settings: On what, and with which inputs.
        limits: What a file may ask for.

    Raises:
        WorkFailed: The process ended with an error, which the message tells.
    """
    request = {
        "models": [str(path.absolute()) for path in models],
        "runtime": runtime,
        "settings": settings.to_json(),
        "limits": asdict(limits),
    }
    # The same package as here, from wherever it was imported.
    paths = os.pathsep.join(filter(None, [str(Path(trunkline.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
    place = "+".join(path.name for path in models)
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", _CHILD],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except subprocess.TimeoutExpired as error:
        raise WorkFailed(f"measuring its memory took more than {_LIMIT_S} s", place=place) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise WorkFailed(f"measuring its memory failed: {lines[-1]}", place=place, advice="leave --footprint out")
    # A library may have printed something before.
    found = json.loads(done.stdout.splitlines()[-1])
    return Footprint(file_bytes(models), **found)


def footprint_here(request: Mapping[str, Any]) -> dict[str, float | int | None]:
    """Measure in this process what :func:`measure_footprint` asks for; see there."""
    given = request["settings"]
    # JSON has no tuples.
    size = None if given["input_size"] is None else tuple(given["input_size"])
    settings = Settings(**{**given, "inputs": 1, "input_size": size})
    runtime = runtime_class(request["runtime"])(Limits(**request["limits"]))
    runtime.prepare(_almost_nothing(), Settings(provider=settings.provider, threads=settings.threads, inputs=1)).close()
    can_reset, before = forget_peak(), resident_bytes()
    sessions = [runtime.prepare(Path(model), settings) for model in request["models"]]
    for _ in range(RUNS):
        for session in sessions:
            session.feed(0)
            session.run()
            session.outputs()
    peak = peak_bytes()
    on_device = [size for size in (session.device_memory_bytes for session in sessions) if size is not None]
    together = max if runtime.one_allocator else sum
    return {
        "start_up_ms": sum(session.start_up_ms for session in sessions),
        "peak_memory_bytes": max(0, peak - before) if can_reset and peak is not None and before is not None else None,
        "device_memory_bytes": together(on_device) if on_device else None,
    }


def _almost_nothing() -> Graph:
    """Return one activation of one image: a compiler refuses a model without any operation."""
    builder = GraphBuilder("almost nothing")
    return builder.finish([builder.node("Relu", [builder.image("image", (1, 8, 8))], name="relu")])


def main() -> None:
    """Read a request from stdin, and print what was found as the last line of stdout."""
    try:
        found = footprint_here(json.load(sys.stdin))
    except TrunklineError as error:
        sys.stderr.write(f"{error.problems[0].message}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(f"\n{json.dumps(found)}\n")
