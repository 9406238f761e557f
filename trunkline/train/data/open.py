"""Opens the data sets that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trunkline.errors import InvalidConfig
from trunkline.train.data.augment import Augmentation
from trunkline.train.data.base import DataSets
from trunkline.train.data.config import (
    AugmentationConfig,
    DataConfig,
    FolderConfig,
    NYUv2Config,
    ScenesConfig,
    read_data_config,
)
from trunkline.train.data.folder import Folder, splits_of
from trunkline.train.data.nyuv2 import NYUv2
from trunkline.train.data.nyuv2_lists import ALL, has_lists
from trunkline.train.data.scenes import Scenes
from trunkline.train.data.splits import Subset, split


def open_data(config: Mapping[str, Any] | DataConfig) -> DataSets:
    """Open training and validation data (and test data, where the folder has its own).

    Args:
        config: ``kind`` ("scenes", "nyuv2" or "folder") and that kind's options; see
            :mod:`trunkline.train.data.config`.

    Raises:
        InvalidConfig: an unknown kind or key, a wrong value, or a faulty folder.
    """
    checked = read_data_config(config) if isinstance(config, Mapping) else config
    if isinstance(checked, ScenesConfig):
        return _scenes(checked)
    return _nyuv2(checked) if isinstance(checked, NYUv2Config) else _folder(checked)


def _scenes(config: ScenesConfig) -> DataSets:
    options: dict[str, Any] = config.model_dump(exclude={"kind", "length", "val_length"})
    return DataSets(
        train=Scenes(length=config.length, split="train", **options),
        val=Scenes(length=config.val_length, split="val", **options),
    )


def _nyuv2(config: NYUv2Config) -> DataSets:
    options: dict[str, Any] = config.model_dump(exclude={"kind", "augmentation", "val_fraction", "seed"})
    options["augmentation"] = _augmentation(config.augmentation)
    if has_lists(config.path):
        return DataSets(train=NYUv2(split="train", **options), val=NYUv2(split="val", **options))
    everything = NYUv2(split=ALL, **options)
    parts = split(len(everything), config.seed, config.val_fraction)
    return DataSets(train=Subset(everything, parts.train1), val=Subset(everything, parts.train2))


def _folder(config: FolderConfig) -> DataSets:
    options: dict[str, Any] = config.model_dump(exclude={"kind", "augmentation"})
    options["augmentation"] = _augmentation(config.augmentation)
    there = splits_of(config.path)
    missing = [name for name in ("train", "val") if name not in there]
    if missing:
        raise InvalidConfig(
            f"no {' and no '.join(missing)} split: expected {missing[0]}/images/ and {missing[0]}/labels/",
            place=str(config.path),
            advice=f"splits there: {', '.join(there) or 'none'}",
        )
    train = Folder(split="train", **options)
    test = Folder(split="test", **options) if "test" in there else None
    return DataSets(train, Folder(split="val", **options), test)


def _augmentation(config: AugmentationConfig) -> Augmentation:
    return Augmentation(**config.model_dump())
