"""Arguments of ``trunkline bench``, and its exit code 4 for a measurement that is too noisy."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from trunkline.bench.settings import Settings
from trunkline.cli.axes import Axes, axes_of
from trunkline.cli.console import emit_json, parse_size, say
from trunkline.cli.options import Allow, Json, limits_of
from trunkline.cli.results import show_comparison
from trunkline.verbs.bench import bench

TOO_NOISY = 4
"""Exit code with ``--strict``; 2 and 3 mean that the input or the work failed, and here neither did."""


def bench_command(
    *models: Annotated[str, Parameter(help="ONNX files; A.onnx+B.onnx run one after another as one candidate.")],
    runtime: Annotated[Literal["onnxruntime", "torch"], Parameter(help="What runs them.")] = "onnxruntime",
    provider: Annotated[Literal["cpu", "cuda", "tensorrt"], Parameter(help="Read back; never replaced.")] = "cpu",
    threads: Annotated[int, Parameter(help="Threads inside one operator.")] = 1,
    spinning: Annotated[bool, Parameter(help="Let idle threads burn cycles while they wait.")] = False,
    batch: Annotated[int, Parameter(help="Images a run.")] = 1,
    input_size: Annotated[str | None, Parameter(help="Image size, H,W or C,H,W, where a file leaves it open.")] = None,
    axis: Axes = None,
    samples: Annotated[int, Parameter(help="Rounds at least; p90 needs 64, p99 needs 662.")] = 100,
    limit: Annotated[float, Parameter(help="Seconds after which no further round begins.")] = 120.0,
    seed: Annotated[int, Parameter(help="Of inputs and of the order within a round.")] = 0,
    strict: Annotated[bool, Parameter(negative="", help="Exit with 4 if the measurement is too noisy.")] = False,
    allow: Allow = None,
    json: Json = False,
) -> int:
    """Measure the latency of models, interleaved, against the first."""
    settings = Settings(
        batch=batch,
        input_size=parse_size(input_size),
        axes=axes_of(axis),
        provider=provider,
        threads=threads,
        spinning=spinning,
        seed=seed,
        minimum_samples=samples,
        limit_seconds=limit,
    )
    result = bench(models, settings, runtime=runtime, limits=limits_of(allow))
    if json:
        emit_json(result.to_json())
    else:
        show_comparison(result)
    if strict and not result.stable:
        say("too noisy to say: see the reasons above, quiet the machine, or measure longer")
        return TOO_NOISY
    return 0
