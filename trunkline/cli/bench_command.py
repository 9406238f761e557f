"""Arguments of ``trunkline bench``, and its exit codes: 4 if a measurement says nothing, 3 if a model became slower."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.bench.compare import Comparison
from trunkline.bench.regression import DEFAULT_MARGIN_PERCENT
from trunkline.bench.runtimes.registry import DEFAULT_RUNTIME
from trunkline.bench.settings import Settings
from trunkline.cli.axes import Axes, axes_of
from trunkline.cli.console import emit_json, parse_size, say
from trunkline.cli.options import Allow, Json, limits_of
from trunkline.cli.results import show_comparison
from trunkline.cli.runtime_argument import RUNTIME_HELP, Precision, Provider, batches_of
from trunkline.errors import WorkFailed
from trunkline.verbs.bench_against import against as compare_with
from trunkline.verbs.bench_against import read_against, require_margin
from trunkline.verbs.bench_runtimes import bench_runtimes

TOO_NOISY = 4
"""Exit code with ``--strict``: numbers that say nothing; 2 means that the input is at fault, 3 that the work failed or,
with ``--against``, that a model is proved to be slower."""


def bench_command(
    *models: Annotated[str, Parameter(help="ONNX files; A.onnx+B.onnx run one after another as one candidate.")],
    runtime: Annotated[
        list[str] | None, Parameter(negative="", help=f"{RUNTIME_HELP} Repeatable; default onnxruntime.")
    ] = None,
    provider: Provider = None,
    precision: Precision = "float32",
    threads: Annotated[int, Parameter(help="Threads inside one operator.")] = 1,
    spinning: Annotated[bool, Parameter(help="Let idle threads burn cycles while they wait.")] = False,
    batch: Annotated[int, Parameter(help="Images a run.")] = 1,
    batch_sizes: Annotated[str | None, Parameter(help="Measure throughput at each of these, as 1,2,4,8.")] = None,
    footprint: Annotated[
        bool, Parameter(negative="", help="Measure start-up and peak memory too, each model in a process of its own.")
    ] = False,
    input_size: Annotated[str | None, Parameter(help="Image size, H,W or C,H,W, where a file leaves it open.")] = None,
    axis: Axes = None,
    samples: Annotated[int, Parameter(help="Rounds at least; p90 needs 64, p99 needs 662.")] = 100,
    limit: Annotated[float, Parameter(help="Seconds after which no further round begins.")] = 120.0,
    seed: Annotated[int, Parameter(help="Of inputs and of the order within a round.")] = 0,
    against: Annotated[
        Path | None,
        Parameter(help="What `bench --json` printed earlier: exit with 3 if a model is slower beyond noise."),
    ] = None,
    margin: Annotated[
        float, Parameter(help="With --against: percent that two days may differ by.")
    ] = DEFAULT_MARGIN_PERCENT,
    strict: Annotated[bool, Parameter(negative="", help="Exit with 4 if it is too noisy, or outputs differ.")] = False,
    allow: Allow = None,
    json: Json = False,
) -> int:
    """Measure the latency of models, interleaved, against the first."""
    settings = Settings(
        batch=batch,
        input_size=parse_size(input_size),
        axes=axes_of(axis),
        precision=precision,
        threads=threads,
        spinning=spinning,
        seed=seed,
        minimum_samples=samples,
        limit_seconds=limit,
    )
    runtimes, batches, share = runtime or (DEFAULT_RUNTIME,), batches_of(batch_sizes), require_margin(margin)
    earlier = None
    if against is not None:
        earlier = read_against(against, settings, runtimes=runtimes, provider=provider, batches=batches)
    result = bench_runtimes(
        models,
        settings,
        runtimes=runtimes,
        provider=provider,
        batches=batches,
        footprint=footprint,
        limits=limits_of(allow),
    )
    if earlier is not None:
        held = compare_with(result, earlier, share)
        result = held.result
        for note in held.notes:
            say(f"note: {note}")
    measurements = (result, *result.further)
    for one in measurements:
        _say_not_compared(one)
    if json:
        emit_json(result.to_json())
    else:
        show_comparison(result)
    return _exit_code(result, against, strict=strict)


def _exit_code(result: Comparison, against: Path | None, *, strict: bool) -> int:
    """Say on stderr what the measurement ends with, and return its code."""
    measurements = (result, *result.further)
    if strict and not all(one.agrees for one in measurements):
        say("outputs differ from onnxruntime's: see above; a time of other numbers cannot be compared")
        return TOO_NOISY
    slower = [change for change in result.against if change.regressed]
    for change in slower:
        low, high = change.ci
        times = f"{change.ratio:.2f} [{low:.2f}, {high:.2f}] times"
        say(f"slower than in {against}: {change.name} ({change.runtime}, batch {change.batch}), {times}")
    if slower:
        return WorkFailed.exit_code
    undecided = any(change.verdict == "undecided" and not change.baseline for change in result.against)
    if strict and (undecided or not all(one.stable for one in measurements)):
        say("too noisy to say: see the reasons above, quiet the machine, or measure longer")
        return TOO_NOISY
    return 0


def _say_not_compared(one: Comparison) -> None:
    """Print on stderr whose outputs nobody has checked."""
    is_reference = (one.runtime, one.settings.provider) == (DEFAULT_RUNTIME, "cpu")
    names = [latency.name for latency in one.latencies if latency.name not in one.differences]
    if names and not is_reference:
        say(f"note: {one.runtime}: outputs of {', '.join(names)} are not compared: {DEFAULT_RUNTIME} cannot run them")
