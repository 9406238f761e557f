"""Random scale, crop and mirror: image and labels move together, and padding counts for nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.train.data.augment import Augmentation, crop_image, draw_crop
from trunkline.train.data.sets.folder.boundaries import label_boundaries
from trunkline.train.labels.crop import Crop, whole
from trunkline.train.tasks.registry import task_kind

pytestmark = pytest.mark.properties

sizes = st.tuples(st.integers(4, 40), st.integers(4, 40))
quick = settings(max_examples=60, deadline=None)


@given(native=sizes, size=sizes, seed=st.integers(0, 2**31), native_crop=st.booleans())
@quick
def test_windows_are_repeatable_and_overlap(
    native: tuple[int, int], size: tuple[int, int], seed: int, native_crop: bool
) -> None:
    """A window is a function of its seed, and some of the picture is in it."""
    augmentation = Augmentation(crop_from="native" if native_crop else "size")
    crop = draw_crop(augmentation, native, size, 3, seed)
    assert crop == draw_crop(augmentation, native, size, 3, seed)
    assert 0.5 <= crop.scale <= 1.5
    for axis, start in enumerate((crop.top, crop.left)):
        slack = crop.resized[axis] - size[axis]
        assert min(slack, 0) <= start <= max(slack, 0)


@given(native=sizes, size=sizes, seed=st.integers(0, 2**31))
@quick
def test_labels_follow_the_picture(native: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    """A picture whose colour encodes the position, and a label of the same positions, agree after the cut."""
    rows, columns = np.meshgrid(np.arange(native[0]), np.arange(native[1]), indexing="ij")
    rgb = np.stack([6 * rows, 6 * columns, 0 * rows], -1).astype(np.uint8)
    crop = draw_crop(Augmentation(), native, size, 0, seed)
    image = crop_image(rgb, crop)
    label = task_kind("segmentation").label.cropped((rows + 0 * columns).astype(np.uint8), crop)
    depth = task_kind("depth").label.cropped((columns[None] + 1).astype(np.float32), crop)[0]
    inside = label != 255
    assert np.array_equal(inside, depth > 0)
    assert inside.any()
    reach = 6 * (1.5 + max(native[0] / crop.resized[0], native[1] / crop.resized[1]))
    assert np.abs(image[..., 0].astype(int) - 6 * label.astype(int))[inside].max() <= reach
    assert np.abs(image[..., 1] - 6 * (depth - 1))[inside].max() <= reach
    assert (image[~inside] == (124, 116, 104)).all()


def test_the_whole_window_only_resizes() -> None:
    """It is the plain nearest resize."""
    label = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert np.array_equal(task_kind("segmentation").label.cropped(label, whole((4, 6))), label)
    assert np.array_equal(
        task_kind("segmentation").label.cropped(label, whole((8, 12))), label.repeat(2, 0).repeat(2, 1)
    )
    assert np.array_equal(task_kind("segmentation").label.cropped(label, whole((2, 2))), label[1::2, 1::3])


def test_mirroring_negates_the_normals_x() -> None:
    normals = np.random.default_rng(0).standard_normal((3, 4, 6)).astype(np.float32)
    crop = Crop((4, 6), 0, 0, (4, 6), mirrored=True)
    assert np.array_equal(
        task_kind("normals").label.cropped(normals, crop), normals[..., ::-1] * np.array([-1, 1, 1])[:, None, None]
    )


def test_padding_by_kind() -> None:
    crop = Crop((2, 2), -1, -1, (4, 4))
    for kind, fill in (("segmentation", 255), ("edges", 255), ("keypoints", 255), ("depth", 0), ("normals", 0)):
        cut = task_kind(kind).label.cropped(np.ones((3, 2, 2), np.float32), crop)
        assert cut[:, 1:3, 1:3].min() == 1
        assert (cut[:, 0] == fill).all()
        assert (cut[..., 3] == fill).all()


@given(seed=st.integers(0, 2**31), height=st.integers(1, 9), width=st.integers(1, 9))
@quick
def test_boundaries_against_brute_force(seed: int, height: int, width: int) -> None:
    label = np.random.default_rng(seed).choice([0, 1, 2, 255], (height, width)).astype(np.uint8)
    expected = np.zeros_like(label)
    for i in range(height):
        for j in range(width):
            near = [(i + a, j + b) for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0))]
            values = [label[p] for p in near if 0 <= p[0] < height and 0 <= p[1] < width and label[p] != 255]
            expected[i, j] = 255 if label[i, j] == 255 else any(value != label[i, j] for value in values)
    assert np.array_equal(label_boundaries(label), expected)
    assert np.array_equal(label_boundaries(label[:, ::-1]), expected[:, ::-1])
