"""``bench``: latency of model files, or of a run's model against independent and fully shared ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trunkline.bench.compare import Comparison, with_work_of
from trunkline.bench.models import bench_files
from trunkline.bench.protocol import Progress
from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.runtimes.registry import runtime_class
from trunkline.bench.settings import Settings
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.pipeline.project import BENCH, Project
from trunkline.pipeline.tables import BenchConfig
from trunkline.report.trade_off import FOUND, SINGLE_TASK
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.lower import lower
from trunkline.verbs.bench_runtimes import BenchedOn, bench_groups_on
from trunkline.verbs.run_accuracy import changes_of_run, precision_files
from trunkline.verbs.train import file_name

MULTI_TASK = "multi-task"
"""The candidate with one backbone for all."""


def bench(
    models: Sequence[str | Path],
    settings: Settings | None = None,
    *,
    runtime: str = "onnxruntime",
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress | None = None,
) -> Comparison:
    """Measure model files against the first; ``a.onnx+b.onnx`` is one candidate of two sessions.

    ``limits`` say what a file may ask for where Trunkline reads it itself: to count its MACs, and for torch. A file
    that it cannot read is measured all the same by onnxruntime; its MACs are then unknown.

    Raises:
        InvalidConfig: A size is given for an axis that no model has.
        InvalidModel: A file is missing or cannot be loaded, or the size of an axis is not known.
        WorkFailed: The runtime or provider is not there; there is no silent fall-back.
    """
    return bench_files(models, settings, runtime=runtime_named(runtime, limits), limits=limits, progress=progress)


def bench_run(
    project: Project,
    model: Path,
    on: BenchedOn | None = None,
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measure a run's exported model next to N single-task ones, the fully shared one and its baselines, in one go.

    With it, its files in other precisions, where the runtime takes them. What is compared with has the weights that it
    starts from: they do not change how long a model takes.

    Args:
        project: The run.
        model: The exported model.
        on: On what; on what ``[bench]`` says where not given.
        settings: How; as ``[bench]`` says where not given.
        progress: Called with the rounds done and those to do, of each measurement.

    Raises:
        InvalidModel: A model cannot be loaded.
        WorkFailed: The runtime or provider is not there; there is no silent fall-back.
    """
    folder = project.out / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    config = project.config.bench
    others = {f"{FOUND} {precision}": path for precision, path in precision_files(model).items()}
    # Ratios are to the first candidate: N models without sharing are what a user would deploy instead.
    groups = {SINGLE_TASK: write_single_task(project, folder), **_write_baselines(project, folder)}
    groups |= {FOUND: [model], **{name: [path] for name, path in others.items()}}
    changes = changes_of_run(project)

    def finish(compared: Comparison) -> Comparison:
        known = {name: change for name, change in changes.items() if name in groups}
        return replace(with_work_of(compared, FOUND, list(others)), changes=known)

    result = bench_groups_on(
        groups,
        sized(project, settings or settings_of(config)),
        on or BenchedOn((config.runtime,), config.provider),
        optional=list(others),
        finish=finish,
        limits=project.limits,
        progress=progress,
    )
    project.write_json(BENCH, result.to_json())
    return result


def write_single_task(project: Project, folder: Path) -> list[Path]:
    """Write a model for each task: N files, because N models are N sessions with inputs of their own."""
    fold = project.config.export.fold
    paths = []
    for task in project.tasks:
        heads = {task: project.heads[task]}
        graph = lower(all_shared(project.backbone, [task]), project.backbone, heads).graph
        # Named apart from the baselines, since a task may be called like one.
        paths.append(write_onnx(graph, folder / f"single-{task}.onnx", fold=fold, reuse=False))
    return paths


def _write_baselines(project: Project, folder: Path) -> dict[str, list[Path]]:
    """Write the model of every baseline but the single-task one, and the fully shared one in any case."""
    fold = project.config.export.fold
    groups: dict[str, list[Path]] = {}
    for name in dict.fromkeys([*project.config.train.baselines, MULTI_TASK]):
        if name == SINGLE_TASK:
            continue
        shared = lower(project.baseline(name), project.backbone, project.heads).graph
        path = folder / f"{file_name(project, name)}.onnx"
        # Without `reuse`: copies of the backbone still have equal weights here, and would be merged into one.
        groups[name] = [write_onnx(shared, path, fold=fold, reuse=False)]
    return groups


def settings_of(config: BenchConfig) -> Settings:
    """Return the bench's settings from a pipeline's table."""
    return Settings(
        batch=config.batch,
        provider=config.provider,
        threads=config.threads,
        spinning=config.spinning,
        minimum_samples=config.samples,
        limit_seconds=config.limit_s,
    )


def sized(project: Project, settings: Settings) -> Settings:
    """Return settings that say the size of a run's images, where its models leave it open."""
    return replace(settings, input_size=project.data.train.size) if project.config.export.free_size else settings


def runtime_named(name: str, limits: Limits = DEFAULT_LIMITS) -> Runtime:
    """Return the runtime that loads models.

    Raises:
        InvalidConfig: There is none of this name.
    """
    return runtime_class(name)(limits)
