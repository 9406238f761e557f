"""What a pipeline file names, opened: backbone, data, tasks and heads that fit each other."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, InvalidModel, Problem
from trunkline.export.provenance import Provenance, sha256_of
from trunkline.files.write import atomic_write, json_bytes
from trunkline.fragments.heads.make_head import make_head, need_taps
from trunkline.graph.graph import Graph
from trunkline.ingest.backbone import read_backbone
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.pipeline.config import PipelineConfig
from trunkline.pipeline.run_identity import contents, portable
from trunkline.pipeline.tables import TaskConfig
from trunkline.pipeline.task_check import check_predictions, check_tasks
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import Method, Setup
from trunkline.supermodel.methods.registry import baseline_named, method_named
from trunkline.train.data.base import NORMALISATION, DataSets, TaskInfo
from trunkline.train.data.inventory import Inventory
from trunkline.train.data.record import DATA, inventory_of_run, record_of
from trunkline.train.data.remarks import check_labels_suffice, remarks
from trunkline.train.data.smaller import size_at
from trunkline.train.labels.crop import Size
from trunkline.train.loop.batch_feed import SplitData, split_data
from trunkline.train.loop.device import Compute
from trunkline.train.run_folder.run_folder import RunFolder, open_run
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.registry import make_task

SEARCH, TRAIN, PLAN, POLICY, MODEL = "search", "train", "plan.json", "policy.json", "model.onnx"
REPORTING = "test"
"""The part of the data that metrics are reported on."""
COMPARISON = "compare.json"
EXPORT, BENCH, RESULT = "export.json", "bench.json", "result.json"
# Each stage compares by itself what it takes from these tables: another `[bench]` must not forbid to go on training.
_STAGES = ("search", "train", "export", "bench")


@dataclass(frozen=True)
class Project:
    """A pipeline file and the folder that its run lives in.

    Attributes:
        config: The pipeline.
        out: The run's folder.
        limits: What model files may ask for.
    """

    config: PipelineConfig
    out: Path
    limits: Limits = DEFAULT_LIMITS

    @cached_property
    def data(self) -> DataSets:
        """The opened data sets."""
        return self.config.data.for_tasks(self.config.tasks).open()

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Task names in output order.

        Raises:
            InvalidConfig: The pipeline names a task that the data set does not have; all of it at once.
        """
        # Where labels are made on demand, the opened data set has only the tasks that the pipeline names.
        known = self.config.data.on_demand or tuple(self.data.train.tasks)
        check_tasks(self.config, known)
        return tuple(self.config.tasks or self.data.train.tasks)

    @cached_property
    def backbone(self) -> Backbone:
        """The backbone at the run's image size, cut at its features; what is known about its units is found once.

        Raises:
            InvalidModel: It cannot be read, or ``backbone_weights`` do not fit it.
            InvalidConfig: ``input_size`` is not the size of the data set's images.
        """
        size, asked = self.data.train.size, self.config.input_size
        if asked is not None and asked != size:
            raise InvalidConfig(
                f"is {asked[0]} x {asked[1]}, but the data set gives images of {size[0]} x {size[1]}",
                place="input_size",
                advice="leave it out, or set the size under [data]: a model is trained at the size it is built for",
            )
        return self._backbone_for(size)

    def _backbone_for(self, size: Size) -> Backbone:
        graph = read_backbone(
            self.config.backbone,
            features=self.config.features,
            taps=need_taps(self._head_kinds.values(), self.limits),
            input_size=size,
            limits=self.limits,
            weights=self.config.backbone_weights,
            allow_missing=self.config.allow_missing,
        )
        return Backbone(graph)

    @property
    def _head_kinds(self) -> dict[str, str]:
        return {name: self._task(name).head or self.config.head for name in self.tasks}

    @cached_property
    def heads(self) -> dict[str, Graph]:
        """A head per task.

        Raises:
            InvalidConfig: A head cannot be made, or predicts something else than its task needs.
        """
        heads = self._heads_on(self.backbone)
        check_predictions(heads, self._head_kinds, self._infos)
        return heads

    def _heads_on(self, backbone: Backbone) -> dict[str, Graph]:
        kinds, infos = self._head_kinds, self._infos
        return {name: make_head(kinds[name], backbone.graph, infos[name].channels, self.limits) for name in self.tasks}

    @property
    def _infos(self) -> dict[str, TaskInfo]:
        return {name: self.data.train.tasks[name] for name in self.tasks}

    def read_at(self, resolution: float) -> tuple[Backbone, dict[str, Graph]]:
        """Return backbone and heads for images of a share of the data's height and width.

        Raises:
            InvalidConfig: They cannot be read for images as small as that.
        """
        size = size_at(self.data.train.size, resolution)
        try:
            backbone = self._backbone_for(size)
            return backbone, self._heads_on(backbone)
        except (InvalidModel, InvalidConfig) as error:
            text = f"images of {size[0]} x {size[1]}: {error.problems[0].message}"
            raise InvalidConfig(text, place="search.resolution", advice="take a larger share") from error

    @cached_property
    def losses(self) -> list[Task]:
        """The tasks with their loss weights: their own, else those of ``[train] loss_weights``, else 1."""
        common = self.config.train.loss_weights
        made = []
        for name in self.tasks:
            info, config = self.data.train.tasks[name], self._task(name)
            weight = config.weight
            if weight is None:
                weight = common.get(name, common.get(info.kind, 1.0))
            # The pipeline file has the last word over what the data set gives for its labels.
            options: dict[str, Any] = {**info.options, **config.options, "weight": float(weight)}
            made.append(make_task(name, info.kind, info.channels, **options))
        return made

    @cached_property
    def inventory(self) -> Inventory:
        """What the data's files hold.

        Raises:
            InvalidConfig: A file cannot be used, or is not what the run began with; all of them at once.
        """
        found = inventory_of_run(self.data, self.out)
        check_labels_suffice(found, self.tasks)
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of backbone and data."""
        return (*self.backbone.graph.notes, *remarks(self.inventory, self.tasks))

    @property
    def eval_split(self) -> str | None:
        """The split that chooses; None where nothing was held out."""
        return None if self.data.val is None else "val"

    @cached_property
    def splits(self) -> SplitData:
        """The batches of the run."""
        config = self.config
        return split_data(self.data, batch_size=config.train.batch_size, seed=config.seed, augment=config.augment)

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

    def _task(self, name: str) -> TaskConfig:
        return self.config.tasks.get(name, TaskConfig())


def _of_baselines(problem: Problem) -> Problem:
    """Return a problem of a baseline's own options or file, with the key of the pipeline file before its place."""
    place = f"train.baselines: {problem.place}" if problem.place else "train.baselines"
    return replace(problem, place=place)
