"""What ``trunkline bench`` measures besides model files: models of a backbone and plans, or those of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.bench.compare import Comparison
from trunkline.bench.protocol import Progress
from trunkline.bench.settings import Settings
from trunkline.cli.tasks_argument import parse_tasks
from trunkline.errors import InvalidConfig
from trunkline.ingest.read_options import ReadOptions
from trunkline.limits import Limits
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import MODEL, Project
from trunkline.verbs.bench import bench_run, settings_of
from trunkline.verbs.bench_plans import bench_plans, sharings_of
from trunkline.verbs.bench_runtimes import BenchedOn


@dataclass(frozen=True, slots=True)
class PlanModels:
    """Models of a backbone, as the options for them say.

    Attributes:
        tasks: The text of ``--tasks``.
        plans: Files of plans, or folders of them.
        layouts: Files of layouts.
        shared_until: Last shared blocks.
        head: The head of every task.
    """

    tasks: str | None
    plans: Sequence[Path]
    layouts: Sequence[Path]
    shared_until: Sequence[str]
    head: str

    def asked_for(self, models: Sequence[str]) -> bool:
        """Return whether a backbone is to be measured.

        Raises:
            InvalidConfig: Options for one are given without tasks, or there is not exactly one backbone.
        """
        given = [*self.plans, *self.layouts, *self.shared_until]
        if self.tasks is None and given:
            text = "plans, layouts and cuts are of a backbone and its tasks"
            raise InvalidConfig(text, place="--tasks", advice="name the tasks, as --tasks segmentation,depth")
        if self.tasks is not None and len(models) != 1:
            text = f"{len(models)} backbones are given, expected one"
            raise InvalidConfig(text, place="--tasks", advice="leave --tasks out to measure model files")
        return self.tasks is not None

    def measure(
        self,
        models: Sequence[str],
        settings: Settings,
        on: BenchedOn,
        options: ReadOptions,
        progress: Progress | None = None,
    ) -> Comparison:
        """Measure N single-task models, the fully shared one, and that of each plan."""
        sharings = sharings_of(self.plans, self.layouts, self.shared_until)
        tasks = parse_tasks(self.tasks or "")
        return bench_plans(models[0], tasks, sharings, settings, on, head=self.head, options=options, progress=progress)


@dataclass(frozen=True, slots=True)
class RunModels:
    """Models of a run.

    Attributes:
        out: The run's folder.
    """

    out: Path | None

    def asked_for(self, models: Sequence[str]) -> bool:
        """Return whether a run is to be measured.

        Raises:
            InvalidConfig: There is a pipeline file without a folder, or a folder without a pipeline file.
        """
        are_pipelines = [model.endswith(".toml") for model in models]
        if not any(are_pipelines) and self.out is None:
            return False
        if self.out is None or are_pipelines != [True]:
            text = "a run is measured by its pipeline file and its folder"
            raise InvalidConfig(text, place="--out", advice="trunkline bench PIPELINE.toml --out RUN")
        return True

    def usual(self, models: Sequence[str]) -> tuple[Settings, BenchedOn]:
        """Return how models are measured, and on what, where nothing is said: as the run's ``[bench]`` says.

        Raises:
            InvalidConfig: As :meth:`asked_for`, or the pipeline file is none.
        """
        if self.out is None or not self.asked_for(models):
            return Settings(), BenchedOn()
        bench = load_config(Path(models[0])).bench
        return settings_of(bench), BenchedOn((bench.runtime,), bench.provider)

    def measure(
        self,
        models: Sequence[str],
        settings: Settings,
        on: BenchedOn,
        limits: Limits,
        progress: Progress | None = None,
    ) -> Comparison:
        """Measure all models of the run, and write ``bench.json`` into its folder.

        Raises:
            InvalidConfig: The run is not exported yet.
        """
        assert self.out is not None
        model = self.out / MODEL
        if not model.is_file():
            advice = f"trunkline export {models[0]} --out {self.out}"
            raise InvalidConfig("there is no model yet", place=str(model), advice=advice)
        project = Project(load_config(Path(models[0])), self.out, limits)
        return bench_run(project, model, on, settings=settings, progress=progress)
