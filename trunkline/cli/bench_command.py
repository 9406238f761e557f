"""Arguments of ``trunkline bench``, and its exit codes: 4 if a measurement says nothing, 3 if a model became slower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from trunkline.bench.compare import Comparison
from trunkline.bench.regression import DEFAULT_MARGIN_PERCENT
from trunkline.bench.runtimes.registry import DEFAULT_RUNTIME
from trunkline.cli.axes import Axes, axes_of
from trunkline.cli.bench_bar import bench_bar
from trunkline.cli.bench_profile import refuse_beside_profile, show_profile
from trunkline.cli.bench_sources import PlanModels, RunModels
from trunkline.cli.console import emit, emit_json, parse_size, say
from trunkline.cli.options import Allow, Features, Json, features_of, limits_of
from trunkline.cli.results import show_comparison
from trunkline.cli.runtime_argument import RUNTIME_HELP, Precision, Provider, batches_of
from trunkline.errors import WorkFailed
from trunkline.files.write import atomic_write, json_ready
from trunkline.ingest.read_options import ReadOptions
from trunkline.report.bench_picture import draw_bench
from trunkline.report.bench_rows import rows_of_bench
from trunkline.report.comparison_csv import csv_of
from trunkline.verbs.bench_against import against as compare_with
from trunkline.verbs.bench_against import read_against, require_margin
from trunkline.verbs.bench_runtimes import BenchedOn, bench_runtimes

TOO_NOISY = 4
"""Exit code with ``--strict``: numbers that say nothing; 2 means that the input is at fault, 3 that the work failed or,
with ``--against``, that a model is proved to be slower."""


_USUAL = "default a run's own [bench], else"


def bench_command(
    *models: Annotated[
        str,
        Parameter(
            help="ONNX files, of which A.onnx+B.onnx run one after another as one candidate; "
            "or a backbone, with --tasks; or the pipeline file of a run, with --out."
        ),
    ],
    tasks: Annotated[
        str | None, Parameter(help="Measure models of a backbone for these tasks: name[:channels],…")
    ] = None,
    plan: Annotated[
        list[Path] | None, Parameter(negative="", help="With --tasks: a plan's file, or a folder of them; repeatable.")
    ] = None,
    layout: Annotated[
        list[Path] | None, Parameter(negative="", help="With --tasks: a layout's file; repeatable.")
    ] = None,
    share_until: Annotated[
        list[str] | None, Parameter(negative="", help="With --tasks: the last shared block; repeatable.")
    ] = None,
    head: Annotated[
        str, Parameter(help="With --tasks: light, aspp, linear, deeplabv3plus, fpn, none, or a file.")
    ] = "light",
    features: Features = None,
    out: Annotated[
        Path | None,
        Parameter(name="--out", help="With a pipeline file: its run's folder. With --profile: the table, costs.json."),
    ] = None,
    profile: Annotated[
        bool,
        Parameter(negative="", help="Measure every unit of a backbone, write a cost table, and try it on layouts."),
    ] = False,
    layouts: Annotated[int, Parameter(help="With --profile: how many layouts, drawn by the seed.")] = 50,
    runtime: Annotated[
        list[str] | None, Parameter(negative="", help=f"{RUNTIME_HELP} Repeatable; {_USUAL} onnxruntime.")
    ] = None,
    provider: Provider = None,
    precision: Precision = "float32",
    threads: Annotated[int | None, Parameter(help=f"Threads inside one operator; {_USUAL} 1.")] = None,
    spinning: Annotated[bool | None, Parameter(help="Let idle threads burn cycles while they wait.")] = None,
    batch: Annotated[int | None, Parameter(help=f"Images a run; {_USUAL} 1.")] = None,
    batch_sizes: Annotated[str | None, Parameter(help="Measure throughput at each of these, as 1,2,4,8.")] = None,
    footprint: Annotated[
        bool, Parameter(negative="", help="Measure start-up and peak memory too, each model in a process of its own.")
    ] = False,
    input_size: Annotated[str | None, Parameter(help="Image size, H,W or C,H,W, where a file leaves it open.")] = None,
    axis: Axes = None,
    samples: Annotated[
        int | None, Parameter(help=f"Rounds at least; p90 needs 64, p99 needs 662; {_USUAL} 100.")
    ] = None,
    limit: Annotated[
        float | None, Parameter(help=f"Seconds after which no further round begins; {_USUAL} 120.")
    ] = None,
    seed: Annotated[int, Parameter(help="Of inputs and of the order within a round.")] = 0,
    csv: Annotated[Path | None, Parameter(help="CSV to write: a row for each model, runtime and batch size.")] = None,
    plot: Annotated[Path | None, Parameter(help="PNG to draw: medians, their intervals, and what MACs allow.")] = None,
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
    limits, share, of_run = limits_of(allow), require_margin(margin), RunModels(None if profile else out)
    usual, runs_on = of_run.usual(models)
    settings = replace(
        usual,
        # A backbone is read at the size; a file that leaves its size open is run at it.
        input_size=None if tasks or profile else parse_size(input_size),
        axes=axes_of(axis),
        precision=precision,
        seed=seed,
        **_given(batch=batch, threads=threads, spinning=spinning, minimum_samples=samples, limit_seconds=limit),
    )
    if runtime:
        runs_on = BenchedOn(runtime)
    on = replace(runs_on, provider=provider or runs_on.provider, batches=batches_of(batch_sizes), footprint=footprint)
    options = ReadOptions(parse_size(input_size), features_of(features), limits=limits)
    if profile:
        refuse_beside_profile(
            plan=plan, layout=layout, share_until=share_until, csv=csv, against=against, strict=strict
        )
        return show_profile(models, out, settings, on, layouts, tasks, options, plot, json=json)
    earlier = None if against is None else read_against(against, settings, on)
    of_plans = PlanModels(tasks, plan or (), layout or (), share_until or (), head)
    with bench_bar() as progress:
        if of_plans.asked_for(models):
            result = of_plans.measure(models, settings, on, options, progress)
        elif of_run.asked_for(models):
            result = of_run.measure(models, settings, on, limits, progress)
        else:
            result = bench_runtimes(models, settings, on, limits=limits, progress=progress)
    if earlier is not None:
        held = compare_with(result, earlier, share)
        result = held.result
        for note in held.notes:
            say(f"note: {note}")
    for one in (result, *result.further):
        _say_not_compared(one)
        for name, reason in one.left_out.items():
            say(f"note: {one.runtime}: {name} is left out: {reason}")
    _write(result, csv, plot)
    if json:
        emit_json(result.to_json())
    else:
        show_comparison(result)
        for path in filter(None, (csv, plot)):
            emit(f"written {path}")
    return _exit_code(result, against, strict=strict)


def _given(**options: Any) -> dict[str, Any]:
    """Return what the user has given."""
    return {name: value for name, value in options.items() if value is not None}


def _write(result: Comparison, csv: Path | None, plot: Path | None) -> None:
    content = json_ready(result.to_json())
    if csv is not None:
        atomic_write(csv, csv_of(rows_of_bench(content)).encode())
    if plot is not None:
        draw_bench(content, plot)


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
