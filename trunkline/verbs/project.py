"""What a pipeline file names, opened: backbone, data, tasks and heads that fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.export.provenance import Provenance, sha256_of
from trunkline.files import atomic_write, json_bytes
from trunkline.ingest.features import backbone_of
from trunkline.ingest.graph import Graph
from trunkline.ingest.read import read
from trunkline.supermodel.heads import make_head
from trunkline.train.data.base import NORMALISATION, DataSets
from trunkline.train.data.config import ScenesConfig
from trunkline.train.data.open import open_data
from trunkline.train.device import Compute
from trunkline.train.feed import SplitData, split_data
from trunkline.train.presets import Preset
from trunkline.train.run_folder import RunFolder, open_run
from trunkline.train.tasks.base import Task, make_task
from trunkline.verbs.config import PipelineConfig, TaskConfig

SEARCH, TRAIN, PLAN, POLICY, MODEL = "search", "train", "plan.json", "policy.json", "model.onnx"
EXPORT, BENCH, RESULT = "export.json", "bench.json", "result.json"


@dataclass(frozen=True)
class Project:
    """A pipeline file and the folder that its run lives in.

    Attributes:
        config: The pipeline.
        out: The run's folder.
    """

    config: PipelineConfig
    out: Path

    @cached_property
    def data(self) -> DataSets:
        """The opened data sets."""
        return open_data(self._data_config())

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Task names in output order."""
        known = self.data.train.tasks
        problems = [
            Problem("the data set has no such task", f"tasks.{name}", did_you_mean(name, known) or _listing(known))
            for name in self.config.tasks
            if name not in known
        ]
        if problems:
            raise InvalidConfig(problems)
        return tuple(self.config.tasks or known)

    @cached_property
    def backbone(self) -> Graph:
        """The backbone at the run's image size, cut at its features."""
        size, asked = self.data.train.size, self.config.input_size
        if asked is not None and asked != size:
            raise InvalidConfig(
                f"is {asked[0]} x {asked[1]}, but the data set gives images of {size[0]} x {size[1]}",
                place="input_size",
                advice="leave it out, or set the size under [data]: a model is trained at the size it is built for",
            )
        return backbone_of(read(self.config.backbone, input_size=size))

    @cached_property
    def heads(self) -> dict[str, Graph]:
        """A head per task."""
        channels = {name: self.data.train.tasks[name].channels for name in self.tasks}
        kinds = {name: self._task(name).head or self.config.head for name in self.tasks}
        return {name: make_head(kinds[name], self.backbone, channels[name]) for name in self.tasks}

    def losses(self, numbers: Preset, *, searching: bool = False) -> list[Task]:
        """Return the tasks with their loss weights: the pipeline's own, else the preset's, else 1."""
        preset = (numbers.search_loss_weights if searching else None) or numbers.loss_weights
        made = []
        for name in self.tasks:
            info, config = self.data.train.tasks[name], self._task(name)
            weight = preset.get(info.kind, 1.0) if config.weight is None else config.weight
            options: dict[str, Any] = {**info.options, **config.options, "weight": float(weight)}
            made.append(make_task(name, info.kind, info.channels, **options))
        return made

    def _check_options(self) -> None:
        """Refuse options that have their own place, before they silently replace it."""
        advice = {"weight": "it is a key of the task itself", "name": "it is the table's name"}
        found = [(name, key) for name in self.tasks for key in self._task(name).options if key in _OWN_PLACE]
        if found:
            raise InvalidConfig(
                [Problem("is not an option", f"tasks.{name}.options.{key}", _OWN_PLACE[key]) for name, key in found]
            )

    def splits(self, numbers: Preset) -> SplitData:
        """Return the batches of the run."""
        return split_data(
            self.data,
            batch_size=numbers.batch_size,
            seed=self.config.seed,
            policy_fraction=self.config.policy_fraction,
            augment=self.config.augment,
        )

    @property
    def compute(self) -> Compute:
        """Device and precision."""
        return Compute(self.config.device, self.config.precision)

    @contextmanager
    def stage(self, name: str, settings: Mapping[str, Any]) -> Iterator[RunFolder]:
        """Open the folder of one stage; a stage begun with other settings is refused."""
        decisive = self.config.model_dump(mode="json", exclude={"search", "train", "export", "bench"})
        with open_run(self.out / name, {**decisive, **settings}, seed=self.config.seed) as folder:
            yield folder

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a result into the run's folder."""
        path = self.out / name
        atomic_write(path, json_bytes(content, indent=2))
        return path

    def metadata(self, plan: str) -> dict[str, str]:
        """Return what the exported file says about its origin."""
        config = self.config.model_dump_json()
        provenance = Provenance(
            backbone=self.backbone.name,
            plan_sha256=sha256_of(plan),
            config_sha256=sha256_of(config),
            mean=NORMALISATION.mean,
            std=NORMALISATION.std,
        )
        return provenance.to_metadata()

    def _task(self, name: str) -> TaskConfig:
        return self.config.tasks.get(name, TaskConfig())

    def _data_config(self) -> Any:
        """Scenes render only the labels that are asked for; folders hold what they hold."""
        config = self.config.data
        names = tuple(self.config.tasks)
        if isinstance(config, ScenesConfig) and names and set(names) != set(config.tasks):
            return ScenesConfig.model_validate({**config.model_dump(), "tasks": names})
        return config


def _listing(known: Mapping[str, Any]) -> str:
    return f"it has: {', '.join(known)}"
