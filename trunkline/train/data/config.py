"""A data set's table in a pipeline file: the base of its model, and the types that several of them use.

A kind of data set is one file or package of :mod:`trunkline.train.data.sets` that defines one subclass of
:class:`DataSetConfig`; :mod:`trunkline.train.data.open` finds it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

from trunkline.train.data.augment import Augmentation
from trunkline.train.data.base import DataSets

Pixels = Annotated[int, Field(ge=8, le=8192)]
Seed = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(gt=0, le=8)]


class ConfigTable(BaseModel):
    """A table of a pipeline file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AugmentationConfig(ConfigTable):
    """See :class:`trunkline.train.data.augment.Augmentation`."""

    # The range with which AdaShare and AutoMTL train on CityScapes.
    scale: tuple[Factor, Factor] = (0.5, 1.5)
    mirror: bool = True
    crop_from: Literal["size", "native"] = "size"
    scale_depth: bool = False

    def augmentation(self) -> Augmentation:
        """Return the augmentation that the table describes."""
        return Augmentation(**self.model_dump())


class DataSetConfig(ConfigTable, ABC):
    """The ``[data]`` table of one kind of data set. Fields of type ``Path`` are relative to the pipeline file.

    Attributes:
        kind: The kind's name, as a ``Literal``.
        on_demand: Tasks whose labels are made only if a run needs them; none where labels lie in files.
    """

    kind: str

    on_demand: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def kind_name(cls) -> str:
        """Return the name of the kind, as pipeline files write it."""
        name: str = get_args(cls.model_fields["kind"].annotation)[0]
        return name

    @abstractmethod
    def open(self) -> DataSets:
        """Open the splits that train, choose and report.

        Raises:
            InvalidConfig: A file or folder is missing or faulty; all problems at once.
        """

    def for_tasks(self, asked: Collection[str]) -> Self:
        """Return a table whose data set makes the labels of these tasks only.

        It is the same table where labels are not made on demand, or none of these is.
        """
        return self

    @property
    def paths(self) -> dict[str, Path]:
        """The paths in the table, by key."""
        return {key: value for key, value in self if isinstance(value, Path)}

    def anchored(self, folder: Path) -> Self:
        """Return the table with absolute paths; relative ones are in ``folder``."""
        return self.model_copy(update={key: (folder / path).absolute() for key, path in self.paths.items()})
