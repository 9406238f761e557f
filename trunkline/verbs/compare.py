"""``compare``: ways of sharing side by side, on the same data, backbone, heads, steps and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.files.write import json_ready
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.pipeline.config import PipelineConfig
from trunkline.pipeline.one_variant import found_by, variant_named, with_plans, with_variant
from trunkline.pipeline.project import COMPARISON, MODEL, PLAN, Project
from trunkline.pipeline.variants import Variant
from trunkline.report.comparison import ComparisonReport, write_comparison
from trunkline.report.trade_off import SINGLE_TASK
from trunkline.sharing.plan import SharingPlan
from trunkline.train.jobs.job import Job, Workers
from trunkline.train.progress.job_progress import JobProgress
from trunkline.train.run_folder.run_folder import open_run
from trunkline.verbs.compare_bench import latencies_of
from trunkline.verbs.compare_job import CompareJob, Json, title_of
from trunkline.verbs.compare_rows import judged_estimates, methods_of, rows_of
from trunkline.verbs.many_jobs import ONE_AT_A_TIME, Say, ShowJobs, failed
from trunkline.verbs.plan_rankings import rankings_of
from trunkline.verbs.run import check_last_stages
from trunkline.verbs.train import file_name
from trunkline.verbs.whose_folder import refuse_run

RUNS = "runs"
"""The folder of all runs, apart from what is written about them."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison.

    Attributes:
        content: All numbers, as plain data; see ``docs/json.md``.
        report: The written tables and pictures.
        failures: Why runs failed, by their names; the report is without them.
    """

    content: Json
    report: ComparisonReport
    failures: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {**self.content, "failures": dict(self.failures), **self.report.to_json()}

    def require_all(self) -> None:
        """Raise WorkFailed where a run failed."""
        if self.failures:
            raise failed(self.failures)


def compare(
    config: PipelineConfig,
    out: Path,
    *,
    methods: Sequence[str] = (),
    seeds: int = 1,
    workers: Workers | None = ONE_AT_A_TIME,
    limits: Limits = DEFAULT_LIMITS,
    show: ShowJobs = lambda _: JobProgress(),
    say: Say = lambda _: None,
) -> Compared:
    """Train every way of sharing with every seed, measure all models in turns, and write tables and pictures.

    Single-task models come first, asked for or not: Δ is against them. Called again, what is done is not done again,
    and methods and seeds may be added.

    Args:
        config: The pipeline that all have in common.
        out: The comparison's folder; each run has a folder in it.
        methods: Names of variants and methods; all variants of the pipeline if empty.
        seeds: How many seeds, the pipeline's own and those that follow it.
        workers: What does the runs; none to report what is done so far.
        limits: What model files may ask for.
        show: Gives what is told which run begins and ends, for a number of runs.
        say: Called with a sentence when a stage begins.

    Raises:
        InvalidConfig: A name stands for nothing, a method does not fit, or the folder holds another comparison or a
            run.
        WorkFailed: No run is done. Where only some failed, the result tells which.
        KeyboardInterrupt: Ctrl-C or SIGTERM; what runs has saved what it had.
    """
    refuse_run(out)
    runs = _runs(config, methods, seeds, out, limits)
    project = _checked(runs, say)
    if workers is None:
        # Not opened: another process may be at work in the folder, which is when one wants to see how far it is.
        return _reported(project, runs, out, {}, say)
    settings = {key: value for key, value in project.decisive.items() if key != "seed"}
    with open_run(out, {"comparison": True, **settings}, seed=config.seed):
        failures: Mapping[str, str] = {}
        waiting = [run for run in runs if run.record() is None]
        if waiting:
            say(f"train: {len(waiting)} of {len(runs)} runs to be done")
            with show(len(waiting)) as progress:
                failures = workers.run([_job(run) for run in waiting], progress)
        return _reported(project, runs, out, failures, say)


def _chances(runs: Sequence[CompareJob]) -> dict[str, list[str]]:
    """Return, by the name of a way of sharing, the random plans that were asked to execute as much as what it finds."""
    found: dict[str, list[str]] = {}
    for run in runs:
        if run.config.search.method == "random":
            for name in run.needs:
                found.setdefault(name, []).append(run.name)
    return found


def _runs(config: PipelineConfig, methods: Sequence[str], seeds: int, out: Path, limits: Limits) -> list[CompareJob]:
    """Return all runs, seed by seed, so that a comparison that was stopped has whole seeds.

    Raises:
        InvalidConfig: There is nothing to compare, a name stands for nothing, or two names would have one folder.
    """
    if seeds < 1:
        raise InvalidConfig(f"{seeds} seeds", place="--seeds", advice="give a whole number from 1 on")
    names = list(dict.fromkeys([SINGLE_TASK, *(methods or config.variants)]))
    if len(names) == 1:
        advice = "give --methods, or write tables `[variants.NAME]` into the pipeline file"
        raise InvalidConfig("there is nothing to compare single-task models with", place="--methods", advice=advice)
    variants = {name: variant_named(config, name) for name in names}
    folders = _folders(config, names, out, limits)
    runs = []
    for seed in range(config.seed, config.seed + seeds):
        own = {name: out / RUNS / folder / f"seed-{seed}" for name, folder in folders.items()}
        for name in names:
            needs = found_by(variants[name])
            _require_compared(name, needs, variants)
            variant = with_plans(variants[name], {key: own[other] / PLAN for key, other in needs.items()})
            run = with_variant(config, variant, seed)
            runs.append(CompareJob(name, run, own[name], limits, tuple(needs.values())))
    return runs


def _require_compared(name: str, needs: Mapping[str, str], variants: Mapping[str, Variant]) -> None:
    for key, other in needs.items():
        place = f"{name}: {key}"
        if other not in variants:
            text = f"found:{other} is what {other} finds, which is not among the methods"
            raise InvalidConfig(text, place=place, advice="name it too, in --methods")
        # Otherwise two could wait for each other.
        if found_by(variants[other]):
            text = f"found:{other} rests on what another finds"
            raise InvalidConfig(text, place=place, advice="name that one instead")


def _folders(config: PipelineConfig, names: Sequence[str], out: Path, limits: Limits) -> dict[str, str]:
    project = Project(config, out, limits)
    folders = {name: file_name(project, name) if ":" in name else name for name in names}
    taken: dict[str, str] = {}
    for name, folder in folders.items():
        # On some disks names that differ in case alone are one.
        other = taken.setdefault(folder.lower(), name)
        if other != name:
            text = f"{name} and {other} would have one folder, {folder}"
            raise InvalidConfig(text, place="--methods", advice="rename the variant, or leave one of them out")
    return folders


def _checked(runs: Sequence[CompareJob], say: Say) -> Project:
    """Check now whatever can be checked, so that no night is spent on a comparison that cannot end; return a project.

    Raises:
        InvalidConfig: Whatever does not fit; of each way of sharing the first.
    """
    first = Project(runs[0].config, runs[0].out, runs[0].limits)
    for note in first.notes:
        say(f"note: {note}")
    for run in runs:
        # What rests on another run's plan cannot be tried before there is one.
        if run.config.seed == runs[0].config.seed and not run.needs:
            _check(first.with_config(run.config, run.out), run.name)
    changes = [problem for run in runs for problem in run.changes()]
    if changes:
        raise InvalidConfig(changes)
    return first


def _check(project: Project, name: str) -> None:
    try:
        check_last_stages(project)
    except InvalidConfig as error:
        problems = [replace(item, place=f"{name}: {item.place}" if item.place else name) for item in error.problems]
        raise InvalidConfig(problems) from error


def _job(run: CompareJob) -> Job:
    # Beside the folder, not in it: a run's folder may be deleted to do it again.
    log = run.out.with_name(f"{run.out.name}.log")
    return Job(run.title, run, log, tuple(title_of(name, run.config.seed) for name in run.needs))


def _reported(
    project: Project, runs: Sequence[CompareJob], out: Path, failures: Mapping[str, str], say: Say
) -> Compared:
    """Measure what is done, and write all that can be said of it.

    Raises:
        WorkFailed: Nothing is done yet.
    """
    records = [(run, run.record()) for run in runs]
    done = [(run, record) for run, record in records if record is not None]
    if failures and not done:
        raise failed(failures)
    if not done:
        raise WorkFailed("no run is done yet", place=str(out), advice="`trunkline compare` goes on with them")
    # The first of each structure stands for all: weights do not change how long a model takes.
    models: dict[str, Path] = {}
    for run, record in done:
        if run.name != SINGLE_TASK:
            models.setdefault(record["structure"], run.out / MODEL)
    say(f"bench: single-task models, and {len(models)} others of different structure, in turns")
    whole = project.with_config(project.config, out)
    latencies = latencies_of(whole, models)
    directions = {task.name: task.higher_is_better for task in project.losses}
    rows = rows_of([record for _, record in done], latencies, directions)
    names = list(dict.fromkeys(run.name for run in runs))
    plans = {(run.name, run.config.seed): SharingPlan.load(run.out / PLAN) for run, _ in done}
    content = json_ready(
        {
            "tasks": list(project.tasks),
            "backbone": project.backbone.name,
            "runs": {"done": len(done), "all": len(runs)},
            "rows": rows,
            "methods": methods_of(rows, names, _chances(runs)),
            "directions": directions,
            "judged": judged_estimates(rows),
            "rankings": rankings_of(rows, plans),
        }
    )
    whole.write_json(COMPARISON, content)
    return Compared(content, write_comparison(content, out), failures)
