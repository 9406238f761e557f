"""Arguments of ``trunkline engine``: ranges of sizes and TensorRT's options, as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json
from trunkline.cli.options import Json, number_of
from trunkline.errors import InvalidConfig
from trunkline.export.engine.options import EngineOptions, Hardware
from trunkline.export.engine.size_range import SizeRange
from trunkline.text import quoted, with_thousands
from trunkline.verbs.engine import EngineResult, engine

REFUSED = 3
"""Exit code of a check that was refused: the file was read, and its use would fail."""


def engine_command(
    model: Annotated[Path, Parameter(help="ONNX file.")],
    *,
    batch: Annotated[str, Parameter(help="Batches it accepts: N, LEAST,MOST or LEAST,BEST,MOST.")] = "1",
    size: Annotated[
        list[str] | None,
        Parameter(
            negative="", help="Range of another free axis, as NAME=LEAST,BEST,MOST or INPUT:INDEX=…; repeatable."
        ),
    ] = None,
    workspace: Annotated[str | None, Parameter(help="Memory of the GPU that kernels may use, such as 2GiB.")] = None,
    version_compatible: Annotated[bool, Parameter(negative="", help="Let later versions of TensorRT load it.")] = False,
    hardware: Annotated[Hardware, Parameter(help="On which GPUs it runs: all but `same` may be slower.")] = "same",
    tf32: Annotated[bool, Parameter(negative="", help="Round float32 to TF32; outside the parity tolerance.")] = False,
    level: Annotated[int | None, Parameter(help="TensorRT's optimisation level, 0 to 5.")] = None,
    check: Annotated[
        bool,
        Parameter(negative="", help="Only ask TensorRT-RTX, without a GPU, whether such a compiler takes the file."),
    ] = False,
    json: Json = False,
) -> int:
    """Build a TensorRT engine of an ONNX file, or check without a GPU that it could be built."""
    options = EngineOptions(
        batch=SizeRange.read(batch, "--batch"),
        sizes=_sizes(size),
        workspace_bytes=_bytes(workspace),
        version_compatible=version_compatible,
        hardware=hardware,
        tf32=tf32,
        level=level,
    )
    result = engine(model, options, check=check)
    if json:
        emit_json(result.to_json())
    else:
        _show(result)
    return REFUSED if result.check is not None and not result.check.accepted else 0


def _sizes(given: Sequence[str] | None) -> dict[str, SizeRange]:
    sizes: dict[str, SizeRange] = {}
    for entry in given or ():
        # At the last equals sign: ONNX allows any name for an axis.
        name, _, span = (part.strip() for part in entry.rpartition("="))
        if not name:
            advice = "for example --size width=320,640,1280"
            raise InvalidConfig(f"{quoted(entry[:60])} is not NAME=LEAST,BEST,MOST", place="--size", advice=advice)
        if name in sizes:
            raise InvalidConfig(f"{quoted(name)} has two ranges", place="--size", advice="give it once")
        sizes[name] = SizeRange.read(span, f"--size {name}")
    return sizes


def _bytes(text: str | None) -> int | None:
    if text is None:
        return None
    number = number_of(text)
    if number is None:
        raise InvalidConfig(f"--workspace is {quoted(text[:40])}", advice="give a number of bytes: 2GiB, 500MB, 1e9")
    return number


def _show(result: EngineResult) -> None:
    if result.engine is not None:
        key, built_s = result.engine.key, result.engine.built_s
        how = "was there" if built_s is None else f"built in {built_s:.0f} s"
        emit(f"engine  {result.engine.path}: {with_thousands(len(result.engine.plan))} bytes, {how}")
        emit(f"for     {key.gpu}, driver {key.driver}, TensorRT {key.tensorrt}, batch {key.options['batch']}")
    if result.check is not None:
        check = result.check
        verdict = "accepted" if check.accepted else "REFUSED"
        emit(f"check   {verdict} by TensorRT-RTX {check.version}: {check.layers} layers")
        for problem in check.problems:
            emit(f"        {problem}")
