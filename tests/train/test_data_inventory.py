"""What a data set's files hold: a name for their content, and what is said about odd ones before any work."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trunkline.errors import InvalidConfig
from trunkline.files.write import atomic_write, json_bytes
from trunkline.train.data.base import DataSets
from trunkline.train.data.inventory import Inventory, take_inventory
from trunkline.train.data.open import open_data
from trunkline.train.data.record import DATA, inventory_of_run, record_of
from trunkline.train.data.remarks import check_labels_suffice, remarks

pytestmark = pytest.mark.golden

SIZE = (8, 8)


def image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)).save(path)


def label(path: Path, *values: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array(values, np.uint8), SIZE)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images to train on, one that chooses, one that reports; two classes, 255 somewhere."""
    for number, split in enumerate(("train", "train", "train", "val", "test")):
        image(tmp_path / "data" / split / "images" / f"{number}.png", number)
        label(tmp_path / "data" / split / "labels" / f"{number}.png", 0, 1, 255 if number == 0 else 1)
    return tmp_path / "data"


def opened(root: Path, **options: Any) -> DataSets:
    return open_data({"kind": "folder", "path": root, "classes": ["bg", "fg"], "size": SIZE, **options})


def stock(root: Path, run: Path, **options: Any) -> Inventory:
    """What a stage of a run does: look at the data, and record it."""
    data = opened(root, **options)
    found = inventory_of_run(data, run)
    run.mkdir(exist_ok=True)
    atomic_write(run / DATA, json_bytes(record_of(data, found)))
    return found


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files that are really read."""
    read: list[str] = []
    real = Path.open

    def opening(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.suffix in (".png", ".jpg", ".npy"):
            read.append(self.name)
        return real(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", opening)
        yield read


def test_a_moved_folder_is_the_same_data(root: Path, tmp_path: Path) -> None:
    before = stock(root, tmp_path / "run").digests()
    shutil.copytree(root, tmp_path / "copy")
    root.rename(tmp_path / "moved")
    assert stock(tmp_path / "moved", tmp_path / "run").digests() == before
    assert stock(tmp_path / "copy", tmp_path / "run").digests() == before
    assert len(set(before.values())) == 3


def test_files_are_read_once(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with counting(monkeypatch) as read:
        stock(root, tmp_path / "run")
        assert len(read) == 10
        stock(root, tmp_path / "run")
        assert len(read) == 10
        os.utime(root / "train/images/1.png", ns=(1, 1))
        stock(root, tmp_path / "run")
        assert read[10:] == ["1.png"]


def swapped(root: Path) -> None:
    """Another label of the same size in bytes, with the times of the old one."""
    path = root / "train/labels/1.png"
    before = path.stat()
    content = bytearray(path.read_bytes())
    label(path, 1, 0, 0)
    assert bytes(content) != path.read_bytes()
    path.write_bytes(path.read_bytes().ljust(before.st_size, b"\0")[: max(before.st_size, path.stat().st_size)])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "label": (swapped, ("train/labels/1.png: its content has changed since the run began",)),
    "image": (lambda root: image(root / "val/images/3.png", 99), ("val/images/3.png: its content has changed",)),
    "new": (
        lambda root: (image(root / "test/images/9.png", 9), label(root / "test/labels/9.png", 0, 1)),
        ("test/images/9.png: was not there when the run began", "test/labels/9.png: was not there"),
    ),
    "gone": (
        lambda root: [(root / "train" / kind / "2.png").unlink() for kind in ("images", "labels")],
        ("train/images/2.png: the run began with it", "train/labels/2.png: the run began with it"),
    ),
    "renamed": (
        lambda root: [
            (root / "train" / kind / "2.png").rename(root / "train" / kind / "5.png") for kind in ("images", "labels")
        ],
        ("train/images/5.png: was not there", "train/images/2.png: the run began with it"),
    ),
}


@pytest.mark.abuse
@pytest.mark.parametrize("kind", CHANGES)
def test_other_data_is_refused_by_file(kind: str, root: Path, tmp_path: Path) -> None:
    change, words = CHANGES[kind]
    stock(root, tmp_path / "run")
    change(root)
    with pytest.raises(InvalidConfig) as caught:
        stock(root, tmp_path / "run")
    for word in words:
        assert word in str(caught.value)
    assert "use another run folder" in str(caught.value)


@pytest.mark.abuse
def test_other_parts_are_refused(root: Path, tmp_path: Path) -> None:
    """Though the files are the same."""
    shutil.rmtree(root / "val")
    stock(root, tmp_path / "run", val_fraction=0.4)
    with pytest.raises(InvalidConfig, match="the samples of train, val are others than the run began with"):
        stock(root, tmp_path / "run", val_fraction=0.4, seed=2)


@pytest.mark.abuse
def test_a_lost_part_is_refused(root: Path, tmp_path: Path) -> None:
    """Though the other parts are the same."""
    stock(root, tmp_path / "run", val_fraction=0)
    shutil.rmtree(root / "val")
    with pytest.raises(InvalidConfig, match=r"val/images/3\.png: the run began with it"):
        stock(root, tmp_path / "run", val_fraction=0)


@pytest.mark.abuse
def test_an_interrupt_ends_the_reading(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has not been read by then is not."""
    for number in range(200):
        image(root / "train" / "images" / f"n{number}.png", number)
        label(root / "train" / "labels" / f"n{number}.png", 0, 1)
    read: list[Path] = []

    def interrupted(path: Path, *_: Any) -> None:
        read.append(path)
        time.sleep(0.002)
        raise KeyboardInterrupt

    monkeypatch.setattr("trunkline.train.data.inventory._facts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        take_inventory({name: part.files for name, part in opened(root).parts.items()}, {})
    assert len(read) < 100


@pytest.mark.abuse
@pytest.mark.parametrize("content", ["{", "[]", '{"files": {}}', '{"files": {"a": 1}, "parts": {}}'])
def test_a_torn_record_is_refused(content: str, root: Path, tmp_path: Path) -> None:
    """With advice how to make it again."""
    (tmp_path / DATA).write_text(content)
    with pytest.raises(InvalidConfig, match=r"data\.json: is not what Trunkline writes.*\n.*remove it"):
        inventory_of_run(opened(root), tmp_path)


@pytest.mark.abuse
def test_every_faulty_file_is_told(root: Path) -> None:
    """All of them at once."""
    label(root / "train/labels/0.png", 0, 5)
    label(root / "test/labels/4.png", 0, 6)
    (root / "val/labels/3.png").write_bytes((root / "val/labels/3.png").read_bytes()[:50])
    data = opened(root)
    with pytest.raises(InvalidConfig) as caught:
        take_inventory({name: part.files for name, part in data.parts.items()}, {})
    places = {Path(problem.place).name for problem in caught.value.problems}
    assert places == {"0.png", "4.png", "3.png"}


def test_a_value_without_meaning_is_reread(root: Path, tmp_path: Path) -> None:
    """The record knows which values a file has; the pipeline file may say something else now."""
    stock(root, tmp_path / "run", ignore=[1])
    with pytest.raises(InvalidConfig, match="value 1 at row 0, column 1, expected one of those in `values`: 0, 255"):
        inventory_of_run(opened(root, values={"0": "bg"}), tmp_path / "run")


def noted(root: Path, **options: Any) -> list[str]:
    data = opened(root, **options)
    inventory = take_inventory({name: part.files for name, part in data.parts.items()}, {})
    check_labels_suffice(inventory, ["segmentation"])
    assert not any("pixel" in text for text in remarks(inventory, ["depth"]))
    return remarks(inventory, ["segmentation"])


def test_classes_without_a_pixel_are_told(root: Path) -> None:
    assert noted(root) == []
    (found,) = noted(root, classes=["bg", "fg", "sky", "sea"])
    assert found.startswith("no pixel in any label file: sky, sea; 255, ")
    assert found.endswith("% of all pixels, is ignored")
    label(root / "test/labels/4.png", 0, 2)
    nowhere, unlearnt = noted(root, classes=["bg", "fg", "sky", "sea"])
    assert nowhere.startswith("no pixel in any label file: sea")
    assert unlearnt == "no pixel in any training label, but in others: sky"


def test_masks_of_0_and_255_are_refused(root: Path) -> None:
    """With advice what to write."""
    for path in root.glob("*/labels/*.png"):
        label(path, 0, 255, 255, 255)
    with pytest.raises(InvalidConfig) as caught:
        noted(root)
    text = str(caught.value)
    assert 'the training labels hold one class only, "bg"; 255, 75.0 % of all pixels, is ignored' in text
    assert 'values = { 0 = "bg", 255 = "fg" } under [data]' in text
    assert noted(root, values={"0": "bg", "255": "fg"}) == []


def test_labels_of_which_nothing_counts_are_refused(root: Path) -> None:
    for path in root.glob("train/labels/*.png"):
        label(path, 255)
    with pytest.raises(InvalidConfig, match="no pixel of a training label counts"):
        noted(root)


def test_tasks_without_labels_are_told(tmp_path: Path) -> None:
    """NYUv2 with missing labels allowed: a task that no training image has a label for could never move."""
    for number in range(6):
        image(tmp_path / "img" / f"{number}.png", number)
        label(tmp_path / "seg" / f"{number}.png", 0, 1)
    (tmp_path / "depth").mkdir()
    for name, numbers in (("train", range(4)), ("test", range(4, 6))):
        (tmp_path / f"{name}.txt").write_text("\n".join(map(str, numbers)))
    config = {"kind": "nyuv2", "path": tmp_path, "size": SIZE, "tasks": ["segmentation", "depth"], "missing": "ignore"}

    def found() -> Inventory:
        return take_inventory({name: part.files for name, part in open_data(config).parts.items()}, {})

    check_labels_suffice(found(), ["segmentation"])
    with pytest.raises(InvalidConfig, match="no image for training has a depth label"):
        check_labels_suffice(found(), ["segmentation", "depth"])
    for number in range(4):
        np.save(tmp_path / "depth" / f"{number}.npy", np.ones(SIZE, np.float32))
    check_labels_suffice(found(), ["segmentation", "depth"])
    assert "no image for reporting has a depth label" in remarks(found(), ["depth"])


def test_files_that_nothing_reads_are_told(root: Path) -> None:
    """A picture of another format, a second one of the same name, and a label without an image."""
    (root / "train/images/8.tif").write_bytes(b"")
    shutil.copy(root / "train/images/0.png", root / "train/images/0.jpg")
    label(root / "test/labels/7.png", 0, 1)
    (root / "test/labels/.hidden").write_bytes(b"")
    assert noted(root) == ["not used, 1 in test/labels: 7.png", "not used, 2 in train/images: 0.jpg, 8.tif"]


def test_labels_of_another_format_are_told(root: Path) -> None:
    """Where the file lies, and which format is read."""
    (root / "train/labels/1.png").rename(root / "train/labels/1.gif")
    with pytest.raises(InvalidConfig, match=r"no label for image 1\.png\n.*1\.gif is there: write it as \.png"):
        opened(root)


def test_images_in_two_parts_are_told(root: Path) -> None:
    shutil.copy(root / "train/images/1.png", root / "test/images/4.png")
    assert noted(root) == ["1 of 1 images for reporting are also images for training"]
