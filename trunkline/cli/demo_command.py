"""``trunkline demo``: see the whole pipeline work in minutes, on a CPU and generated scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json, say
from trunkline.cli.memory import keep_freed_memory
from trunkline.cli.options import Json, Quiet
from trunkline.cli.results import show_run
from trunkline.verbs.demo import PIPELINE, demo


def demo_command(
    *,
    out: Annotated[Path, Parameter(help="The run's folder.")] = Path("trunkline-demo"),
    seed: Annotated[int, Parameter(help="Of everything random.")] = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Search, train, export and measure a three-task model on generated scenes, in minutes, on a CPU."""
    keep_freed_memory()
    result = demo(out, seed=seed, quiet=quiet, say=say)
    if json:
        emit_json(result.to_json())
    else:
        show_run(result)
        path = out / PIPELINE
        emit(f"next    trunkline report {out} --out report.html")
        emit(f"next    trunkline export {path} --out {out} --precision int8")
        emit(f"next    trunkline bundle {path} --out {out} --to bundle")
    return 0
