"""What chooses is not what reports: which samples train, choose and report, for every kind of data set."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trunkline.errors import InvalidConfig
from trunkline.train.data.base import DataSets
from trunkline.train.data.open import open_data

pytestmark = pytest.mark.golden

SIZE = (8, 10)


def save(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*SIZE, 3), value, np.uint8) if path.suffix == ".jpg" else np.full(SIZE, value % 2, np.uint8)
    Image.fromarray(pixels).save(path)


def folder(root: Path, **counts: int) -> dict[str, Any]:
    number = 0
    for split, count in counts.items():
        for _ in range(count):
            number += 1
            save(root / split / "images" / f"{number:03d}.jpg", number)
            save(root / split / "labels" / f"{number:03d}.png", number)
    return {"kind": "folder", "path": root, "classes": ["a", "b"], "size": SIZE}


def nyuv2(root: Path, count: int, lists: dict[str, range], *, as_json: bool = False) -> dict[str, Any]:
    for number in range(count):
        for kind, suffix in (("img", ".jpg"), ("seg", ".png"), ("normal_mask", ".png"), ("depth", ".npy")):
            path = root / kind / f"{number:03d}{suffix}"
            save(path.with_suffix(".png"), number)
            path.with_suffix(".png").rename(path) if suffix != ".npy" else path.with_suffix(".png").unlink()
        np.save(root / "depth" / f"{number:03d}.npy", np.ones(SIZE, np.float32))
    if as_json:
        rows = {name: [[f"{k}/{n:03d}{s}" for k, s in _KINDS] for n in which] for name, which in lists.items()}
        (root / "nyu_v2_3task.json").write_text(json.dumps(rows))
        return {"kind": "nyuv2", "path": root, "size": SIZE}
    for name, which in lists.items():
        (root / f"{name}.txt").write_text("\n".join(f"{number:03d}" for number in which))
    return {"kind": "nyuv2", "path": root, "size": SIZE}


_KINDS = (("img", ".jpg"), ("seg", ".png"), ("normal_mask", ".png"), ("depth", ".npy"))


def stems(data: DataSets) -> dict[str, list[str]]:
    """The images of each part; no image is in two of them."""
    found = {name: [entry.image.stem for entry in part.files.entries] for name, part in data.parts.items()}
    assert not any(set(found[one]) & set(found[other]) for one, other in combinations(found, 2))
    return found


def test_three_splits_are_taken_as_given(tmp_path: Path) -> None:
    """Train, val and test of the data are those of the run."""
    config = folder(tmp_path, train=4, val=2, test=3)
    data = open_data(config)
    assert {name: len(found) for name, found in stems(data).items()} == {"train": 4, "val": 2, "test": 3}
    assert data.origin == {"train": "train/", "val": "val/", "test": "test/"}
    assert data.test.files.entries[0].image.parent == tmp_path / "test" / "images"


@pytest.mark.parametrize("only", ["val", "test"])
def test_a_folders_only_other_split_reports(only: str, tmp_path: Path) -> None:
    config = folder(tmp_path, train=20, **{only: 3})
    data = open_data(config)
    found = stems(data)
    assert {name: len(part) for name, part in found.items()} == {"train": 18, "val": 2, "test": 3}
    assert {entry.image.parent for entry in data.test.files.entries} == {tmp_path / only / "images"}
    assert data.origin["val"] == "10 % of train/, held out with seed 0"
    assert data.origin["test"] == f"{only}/"
    assert stems(open_data(config)) == found
    assert stems(open_data({**config, "seed": 1}))["val"] != found["val"]
    assert len(stems(open_data({**config, "val_fraction": 0.5}))["val"]) == 10


@pytest.mark.parametrize("as_json", [False, True])
def test_nyuv2s_test_list_never_chooses(as_json: bool, tmp_path: Path) -> None:
    """As AdaShare ships it: a list to train on, a list to test on, none to choose by."""
    data = open_data(nyuv2(tmp_path, 14, {"train": range(10), "test": range(10, 14)}, as_json=as_json))
    found = stems(data)
    assert found["test"] == ["010", "011", "012", "013"]
    assert (len(found["train"]), len(found["val"])) == (9, 1)
    assert "test" in data.origin["test"]
    assert data.origin["val"].startswith("10 % of ") and "train" in data.origin["val"]


def test_nyuv2s_own_validation_list_chooses(tmp_path: Path) -> None:
    lists = {"train": range(4), "val": range(4, 6), "test": range(6, 9)}
    assert {name: len(found) for name, found in stems(open_data(nyuv2(tmp_path, 9, lists))).items()} == {
        "train": 4,
        "val": 2,
        "test": 3,
    }


def test_nothing_is_held_out_if_asked(tmp_path: Path) -> None:
    """Then nothing chooses."""
    data = open_data({**folder(tmp_path, train=3, val=2), "val_fraction": 0})
    assert data.val is None
    assert list(stems(data)) == ["train", "test"]
    assert len(data.train) == 3


def test_what_is_held_out_is_not_augmented(tmp_path: Path) -> None:
    """It is evaluated as what reports is: whole pictures at the size of the model."""
    data = open_data(folder(tmp_path, train=4, test=1))
    assert data.val is not None
    first, again = data.val.sample(0), data.val.sample(0)
    assert np.array_equal(first.image, again.image)


@pytest.mark.abuse
def test_data_must_hold_what_reports(tmp_path: Path) -> None:
    """A folder of training images alone is refused."""
    for config, words in (
        (folder(tmp_path / "a", train=3), "no val split"),
        (folder(tmp_path / "b", test=3), "no train split"),
        (nyuv2(tmp_path / "c", 3, {"train": range(3)}), 'split "val"'),
        (nyuv2(tmp_path / "d", 3, {"test": range(3)}), 'split "train"'),
        (folder(tmp_path / "e", train=1, val=1), "val_fraction"),
    ):
        with pytest.raises(InvalidConfig, match=words):
            open_data(config)
