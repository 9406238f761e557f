"""What a pipeline file names, opened: data, tasks, backbone and heads that fit each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, InvalidModel
from trunkline.fragments.heads.make_head import make_head, need_taps
from trunkline.fragments.heads.other_size import head_at_other_size
from trunkline.graph.graph import Graph
from trunkline.ingest.backbone import read_backbone
from trunkline.limits import DEFAULT_LIMITS, Limits
from trunkline.pipeline.config import PipelineConfig
from trunkline.pipeline.tables import TaskConfig
from trunkline.pipeline.task_check import check_predictions, check_tasks
from trunkline.sharing.backbone import Backbone
from trunkline.train.data.base import DataSets, TaskInfo
from trunkline.train.data.inventory import Inventory
from trunkline.train.data.record import inventory_of_run
from trunkline.train.data.remarks import check_labels_suffice, remarks
from trunkline.train.data.smaller import size_at
from trunkline.train.labels.crop import Size
from trunkline.train.loop.batch_feed import SplitData, split_data
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.registry import make_task


@dataclass(frozen=True)
class OpenedPipeline:
    """The parts of a pipeline, each opened when it is asked for first.

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
            branching=self.config.branching.rule,
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

    def at_size(self, size: Size) -> tuple[Backbone, dict[str, Graph]]:
        """Return the same backbone and heads for images of another height and width.

        Raises:
            InvalidModel: The backbone cannot be read at this size.
            InvalidConfig: A head cannot be made for it.
        """
        backbone, kinds = self._backbone_for(size), self._head_kinds
        own = self.backbone.graph
        heads = {
            name: head_at_other_size(head, kinds[name], own, backbone.graph, self.limits)
            for name, head in self.heads.items()
        }
        return backbone, heads

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

    def _task(self, name: str) -> TaskConfig:
        return self.config.tasks.get(name, TaskConfig())
