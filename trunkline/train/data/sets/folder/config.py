"""The ``[data]`` table of a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.train.data.base import DataSets
from trunkline.train.data.config import AugmentationConfig, DataSetConfig, Fraction, Pixels, Seed
from trunkline.train.data.roles import roles, with_held_out
from trunkline.train.data.sets.folder.dataset import ImageFolder, splits_of


class FolderConfig(DataSetConfig):
    """See :class:`trunkline.train.data.sets.folder.dataset.ImageFolder`.

    Without a split "test" the split "val" reports. Without one that chooses, ``val_fraction`` of the training samples
    are held out for it; 0 holds out none.
    """

    kind: Literal["folder"]
    path: Path
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=255)]
    size: tuple[Pixels, Pixels] = (180, 240)
    values: dict[str, str] | None = None
    ignore: tuple[Annotated[int, Field(ge=0, le=65_535)], ...] = ()
    edges: Literal["boundaries"] | None = None
    augmentation: AugmentationConfig = AugmentationConfig()
    val_fraction: Fraction = 0.1
    seed: Seed = 0

    def open(self) -> DataSets:
        """Open the folder's splits.

        Raises:
            InvalidConfig: A split is missing, or the folder is faulty.
        """
        options: dict[str, Any] = self.model_dump(exclude={"kind", "augmentation", "val_fraction", "seed"})
        options["augmentation"] = self.augmentation.augmentation()
        there = splits_of(self.path)
        missing = []
        if "train" not in there:
            missing.append("train")
        if "val" not in there and "test" not in there:
            missing.append("val")
        if missing:
            raise InvalidConfig(
                f"no {' and no '.join(missing)} split: expected {missing[0]}/images/ and {missing[0]}/labels/",
                place=str(self.path),
                advice=f"splits there: {', '.join(there) or 'none'}",
            )
        # A folder may hold other splits besides; they are left alone.
        names = roles(there)
        splits = {role: ImageFolder(split=name, **options) for role, name in names.items()}
        return with_held_out(splits, {role: f"{name}/" for role, name in names.items()}, self.val_fraction, self.seed)
