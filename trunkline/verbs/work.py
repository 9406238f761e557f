"""Work that a method asks for, in a run's folder: every call is a named stage that is resumed where it stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.files.write import atomic_write
from trunkline.pipeline.project import SEARCH, Project
from trunkline.recipe import Phase
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.work import Start, Work
from trunkline.train.data.base import DataSet
from trunkline.train.data.batches import in_order
from trunkline.train.data.training_parts import samples_of
from trunkline.train.loop.evaluate import Metrics
from trunkline.twins.twin import Twin
from trunkline.verbs.training import Recipe, TrainedPlan, make_runners, train_plan, train_settings

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]
"""What was found in a trained model, by name."""
PROBED = "values.safetensors"
"""What a probe found, in the folder of its stage."""


@dataclass(frozen=True, slots=True)
class ProjectWork:
    """Work in the folder of a run.

    Attributes:
        project: The run.
        quiet: Show no progress.
        job: Prefix of the stages' folders, where a method does several jobs with stages of the same names.
    """

    project: Project
    quiet: bool = False
    job: str = ""

    def fit(self, name: str, model: Any, phases: Sequence[Phase]) -> Metrics:
        """Train ``model`` in place; see :class:`~trunkline.supermodel.work.Work`."""
        project, folder = self.project, self._folder(name)
        # Before the stage is opened, which writes settings: a phase that does not fit is refused here.
        runners = make_runners(project, model, phases, project.folder(folder), quiet=self.quiet)
        metrics: Metrics = {}
        with project.stage(folder, {**self._settings(phases), **self._step_settings}):
            self._record_parts(folder, phases)
            for runner in runners:
                metrics = runner.run().metrics
        return metrics

    def train(
        self, name: str, plan: SharingPlan, *, start: Start | None = None, phases: Sequence[Phase] | None = None
    ) -> TrainedPlan:
        """Train the model of a plan; see :class:`~trunkline.supermodel.work.Work`."""
        # None is not the same as no phases: without any, the model keeps the weights that it starts with.
        chosen = [self.project.setup.phase] if phases is None else list(phases)
        recipe = Recipe(chosen, start, settings={**self._settings(chosen), **train_settings(self.project)})
        return train_plan(self.project, self._folder(name), plan, recipe, quiet=self.quiet)

    def each(self, jobs: Mapping[str, Callable[[Work], T]]) -> dict[str, T]:
        """Do jobs one after the other; see :class:`~trunkline.supermodel.work.Work`."""
        return {name: job(replace(self, job=f"{self.job}{name}-")) for name, job in jobs.items()}

    def probe(
        self, name: str, trained: TrainedPlan, values: Sequence[str], images: int, pooled: int | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Return values of a trained model; see :class:`~trunkline.supermodel.work.Work`.

        Raises:
            InvalidConfig: There are no samples to choose by; or the stage was begun with other values or another plan.
        """
        settings: dict[str, Any] = {"values": list(values), "images": images}
        # Not where it is not asked for: a stage that was begun before there was such a setting goes on.
        settings |= {} if pooled is None else {"pooled": pooled}
        return self._looked(
            name, trained, settings, lambda chosen: self._values(chosen, trained, values, images, pooled)
        )

    def judge(self, name: str, trained: TrainedPlan, images: int) -> dict[str, NDArray[np.float64]]:
        """Return losses of a trained model, image by image; see :class:`~trunkline.supermodel.work.Work`.

        Raises:
            InvalidConfig: There are no samples to choose by.
        """
        found = self._looked(name, trained, {"images": images}, lambda chosen: self._losses(chosen, trained, images))
        return {task: losses.astype(np.float64) for task, losses in found.items()}

    def _looked(
        self, name: str, trained: TrainedPlan, settings: Mapping[str, Any], look: Callable[[DataSet], Arrays]
    ) -> Arrays:
        """Return what a stage has found in a trained model by the samples that choose, looking only the first time."""
        # Never the samples that report: what a method decides by them, it could not be judged by.
        chosen = self.project.data.val
        if chosen is None:
            text = f"{name}: no samples are held out to look at"
            raise InvalidConfig(text, place="data", advice="set `val_fraction` above 0 under [data]")
        folder = self._folder(name)
        model = {"plan": trained.plan.model_dump(mode="json"), "kept": dict(trained.kept.steps)}
        path = self.project.out / folder / PROBED
        with self.project.stage(folder, {**model, **settings}):
            if not path.is_file():
                atomic_write(path, save(dict(look(chosen))))
            return _loaded(path)

    def _losses(self, chosen: DataSet, trained: TrainedPlan, images: int) -> Arrays:
        twin = Twin(trained.graph, weights=trained.weights).eval()
        tasks = [task for task in self.project.losses if task.name in trained.plan.tasks]
        found: dict[str, list[float]] = {task.name: [] for task in tasks}
        with torch.no_grad():
            # One at a time: a loss is a mean over what counts in a batch.
            for batch in in_order(chosen, 1, list(range(min(images, len(chosen))))):
                outputs = twin(batch.image)
                for task in tasks:
                    known = batch.has_label(task.name)
                    loss = float(task.loss(outputs[task.name], batch.labels[task.name])) if known else math.nan
                    found[task.name].append(loss)
        return {task: np.array(losses, dtype=np.float64) for task, losses in found.items()}

    def _values(
        self, chosen: DataSet, trained: TrainedPlan, values: Sequence[str], images: int, pooled: int | None
    ) -> Arrays:
        twin = Twin(trained.graph, weights=trained.weights).eval()
        indices = list(range(min(images, len(chosen))))
        found: dict[str, list[NDArray[np.float32]]] = {value: [] for value in values}
        with torch.no_grad():
            for batch in in_order(chosen, self.project.config.train.batch_size, indices):
                for value, content in twin(batch.image, values).items():
                    found[value].append(_pooled(content, pooled).numpy())
        return {value: np.ascontiguousarray(np.concatenate(parts)) for value, parts in found.items()}

    def _record_parts(self, folder: str, phases: Sequence[Phase]) -> None:
        """Write down which training samples each turn reads that does not read them all."""
        length, seed = len(self.project.data.train), self.project.config.seed
        found = {}
        for phase in phases:
            for turn in phase.turns:
                # A remixed part is drawn again in every pass, so there is no one list of its samples.
                if not turn.data.is_all and not turn.data.remix:
                    found[f"{phase.name}.{turn.name}"] = sorted(samples_of(length, turn.data, seed))
        if found:
            self.project.write_json(f"{folder}/split.json", found)

    def _folder(self, name: str) -> str:
        stage = f"{self.job}{name}"
        # A method's main stage is called like the verb; its folder must not be `search-search`.
        return SEARCH if stage == SEARCH else f"{SEARCH}-{stage}"

    def _settings(self, phases: Sequence[Phase]) -> dict[str, Any]:
        search = self.project.config.search
        decisive = type(self.project.method).decisive(search.options)
        return {
            "search": {"method": search.method, **decisive},
            "phases": [phase.model_dump(mode="json", include={"name", "steps"}) for phase in phases],
        }

    @property
    def _step_settings(self) -> dict[str, Any]:
        """What a step of a search takes from ``[train]``; where all of ``[train]`` is a setting, it is among it."""
        return {
            "batch_size": self.project.config.train.batch_size,
            # No checkpoint holds these two, so that only the settings can refuse others.
            "clip_norm": self.project.config.train.clip_norm,
            "loss_weights": {task.name: task.weight for task in self.project.losses},
        }


def _pooled(content: Tensor, size: int | None) -> Tensor:
    """Return maps ``[N, C, h, w]`` averaged to at most so many rows and columns; anything else as it is."""
    if size is None or content.ndim != 4:
        return content
    rows, columns = content.shape[2:]
    return torch.nn.functional.adaptive_avg_pool2d(content, (min(rows, size), min(columns, size)))


def _loaded(path: Path) -> Arrays:
    try:
        return load_file(path)
    except SafetensorError as error:
        text = f"these values cannot be read: {error}"
        raise InvalidConfig(text, place=str(path), advice="delete the file; it is computed again") from error
