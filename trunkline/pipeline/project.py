"""A pipeline file and its run: its parts, its method, and the folder that its stages live in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, Problem
from trunkline.export.provenance import Provenance, sha256_of
from trunkline.files.write import atomic_write, json_bytes
from trunkline.pipeline.config import PipelineConfig
from trunkline.pipeline.opened import OpenedPipeline
from trunkline.pipeline.run_identity import contents, portable
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import Method, Setup
from trunkline.supermodel.methods.registry import baseline_named, method_named
from trunkline.train.data.base import NORMALISATION
from trunkline.train.data.record import DATA, record_of
from trunkline.train.loop.device import Compute
from trunkline.train.run_folder.run_folder import RunFolder, open_run

SEARCH, TRAIN, PLAN, POLICY, MODEL = "search", "train", "plan.json", "policy.json", "model.onnx"
REPORTING = "test"
"""The part of the data that metrics are reported on."""
COMPARISON = "compare.json"
EXPORT, BENCH, RESULT = "export.json", "bench.json", "result.json"
# Each stage compares by itself what it takes from these tables: another `[bench]` must not forbid to go on training.
_STAGES = ("search", "train", "export", "bench")


@dataclass(frozen=True)
class Project(OpenedPipeline):
    """A pipeline file and the folder that its run lives in; see :class:`~trunkline.pipeline.opened.OpenedPipeline`."""

    @property
    def setup(self) -> Setup:
        """What a method is given."""
        batch = self.config.train.batch_size
        return Setup(
            backbone=self.backbone,
            heads=self.heads,
            tasks=self.tasks,
            kinds={name: self.data.train.tasks[name].kind for name in self.tasks},
            seed=self.config.seed,
            phase=self.config.train.phase(self.eval_split),
            steps_an_epoch=math.ceil(len(self.data.train) / batch),  # the feed fills the last batch up
            read_at=self.read_at,
            loss_weights={task.name: task.weight for task in self.losses},
        )

    @cached_property
    def method(self) -> Method[Any]:
        """The method of the pipeline.

        Raises:
            InvalidConfig: Its options do not fit backbone or tasks.
        """
        search = self.config.search
        return method_named(search.method)(self.setup, search.options)

    def baseline(self, name: str) -> SharingPlan:
        """Return the plan of a baseline, as ``[train] baselines`` names it.

        Raises:
            InvalidConfig: It does not fit the backbone.
        """
        kind, options = baseline_named(name)
        try:
            return kind(self.setup, options).plan()
        except InvalidConfig as error:
            raise InvalidConfig([_of_baselines(item) for item in error.problems]) from error

    @property
    def compute(self) -> Compute:
        """Device and precision."""
        return Compute(self.config.device, self.config.precision)

    @property
    def decisive(self) -> dict[str, Any]:
        """What every stage is bound to once it is begun: all of the pipeline but the tables of stages."""
        found = {key: value for key, value in portable(self.config).items() if key not in _STAGES}
        # Files are compared by content: names and paths may change, and a file may be replaced under its name.
        return {**found, "contents": {**self._contents, "data": self.inventory.digests()}}

    def with_config(self, config: PipelineConfig, out: Path) -> Project:
        """Return a project with another search, training or seed, in another folder; what was opened stays open."""
        other = replace(self, config=config, out=out)
        opened = ("data", "tasks", "backbone", "heads", "inventory", "_contents")
        other.__dict__.update({key: self.__dict__[key] for key in opened if key in self.__dict__})
        return other

    def folder(self, name: str) -> RunFolder:
        """Return where a stage keeps its checkpoints and metrics; :meth:`stage` opens it."""
        return RunFolder((self.out / name).absolute())

    @contextmanager
    def stage(self, name: str, settings: Mapping[str, Any]) -> Iterator[None]:
        """Hold the folder of one stage.

        Check everything before calling this: opening the folder for the first time writes the settings, and a stage is
        then bound to them.

        Raises:
            InvalidConfig: The stage was begun with other settings or other files, or another process holds its folder.
            WorkFailed: The folder cannot be written.
        """
        with open_run(self.out / name, {**self.decisive, **settings}, seed=self.config.seed):
            self.write_json(DATA, record_of(self.data, self.inventory))
            yield

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a result into the run's folder."""
        path = self.out / name
        atomic_write(path, json_bytes(content, indent=2))
        return path

    def metadata(self, plan: str) -> dict[str, str]:
        """Return what the exported file records about its origin."""
        provenance = Provenance(
            backbone=self.backbone.name,
            plan_sha256=sha256_of(plan),
            config_sha256=sha256_of(json.dumps(portable(self.config))),
            mean=NORMALISATION.mean,
            std=NORMALISATION.std,
        )
        return provenance.to_metadata()

    @cached_property
    def _contents(self) -> dict[str, Any]:
        return contents(self.backbone, self.heads)


def _of_baselines(problem: Problem) -> Problem:
    """Return a problem of a baseline's own options or file, with the key of the pipeline file before its place."""
    place = f"train.baselines: {problem.place}" if problem.place else "train.baselines"
    return replace(problem, place=place)
