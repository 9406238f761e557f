"""``bench``: latency of model files, or of a run's model against independent and fully shared ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from trunkline.bench.compare import Comparison
from trunkline.bench.compare import bench as compare_candidates
from trunkline.bench.models import bench_files, open_candidate
from trunkline.bench.protocol import Progress
from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.settings import Settings
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.limits import Limits
from trunkline.pipeline.project import BENCH, Project
from trunkline.pipeline.tables import BenchConfig
from trunkline.sharing.layouts import all_shared
from trunkline.sharing.lowering.lower import lower
from trunkline.verbs.train import file_name

SINGLE_TASK, MULTI_TASK, FOUND = "single-task", "multi-task", "model"


def bench(
    models: Sequence[str | Path],
    settings: Settings | None = None,
    *,
    runtime: str = "onnxruntime",
    limits: Limits | None = None,
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


def bench_run(project: Project, model: Path, *, progress: Progress | None = None) -> Comparison:
    """Measure a run's exported model next to N single-task ones, the fully shared one and its baselines, in one go."""
    folder = project.out / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    fold = project.config.export.fold
    singles = []  # named apart from the baselines, since a task may be called like one
    for task in project.tasks:
        heads = {task: project.heads[task]}
        graph = lower(all_shared(project.backbone, [task]), project.backbone, heads).graph
        singles.append(write_onnx(graph, folder / f"single-{task}.onnx", fold=fold, reuse=False))
    groups = {SINGLE_TASK: singles}
    for name in dict.fromkeys([*project.config.train.baselines, MULTI_TASK]):
        if name != SINGLE_TASK:
            shared = lower(project.baseline(name), project.backbone, project.heads).graph
            path = folder / f"{file_name(project, name)}.onnx"
            groups[name] = [write_onnx(shared, path, fold=fold, reuse=False)]
    groups[FOUND] = [model]
    config = project.config.bench
    result = bench_groups(
        groups,
        settings_of(config),
        runtime=config.runtime,
        limits=project.limits,
        progress=progress,
    )
    project.write_json(BENCH, result.to_json())
    return result


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


def bench_groups(
    groups: Mapping[str, Sequence[Path]],
    settings: Settings,
    *,
    runtime: str,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measure named candidates, each one or several files."""
    with ExitStack() as stack:
        candidates = [
            open_candidate(name, files, settings, runtime=runtime_named(runtime, limits), limits=limits, stack=stack)
            for name, files in groups.items()
        ]
        return compare_candidates(candidates, settings, progress=progress)


def runtime_named(name: str, limits: Limits | None = None) -> Runtime:
    """Return the runtime that loads models."""
    if name == "torch":
        from trunkline.bench.runtimes.torch_eager import TorchRuntime

        return TorchRuntime(limits)
    from trunkline.bench.runtimes.ort import OrtRuntime

    return OrtRuntime()
