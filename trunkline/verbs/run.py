"""``run``: search → train → export → bench → report, each stage going on from where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.bench.compare import Comparison
from trunkline.errors import InvalidConfig
from trunkline.export.exporter import ExportResult
from trunkline.export.parity.session import require_onnxruntime
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.pipeline.config import PipelineConfig
from trunkline.pipeline.project import RESULT, Project
from trunkline.report.document import PREDICTIONS, Report, write_report
from trunkline.report.predictions_picture import draw_predictions
from trunkline.report.trade_off import SINGLE_TASK
from trunkline.twins.twin import Twin
from trunkline.verbs.bench import bench_run, runtime_named, settings_of
from trunkline.verbs.export import check_free_size, export
from trunkline.verbs.export_precision import export_precisions
from trunkline.verbs.search import SearchResult, search
from trunkline.verbs.train import TrainResult, final_phase, relative, train, train_baseline
from trunkline.verbs.whose_folder import refuse_comparison

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The results of all stages of a run.

    Attributes:
        search: The plan and what it costs.
        trained: The trained model.
        deltas: Δ in percent against single-task models, by model; empty where no single-task models were trained.
        exported: The ONNX file and its parity.
        latency: Latency of the model next to those that it is compared with.
        report: The written report.
    """

    search: SearchResult
    trained: TrainResult
    deltas: dict[str, dict[str, float]]
    exported: ExportResult
    latency: Comparison
    report: Report

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {
            "search": self.search.to_json(),
            "train": self.trained.to_json(),
            "delta": self.deltas,
            "export": self.exported.to_json(),
            "bench": self.latency.to_json(),
            "report": self.report.to_json(),
        }


def run(
    config: PipelineConfig,
    out: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    quiet: bool = False,
    say: Say = lambda _: None,
) -> RunResult:
    """Run a whole pipeline in the folder ``out``; run again, it goes on from the last checkpoint.

    Args:
        config: The pipeline.
        out: The run's folder.
        limits: What model files may ask for.
        quiet: Show no progress bars.
        say: Called with a sentence when a stage begins, and with every note.

    Raises:
        InvalidConfig: The pipeline does not fit; or the folder holds a run with other settings.
        WorkFailed: A stage failed; what earlier stages made is kept.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
    """
    refuse_comparison(out)
    project = Project(config, out, limits)
    check_last_stages(project)
    for note in project.notes:
        say(f"note: {note}")
    say(f"search: {project.method.name} decides which parts are shared")
    found = search(project, quiet=quiet)
    macs, _ = found.cost.relative
    say(f"search: the model runs {100 * macs:.1f} % of the MACs of {len(project.tasks)} backbones")
    say("train: the found model")
    trained = train(project, found.found, quiet=quiet)
    deltas = _compare_with_baselines(project, trained, quiet=quiet, say=say)
    say("export: writing and proving the ONNX file")
    exported = export(project, trained)
    if config.export.precisions:
        say(f"export: {', '.join(config.export.precisions)}, each judged by its tasks' metrics")
        export_precisions(project, trained, exported, config.export.precisions)
    # The twin draws what the file computes: parity was proved a line ago.
    twin = Twin(trained.graph, weights=trained.weights)
    draw_predictions(twin, project.data.test, project.losses, out / PREDICTIONS)
    say("bench: measuring against the models that it is compared with")
    # After all training, and while nothing else of the run needs the cores.
    latency = bench_run(project, exported.path)
    report = write_report(out)
    result = RunResult(found, trained, deltas, exported, latency, report)
    project.write_json(RESULT, result.to_json())
    return result


def check_last_stages(project: Project) -> None:
    """Check now what the last stages need, so that no hours of training are spent on a run that cannot end.

    Raises:
        InvalidConfig: A baseline does not fit, or the device is none.
        WorkFailed: The device, or the runtime that measures, is not there.
    """
    final_phase(project)
    project.method.check()
    _check_start(project)
    for name in project.config.train.baselines:
        project.baseline(name)
    project.compute.resolve()
    require_onnxruntime()
    # Only running a model shows whether a provider works: onnxruntime lists CUDA also where its libraries are missing.
    runtime = runtime_named(project.config.bench.runtime)
    runtime.prepare(project.backbone.graph, settings_of(project.config.bench)).close()
    if project.config.export.free_size:
        check_free_size(project)


def _check_start(project: Project) -> None:
    method = project.method
    if project.config.train.start == "search" and not method.leaves_weights:
        text = f"{method.name} ends with a plan, not with weights to go on from"
        raise InvalidConfig(text, place="train.start", advice='leave it out, or write "scratch"')


def _compare_with_baselines(
    project: Project, trained: TrainResult, *, quiet: bool, say: Say
) -> dict[str, dict[str, float]]:
    """Train the baselines and return Δ of every model that can be compared."""
    others = {}
    for name in project.config.train.baselines:
        say(f"train: the {name} baseline, alike")
        others[name] = train_baseline(project, name, quiet=quiet)
    # Δ is defined against single-task models. Without them metrics stand for themselves, in their own units.
    single = others.pop(SINGLE_TASK, None)
    if single is None:
        return {}
    found = {name: relative(project, result, single) for name, result in {"model": trained, **others}.items()}
    for name, delta in found.items():
        if delta.left_out:
            # Δ divides by the single-task metric; a silent gap could make a mean over fewer metrics look better.
            say(f"note: Δ of {name} is without {', '.join(delta.left_out)}: no value, or 0 of the single-task model")
    deltas = {name: delta.to_json() for name, delta in found.items()}
    project.write_json("delta.json", deltas)
    return deltas
