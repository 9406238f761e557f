"""Which samples train, which choose and which report: the samples that choose never report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trunkline.train.data.base import DataSet, DataSets
from trunkline.train.data.splits import Subset, split


def roles(there: Sequence[str]) -> dict[str, str]:
    """Return which split plays the role of "train", "val" and "test", given the names of the splits that there are.

    1. Without any split there are no roles.
    2. Without a split "test", "val" reports, and none of the splits chooses.
    3. With a split "test" it reports, and "val" chooses if there is one.

    >>> roles(["train", "val"])
    {'train': 'train', 'test': 'val'}
    """
    # Rule 1.
    if not there:
        return {}
    # Rule 2: PASCAL-Context, CityScapes and NYUD are published, or repacked, as train and val alone.
    if "test" not in there:
        return {"train": "train", "test": "val"}
    # Rule 3. "train" is there even if its folder is not: opening it reports what is missing.
    chooses = {"val": "val"} if "val" in there else {}
    return {"train": "train", **chooses, "test": "test"}


def with_held_out(splits: Mapping[str, DataSet], origin: Mapping[str, str], fraction: float, seed: int) -> DataSets:
    """Return the splits; where none of them chooses, hold out ``fraction`` of the training samples for that.

    Args:
        splits: The data by role: "train", "test" and maybe "val".
        origin: Where each split comes from, in words.
        fraction: Share of the training samples; 0 holds out none.
        seed: Decides which samples are held out.

    Raises:
        InvalidConfig: There are too few samples to hold any out.
    """
    train, val, test = splits["train"], splits.get("val"), splits["test"]
    if val is not None or fraction == 0:
        return DataSets(train, val, test, origin)
    rest, chosen = split(len(train), seed, fraction, "val_fraction")
    held_out = f"{percent(fraction)} of {origin['train']}, held out with seed {seed}"
    origin = {**origin, "train": f"{origin['train']} without what is held out", "val": held_out}
    return DataSets(Subset(train, rest), Subset(train, chosen), test, origin)


def percent(fraction: float) -> str:
    """Return a fraction as a percentage, such as ``12.5 %``."""
    return f"{100 * fraction:g} %"
