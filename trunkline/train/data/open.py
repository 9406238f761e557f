"""Opens the data sets that a configuration names, and sees to it that what chooses is not what reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trunkline.errors import InvalidConfig
from trunkline.train.data.augment import Augmentation
from trunkline.train.data.base import DataSet, DataSets
from trunkline.train.data.config import DataConfig, FolderConfig, NYUv2Config, ScenesConfig, read_data_config
from trunkline.train.data.folder.dataset import Folder, splits_of
from trunkline.train.data.nyuv2.dataset import NYUv2
from trunkline.train.data.nyuv2.lists import ALL, list_of, listed_splits
from trunkline.train.data.scenes import Scenes
from trunkline.train.data.splits import Subset, cut


def open_data(config: Mapping[str, Any] | DataConfig) -> DataSets:
    """Open the parts that train, choose and report.

    What the data calls "test" reports, or "val" where there is no "test". What it calls "val" chooses where both are
    there; else ``val_fraction`` of the training samples are held out for that.

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
    options: dict[str, Any] = config.model_dump(exclude={"kind", "length", "val_length", "test_length"})
    reported = config.val_length if config.test_length is None else config.test_length
    return DataSets(
        train=Scenes(length=config.length, split="train", **options),
        val=Scenes(length=config.val_length, split="val", **options),
        test=Scenes(length=reported, split="test", **options),
        origin=dict.fromkeys(("train", "val", "test"), f"generated with seed {config.seed}, a stream of its own"),
    )


def _nyuv2(config: NYUv2Config) -> DataSets:
    options: dict[str, Any] = config.model_dump(
        exclude={"kind", "augmentation", "val_fraction", "test_fraction", "seed"}
    )
    options["augmentation"] = Augmentation(**config.augmentation.model_dump())
    roles, seed = _roles(listed_splits(config.path)), config.seed
    if roles:
        parts: dict[str, DataSet] = {part: NYUv2(split=name, **options) for part, name in roles.items()}
        origin = {part: list_of(config.path, name) for part, name in roles.items()}
        return _complete(parts, origin, config.val_fraction, seed)
    everything = NYUv2(split=ALL, **options)
    rest, reported = cut(len(everything), seed, config.test_fraction, "test_fraction")
    drawn = f"{_percent(config.test_fraction)} of all samples, drawn with seed {seed}"
    return _complete(
        {"train": Subset(everything, rest), "test": Subset(everything, reported)},
        {"train": "the other samples", "test": drawn},
        config.val_fraction,
        seed,
    )


def _folder(config: FolderConfig) -> DataSets:
    options: dict[str, Any] = config.model_dump(exclude={"kind", "augmentation", "val_fraction", "seed"})
    options["augmentation"] = Augmentation(**config.augmentation.model_dump())
    there = splits_of(config.path)
    missing = [*(["train"] if "train" not in there else []), *(["val"] if not {"val", "test"} & set(there) else [])]
    if missing:
        raise InvalidConfig(
            f"no {' and no '.join(missing)} split: expected {missing[0]}/images/ and {missing[0]}/labels/",
            place=str(config.path),
            advice=f"splits there: {', '.join(there) or 'none'}",
        )
    roles = _roles(there)
    parts = {part: Folder(split=name, **options) for part, name in roles.items()}
    return _complete(parts, {part: f"{name}/" for part, name in roles.items()}, config.val_fraction, config.seed)


def _roles(there: Sequence[str]) -> dict[str, str]:
    """Return which of the splits that the data names is which part; nothing where it names none."""
    if not there:
        return {}
    if "test" not in there:
        return {"train": "train", "test": "val"}
    return {name: name for name in ("train", "val", "test") if name in there or name == "train"}


def _complete(parts: Mapping[str, DataSet], origin: Mapping[str, str], fraction: float, seed: int) -> DataSets:
    """Hold out the samples that choose, where the data has no part for that."""
    train, val, test = parts["train"], parts.get("val"), parts["test"]
    if val is not None or fraction == 0:
        return DataSets(train, val, test, origin)
    rest, chosen = cut(len(train), seed, fraction, "val_fraction")
    held_out = f"{_percent(fraction)} of {origin['train']}, held out with seed {seed}"
    origin = {**origin, "train": f"{origin['train']} without what is held out", "val": held_out}
    return DataSets(Subset(train, rest), Subset(train, chosen), test, origin)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"
