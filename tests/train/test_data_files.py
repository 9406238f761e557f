"""NYUv2 and image folders, on small folders made here: right values, and every kind of damage is located."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trunkline.errors import InvalidConfig, Problem
from trunkline.train.data.augment import Augmentation
from trunkline.train.data.base import DataSet
from trunkline.train.data.open import open_data
from trunkline.train.data.sets.folder.dataset import ImageFolder
from trunkline.train.data.sets.nyuv2.classes import CLASSES_13, CLASSES_40, mapping_40_to_13
from trunkline.train.data.sets.nyuv2.dataset import NYUv2

pytestmark = pytest.mark.golden

SIZE = (12, 16)
CLASSES = ["sky", "road", "tree"]
DATA = Path(os.environ.get("TRUNKLINE_DATA", Path(__file__).parents[3] / "shared" / "data"))
NYUV2, CAMVID = DATA / "nyuv2_samples", DATA / "camvid_small"


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def nyu(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(5):
        stem = f"{number:04d}"
        save(tmp_path / "img" / f"{stem}.png", rng.integers(0, 256, (*SIZE, 3), np.uint8))
        seg = rng.integers(0, 40, SIZE).astype(np.uint8)
        seg[0, 0] = 255
        save(tmp_path / "seg" / f"{stem}.png", seg)
        vectors = rng.standard_normal((*SIZE, 3))
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        stored = np.round((vectors + 1) * 127.5).astype(np.uint8)
        stored[1, 2] = 255
        save(tmp_path / "normal_mask" / f"{stem}.png", stored)
        (tmp_path / "depth").mkdir(exist_ok=True)
        np.save(tmp_path / "depth" / f"{stem}.npy", rng.uniform(0.5, 5, SIZE).astype(np.float32))
    return tmp_path


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for number in range(count):
            save(tmp_path / split / "images" / f"a{number}.jpg", rng.integers(0, 256, (*SIZE, 3), np.uint8))
            label = rng.integers(0, 3, SIZE).astype(np.uint8)
            label[0, :3] = 11
            save(tmp_path / split / "labels" / f"a{number}.png", label)
    return tmp_path


def stems(data: DataSet) -> list[str]:
    return [entry.image.stem for entry in data.files.entries]


def problems(call: Callable[[], object]) -> tuple[Problem, ...]:
    with pytest.raises(InvalidConfig) as error:
        call()
    return error.value.problems


def test_mapping_of_nyuv2_classes() -> None:
    """From 40 classes to 13."""
    table = mapping_40_to_13()
    one_based = [12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5, 7, 3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6]
    one_based += [7, 7, 7, 7, 7, 7, 6, 7]
    assert (table[:40] + 1).tolist() == one_based
    assert (table[40:] == 255).all()
    assert len(set(CLASSES_40)) == 40
    assert len(set(CLASSES_13)) == 13


def test_nyuv2_values(nyu: Path) -> None:
    data = NYUv2(nyu, "all", SIZE)
    assert len(data) == 5
    assert {name: info.channels for name, info in data.tasks.items()} == {"segmentation": 40, "depth": 1, "normals": 3}
    sample = data.sample(2)
    stored = np.asarray(Image.open(nyu / "img/0002.png"))
    assert np.array_equal(data.normalisation.undo(sample.image), stored)
    seg = np.asarray(Image.open(nyu / "seg/0002.png"))
    assert np.array_equal(sample.labels["segmentation"], seg)
    assert np.array_equal(sample.labels["depth"][0], np.load(nyu / "depth/0002.npy"))
    bytes_ = np.asarray(Image.open(nyu / "normal_mask/0002.png")).astype(float)
    normals = sample.labels["normals"].transpose(1, 2, 0)
    assert (normals[1, 2] == 0).all()
    valid = ~(bytes_ == 255).all(-1)
    assert np.allclose(np.linalg.norm(normals[valid], axis=-1), 1, atol=1e-5)
    assert np.abs(normals[valid] - (bytes_[valid] / 127.5 - 1)).max() < 0.02
    coarse = NYUv2(nyu, "all", SIZE, classes=13).sample(2).labels["segmentation"]
    assert np.array_equal(coarse, mapping_40_to_13()[seg])


def test_the_papers_space_holds_the_bytes(nyu: Path) -> None:
    data = NYUv2(nyu, "all", SIZE, tasks=["normals"], space="paper")
    assert data.tasks["normals"].options == {"space": "paper"}
    stored = np.asarray(Image.open(nyu / "normal_mask/0001.png")).astype(np.float32)
    stored[(stored == 255).all(-1)] = 0
    assert np.allclose(data.sample(1).labels["normals"].transpose(1, 2, 0), stored, atol=1e-4)


def test_nyuv2_augmentation_follows_index_and_seed(nyu: Path) -> None:
    """And of nothing else."""
    data = NYUv2(nyu, "all", (10, 10))
    first, again, other = (data.sample(1, seed=seed) for seed in (4, 4, 5))
    assert np.array_equal(first.image, again.image)
    assert all(np.array_equal(first.labels[name], again.labels[name]) for name in data.tasks)
    assert not np.array_equal(first.image, other.image)
    assert first.image.shape == (3, 10, 10)
    assert np.abs(np.linalg.norm(first.labels["normals"], axis=0).round(4) % 1).max() == 0


def test_depth_can_follow_the_scale(nyu: Path) -> None:
    plain = NYUv2(nyu, "all", SIZE, augmentation=Augmentation(scale=(2.0, 2.0), mirror=False)).sample(0, seed=1)
    moved = Augmentation(scale=(2.0, 2.0), mirror=False, scale_depth=True)
    near = NYUv2(nyu, "all", SIZE, augmentation=moved).sample(0, seed=1)
    assert np.allclose(near.labels["depth"] * 2, plain.labels["depth"])


def test_nyuv2_lists(nyu: Path) -> None:
    (nyu / "train.txt").write_text("0003\n0001.png\n\n")
    (nyu / "test.txt").write_text("0000\n")
    whole = open_data({"kind": "nyuv2", "path": str(nyu), "size": [12, 16], "val_fraction": 0})
    assert whole.val is None
    assert stems(whole.train) == ["0003", "0001"]
    assert stems(whole.test) == ["0000"]
    expected = NYUv2(nyu, "all", SIZE).sample(3).image
    assert np.array_equal(whole.train.sample(0).image, expected)
    (nyu / "train.txt").write_text("0003\n0008\n")
    (found,) = problems(lambda: NYUv2(nyu, "train", SIZE))
    assert found.place.endswith("train.txt:2")


def test_listed_names_may_have_dots(nyu: Path) -> None:
    """Whether the line names a sample or a file."""
    for folder, suffix in (("img", ".png"), ("seg", ".png"), ("normal_mask", ".png"), ("depth", ".npy")):
        for number in (1, 2):
            (nyu / folder / f"000{number}{suffix}").rename(nyu / folder / f"room.{number}{suffix}")
    (nyu / "train.txt").write_text("room.1\nimg/room.2.png\n")
    assert stems(NYUv2(nyu, "train", SIZE)) == ["room.1", "room.2"]


def test_nyuv2_json_list(nyu: Path) -> None:
    row = ["img/0002.png", "seg/0002.png", "normal_mask/0002.png", "depth/0002.npy"]
    (nyu / "nyu_v2_3task.json").write_text(json.dumps({"train": [row], "train1": [row], "test": [row, row]}))
    assert len(NYUv2(nyu, "train1", SIZE)) == 1
    assert len(NYUv2(nyu, "test", SIZE)) == 2
    assert 'no split "val"' in problems(lambda: NYUv2(nyu, "val", SIZE))[0].message
    assert "train1" in problems(lambda: NYUv2(nyu, "train9", SIZE))[0].advice
    (nyu / "nyu_v2_3task.json").write_text(
        json.dumps({"train": [["../x.png", *row[1:]], row[:2], ["img/9.png", *row[1:]]]})
    )
    text = "\n".join(map(str, problems(lambda: NYUv2(nyu, "train", SIZE))))
    assert "outside the data folder" in text
    assert "train[1]: expected four paths" in text
    assert 'no file "img/9.png"' in text
    for broken in ("{", "[]", '{"train": 3}', "[" * 100_000):
        (nyu / "nyu_v2_3task.json").write_text(broken)
        assert problems(lambda: NYUv2(nyu, "train", SIZE))


def test_a_folder_without_lists_is_divided(nyu: Path) -> None:
    data = open_data({"kind": "nyuv2", "path": nyu, "size": SIZE, "val_fraction": 0.3, "test_fraction": 0.4})
    assert [len(part) for part in data.parts.values()] == [2, 1, 2]
    assert sorted(stem for part in data.parts.values() for stem in stems(part)) == [f"000{k}" for k in range(5)]
    assert "train.txt" in problems(lambda: NYUv2(nyu, "train"))[0].advice


@pytest.mark.abuse
def test_all_damage_is_reported_at_once(nyu: Path) -> None:
    """Of a folder: missing, torn and wrong files."""
    (nyu / "depth/0001.npy").unlink()
    save(nyu / "seg/0002.png", np.zeros((5, 16), np.uint8))
    (nyu / "normal_mask/0003.png").write_bytes(b"not a picture")
    np.save(nyu / "depth/0004.npy", np.zeros((3, 4, 5), np.float32))
    np.save(nyu / "depth/0000.npy", np.array([{}]), allow_pickle=True)
    found = {
        Path(problem.place).relative_to(nyu).as_posix(): problem for problem in problems(lambda: NYUv2(nyu, "all"))
    }
    assert set(found) == {"depth/0001.npy", "seg/0002.png", "normal_mask/0003.png", "depth/0004.npy", "depth/0000.npy"}
    assert found["depth/0001.npy"].message == "no depth label for image 0001.png"
    assert found["seg/0002.png"].message == "5 x 16 pixels, but its image has 12 x 16"


@pytest.mark.abuse
def test_long_reports_are_cut(nyu: Path) -> None:
    """With the number of what is left out."""
    for number in range(30):
        shutil.copy(nyu / "img/0000.png", nyu / "img" / f"x{number}.png")
    found = problems(lambda: NYUv2(nyu, "all"))
    assert len(found) == 21
    assert str(found[-1]) == "… and 70 more"


@pytest.mark.abuse
def test_bad_values_are_located(nyu: Path) -> None:
    """By file, row and column."""
    seg = np.asarray(Image.open(nyu / "seg/0001.png")).copy()
    seg[3, 4:6] = 40
    save(nyu / "seg/0001.png", seg)
    depth = np.load(nyu / "depth/0002.npy")
    depth[7, 9] = np.nan
    np.save(nyu / "depth/0002.npy", depth)
    data = NYUv2(nyu, "all", SIZE)
    (found,) = problems(lambda: data.sample(1))
    assert found.place == str(nyu / "seg/0001.png")
    assert "value 40 at row 3, column 4, expected a class 0..39" in found.message
    assert "(2 such pixels" in found.message
    assert "value nan at row 7, column 9" in problems(lambda: data.sample(2))[0].message
    normals = NYUv2(nyu, "all", SIZE, tasks=["normals"])
    assert all("normals" in normals.sample(index).labels for index in range(len(normals)))


def test_missing_labels_can_be_ignored(nyu: Path) -> None:
    (nyu / "depth/0001.npy").unlink()
    data = NYUv2(nyu, "all", SIZE, missing="ignore")
    assert "depth" not in data.sample(1).labels
    assert "depth" in data.sample(2).labels


@pytest.mark.abuse
def test_empty_and_absent_folders_are_refused(tmp_path: Path) -> None:
    """With what was looked for."""
    assert "no folder img/" in problems(lambda: NYUv2(tmp_path, "all"))[0].message
    (tmp_path / "img").mkdir()
    assert "no .png or .jpg" in problems(lambda: NYUv2(tmp_path, "all"))[0].message
    assert 'did you mean "depth"?' in problems(lambda: NYUv2(tmp_path, "all", tasks=["dept"]))[0].advice


def test_folder_values(camvid: Path) -> None:
    config = {"kind": "folder", "path": camvid, "size": SIZE, "classes": CLASSES, "ignore": [11], "edges": "boundaries"}
    data = open_data(config)
    assert (len(data.train), len(data.val), len(data.test)) == (3, 2, 1)
    labels = data.val.sample(1).labels
    stored = np.asarray(Image.open(camvid / "val/labels/a1.png"))
    assert np.array_equal(labels["segmentation"], np.where(stored == 11, 255, stored))
    assert (labels["edges"][0, 0, :3] == 255).all()
    assert set(np.unique(labels["edges"])) <= {0.0, 1.0, 255.0}
    first, again = (data.train.sample(0, seed=9) for _ in range(2))
    assert np.array_equal(first.labels["edges"], again.labels["edges"])
    assert first.image.shape == (3, *SIZE)


@pytest.mark.abuse
def test_bad_folders_are_refused(camvid: Path) -> None:
    """Labels without images, and images without labels."""
    (camvid / "train/labels/a1.png").unlink()
    save(camvid / "train/labels/a2.png", np.zeros((3, 3), np.uint8))
    found = problems(lambda: ImageFolder(camvid, CLASSES, ignore=[11]))
    assert [Path(problem.place).name for problem in found] == ["a1.png", "a2.png"]
    assert "no label for image a1.jpg" in found[0].message
    value = problems(lambda: ImageFolder(camvid, CLASSES, split="val").sample(0))[0]
    assert "value 11 at row 0, column 0" in value.message
    assert "splits there: test, train, val" in problems(lambda: ImageFolder(camvid, CLASSES, split="dev"))[0].advice
    assert len(problems(lambda: ImageFolder(camvid, ["one"], ignore=[70_000]))) == 2
    save(camvid / "val/labels/a0.png", np.zeros((*SIZE, 3), np.uint8))
    assert "expected one channel" in problems(lambda: ImageFolder(camvid, CLASSES, split="val").sample(0))[0].message


@pytest.mark.skipif(not NYUV2.is_dir(), reason="NYUv2 sample images are not on this machine")
def test_real_nyuv2_samples() -> None:
    data = open_data({"kind": "nyuv2", "path": NYUV2, "size": (120, 160), "classes": 13})
    assert [len(part) for part in data.parts.values()] == [2, 1, 1]
    sample = data.val.sample(0, seed=1)
    assert set(np.unique(sample.labels["segmentation"])) <= {*range(13), 255}
    plain = NYUv2(NYUV2, "all", (480, 640)).sample(1).labels
    floor = plain["normals"][:, plain["segmentation"] == 1]
    assert floor[:, floor.any(0)].mean(1)[2] > 0.8  # z is up


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not on this machine")
def test_real_camvid() -> None:
    names = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
    config = {"kind": "folder", "path": CAMVID, "classes": names, "ignore": [11], "edges": "boundaries"}
    data = open_data(config)
    assert (len(data.train), len(data.val), len(data.test)) == (367, 101, 233)
    labels = data.train.sample(0, seed=0).labels
    assert set(np.unique(labels["segmentation"])) <= {*range(11), 255}
    assert 0.02 < (labels["edges"] == 1).mean() < 0.4
