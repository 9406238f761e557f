"""The ``[data]`` table of generated scenes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from trunkline.train.data.base import DataSets
from trunkline.train.data.config import DataSetConfig, Pixels, Seed
from trunkline.train.data.sets.scenes.dataset import TASKS, Scenes, SceneTask


class ScenesConfig(DataSetConfig):
    """See :class:`trunkline.train.data.sets.scenes.dataset.Scenes`.

    ``val_length`` scenes choose, and ``test_length`` scenes report; by default as many as choose.
    """

    kind: Literal["scenes"]
    size: tuple[Pixels, Pixels] = (64, 96)
    length: Annotated[int, Field(ge=1)] = 1000
    val_length: Annotated[int, Field(ge=1)] = 200
    test_length: Annotated[int, Field(ge=1)] | None = None
    seed: Seed = 0
    tasks: Annotated[tuple[SceneTask, ...], Field(min_length=1)] = ("segmentation", "depth", "normals")
    cache: bool = True
    supersample: Annotated[int, Field(ge=1, le=4)] = 1

    on_demand: ClassVar[tuple[str, ...]] = TASKS

    def open(self) -> DataSets:
        """Return scenes of three separate random streams, so that no room is in two splits."""
        options: dict[str, Any] = self.model_dump(exclude={"kind", "length", "val_length", "test_length"})
        reported = self.val_length if self.test_length is None else self.test_length
        return DataSets(
            train=Scenes(length=self.length, split="train", **options),
            val=Scenes(length=self.val_length, split="val", **options),
            test=Scenes(length=reported, split="test", **options),
            origin=dict.fromkeys(("train", "val", "test"), f"generated with seed {self.seed}, a stream of its own"),
        )

    def for_tasks(self, asked: Collection[str]) -> Self:
        """Return a table that renders the labels of these tasks only: the others would cost time for nothing."""
        made = tuple(task for task in TASKS if task in asked)
        return self.model_copy(update={"tasks": made}) if made else self
