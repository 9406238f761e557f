"""Which part of a data set trains, which chooses and which reports: what chooses is not what reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trunkline.train.data.base import DataSet, DataSets
from trunkline.train.data.splits import Subset, cut


def roles(there: Sequence[str]) -> dict[str, str]:
    """Return which of the splits that the data names is which part; nothing where it names none.

    What it calls "test" reports, or "val" where there is no "test". "val" chooses where both are there.
    """
    if not there:
        return {}
    if "test" not in there:
        return {"train": "train", "test": "val"}
    return {name: name for name in ("train", "val", "test") if name in there or name == "train"}


def with_held_out(parts: Mapping[str, DataSet], origin: Mapping[str, str], fraction: float, seed: int) -> DataSets:
    """Return the parts; where none of them chooses, ``fraction`` of the training samples are held out for that.

    Args:
        parts: "train", "test" and maybe "val".
        origin: Where each comes from, in words.
        fraction: 0 holds out nothing.
        seed: Decides which samples are held out.

    Raises:
        InvalidConfig: There are too few samples to hold any out.
    """
    train, val, test = parts["train"], parts.get("val"), parts["test"]
    if val is not None or fraction == 0:
        return DataSets(train, val, test, origin)
    rest, chosen = cut(len(train), seed, fraction, "val_fraction")
    held_out = f"{percent(fraction)} of {origin['train']}, held out with seed {seed}"
    origin = {**origin, "train": f"{origin['train']} without what is held out", "val": held_out}
    return DataSets(Subset(train, rest), Subset(train, chosen), test, origin)


def percent(fraction: float) -> str:
    """Return a fraction as people write it."""
    return f"{100 * fraction:g} %"
