"""``two-task``: train every two tasks at every branching point, as jobs; the table is what trees are ranked by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.pipeline.config import PipelineConfig
from trunkline.pipeline.project import Project
from trunkline.sharing.layouts.coarse_blocks import CoarseBlocks
from trunkline.sharing.layouts.pair_plans import TaskPair, pairs_of, table_of_pairs
from trunkline.sharing.layouts.table_file import save_table
from trunkline.sharing.layouts.two_task_table import TwoTaskTable
from trunkline.supermodel.methods.treemtl import TreeMTL
from trunkline.train.jobs.job import Job, Workers
from trunkline.train.progress.job_progress import JobProgress
from trunkline.train.run_folder.run_folder import open_run
from trunkline.train.tasks.relative import relative_performance
from trunkline.verbs.many_jobs import ONE_AT_A_TIME, Say, ShowJobs, failed
from trunkline.verbs.pair_job import SINGLE, PairJob
from trunkline.verbs.whose_folder import refuse_comparison, refuse_run

TABLE = "two_task.csv"
RUNS = "pairs"


@dataclass(frozen=True, slots=True)
class MeasuredPairs:
    """A measured table.

    Attributes:
        table: Means over seeds.
        path: Its file.
        by_seed: The table of each seed.
    """

    table: TwoTaskTable
    path: Path
    by_seed: Mapping[int, TwoTaskTable]

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {
            "path": str(self.path),
            "tasks": list(self.table.tasks),
            "blocks": self.table.blocks,
            "rows": [
                {
                    "task": task,
                    "partner": partner,
                    "branch_point": point,
                    "relative_performance_percent": value,
                    "by_seed": {str(seed): table.series(task, partner)[point] for seed, table in self.by_seed.items()},
                }
                for task in self.table.tasks
                for partner in self.table.tasks
                if task != partner
                for point, value in enumerate(self.table.series(task, partner))
            ],
        }


def two_task(
    config: PipelineConfig,
    out: Path,
    *,
    seeds: int = 1,
    workers: Workers = ONE_AT_A_TIME,
    limits: Limits = DEFAULT_LIMITS,
    show: ShowJobs = lambda _: JobProgress(),
    say: Say = lambda _: None,
) -> MeasuredPairs:
    """Train single-task models and all pairs with every seed, and write the table of what they came to.

    Called again, what is done is not done again, and seeds may be added. A job that fails, or a worker that is killed,
    costs that job alone.

    Args:
        config: A pipeline whose method is ``treemtl``, without a ``table``.
        out: The folder of the jobs and the table.
        seeds: How many seeds, the pipeline's own and those that follow it.
        workers: What does the jobs.
        limits: What model files may ask for.
        show: Gives what is told which job begins and ends, for a number of jobs.
        say: Called with a sentence when a stage begins.

    Raises:
        InvalidConfig: The pipeline is not one of this method, or the folder holds something else.
        WorkFailed: A job failed; what the others came to is kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM; what runs has saved what it had.
    """
    refuse_run(out)
    refuse_comparison(out)
    project = Project(config, out, limits)
    method = _method_of(project)
    if seeds < 1:
        raise InvalidConfig(f"{seeds} seeds", place="--seeds", advice="give a whole number from 1 on")
    pairs = pairs_of(project.tasks, method.merged)
    blocks = method.merged.blocks
    jobs = {seed: _jobs(config, out, limits, blocks, seed, pairs) for seed in range(config.seed, config.seed + seeds)}
    # What any job is bound to is checked here, at once, and not job by job.
    bound = {**jobs[config.seed][None].bound, **project.decisive}
    settings = {key: value for key, value in bound.items() if key != "seed"}
    with open_run(out, {"pairs": True, **settings}, seed=config.seed):
        waiting = [job for of_seed in jobs.values() for job in of_seed.values() if job.metrics() is None]
        if waiting:
            say(f"train: {len(waiting)} of {seeds * (len(pairs) + 1)} models to be done")
            with show(len(waiting)) as progress:
                failures = workers.run([_job(job) for job in waiting], progress)
            if failures:
                raise failed(failures)
        directions = {task.name: task.higher_is_better for task in project.losses}
        found = {seed: _table_of(project.tasks, of_seed, directions) for seed, of_seed in jobs.items()}
        table = mean_table(list(found.values()))
        path = out / TABLE
        save_table(table, path)
    return MeasuredPairs(table, path, found)


def mean_table(tables: Sequence[TwoTaskTable]) -> TwoTaskTable:
    """Return the mean of tables of the same tasks and blocks."""
    first = tables[0]
    rows = {
        (task, partner, point): math.fsum(table.series(task, partner)[point] for table in tables) / len(tables)
        for task in first.tasks
        for partner in first.tasks
        if task != partner
        for point in range(first.blocks + 1)
    }
    return TwoTaskTable.of(first.tasks, rows)


def _method_of(project: Project) -> TreeMTL:
    method = project.method
    if not isinstance(method, TreeMTL):
        text = f"pairs are trained for the method treemtl, and this pipeline's is {method.name}"
        raise InvalidConfig(text, place="search.method", advice='write `method = "treemtl"`')
    if method.options.table is not None:
        text = "the pipeline names a table, so there is nothing to measure"
        raise InvalidConfig(text, place="search.table", advice="leave it out")
    method.check()
    return method


def _jobs(
    config: PipelineConfig, out: Path, limits: Limits, blocks: CoarseBlocks, seed: int, pairs: Sequence[TaskPair]
) -> dict[TaskPair | None, PairJob]:
    own = config.model_copy(update={"seed": seed})
    named: dict[TaskPair | None, str] = {None: SINGLE, **{pair: pair.name for pair in pairs}}
    return {
        pair: PairJob(own, out / RUNS / name / f"seed-{seed}", limits, blocks, pair) for pair, name in named.items()
    }


def _job(job: PairJob) -> Job:
    # Beside the folder, not in it: a training's folder may be deleted to do it again.
    return Job(job.title, job, job.out.with_name(f"{job.out.name}.log"))


def _table_of(
    tasks: Sequence[str], jobs: Mapping[TaskPair | None, PairJob], directions: Mapping[str, Mapping[str, bool]]
) -> TwoTaskTable:
    single = jobs[None].metrics() or {}
    changes = {}
    for pair, job in jobs.items():
        if pair is not None:
            counted = {task: directions[task] for task in (pair.task, pair.other)}
            changes[pair] = relative_performance(job.metrics() or {}, single, counted).by_task
    return table_of_pairs(tasks, changes)
