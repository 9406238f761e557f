"""The generated rooms: determinism, and labels that agree with geometry worked out another way."""

from __future__ import annotations

import numpy as np
import pytest

from trunkline.errors import InvalidConfig
from trunkline.train.data.base import Sample, random_generator
from trunkline.train.data.sets.nyuv2.classes import CLASSES_13
from trunkline.train.data.sets.scenes import Scenes
from trunkline.train.data.sets.scenes.dataset import TASKS
from trunkline.train.data.sets.scenes.labels import edges
from trunkline.train.data.sets.scenes.parts import Shape
from trunkline.train.data.sets.scenes.rays import cast, pixel_rays, project, screen_windows
from trunkline.train.data.sets.scenes.render import _look, render
from trunkline.train.data.sets.scenes.room import Room, draw_room
from trunkline.train.data.sets.scenes.surface import Surface

pytestmark = pytest.mark.parity

SIZE = (32, 48)


def same(a: Sample, b: Sample) -> bool:
    return all(np.array_equal(a.labels[k], b.labels[k]) for k in TASKS) and np.array_equal(a.image, b.image)


def test_scenes_follow_their_numbers() -> None:
    """Seed, split and index, and nothing else."""
    first, again = (Scenes(SIZE, 4, seed=3, tasks=TASKS) for _ in range(2))
    again.sample(0)
    assert same(first.sample(2), again.sample(2))
    assert same(first.sample(2, seed=5), again.sample(2, seed=5))
    assert not same(first.sample(2), first.sample(1))
    assert not same(first.sample(2), Scenes(SIZE, 4, seed=4, tasks=TASKS).sample(2))
    cached = Scenes(SIZE, 4, seed=3, tasks=TASKS, cache=True)
    assert same(cached.sample(2), first.sample(2))
    assert same(cached.sample(2), first.sample(2))


def test_train_and_val_share_no_scene() -> None:
    train, val = Scenes(SIZE, 6), Scenes(SIZE, 6, split="val")
    images = {data.scene(i).image.tobytes() for data in (train, val) for i in range(6)}
    assert len(images) == 12


def test_labels_have_the_promised_form() -> None:
    data = Scenes(SIZE, 3, tasks=TASKS)
    assert tuple(data.tasks) == TASKS
    assert data.tasks["segmentation"].classes == CLASSES_13
    for seed in (None, 1, 2):
        sample = data.sample(1, seed=seed)
        labels = sample.labels
        assert sample.image.shape == (3, *SIZE)
        assert sample.image.dtype == np.float32
        assert labels["segmentation"].shape == SIZE
        assert labels["segmentation"].dtype == np.int64
        assert set(np.unique(labels["segmentation"])) <= set(range(13))
        assert labels["depth"].shape == (1, *SIZE)
        assert 0.2 < labels["depth"].min() < labels["depth"].max() < 9
        assert labels["normals"].shape == (3, *SIZE)
        assert np.allclose(np.linalg.norm(labels["normals"], axis=0), 1, atol=1e-5)
        assert set(np.unique(labels["edges"])) == {0.0, 1.0}
        assert 0 <= labels["keypoints"].min() < labels["keypoints"].max() <= 1
        assert all(label.dtype == np.float32 for kind, label in labels.items() if kind != "segmentation")


def test_augmentation_mirrors_labels_with_the_picture() -> None:
    data = Scenes(SIZE, 1, tasks=TASKS)
    plain = data.sample(0)
    both = set()
    for seed in range(12):
        sample = data.sample(0, seed=seed)
        flipped = bool(np.array_equal(sample.labels["depth"], plain.labels["depth"][..., ::-1]))
        both.add(flipped)
        view = slice(None, None, -1 if flipped else 1)
        for kind in ("segmentation", "depth", "edges", "keypoints"):
            assert np.array_equal(sample.labels[kind], plain.labels[kind][..., view])
        sign = np.array([-1 if flipped else 1, 1, 1])[:, None, None]
        assert np.array_equal(sample.labels["normals"], sign * plain.labels["normals"][..., view])
    assert both == {True, False}


def test_every_class_occurs_and_none_fills_everything() -> None:
    counts = np.zeros(13)
    for index in range(60):
        counts += np.bincount(
            render(0, 0, index, (24, 36), ("segmentation",)).labels["segmentation"].ravel(), minlength=13
        )
    share = counts / counts.sum()
    assert share.min() > 0.002, dict(zip(CLASSES_13, share, strict=True))
    assert share.max() < 0.5


def room_and_view(index: int, size: tuple[int, int] = SIZE) -> tuple[Room, np.ndarray, Surface]:
    room = draw_room(random_generator(0, 0, index))
    seen, depth = _look(room, size)
    return room, seen, depth


@pytest.mark.parametrize("index", range(4))
def test_depth_is_where_rays_end(index: int) -> None:
    """Every hit lies on a surface: just before it no solid holds the point, just behind it one does."""
    room, seen, depth = room_and_view(index)
    rays = pixel_rays(room.camera, SIZE)
    for fraction in (0.05, 0.3, 0.6, 0.9, 0.995):
        assert not _occupied(room, room.camera.position + rays * (fraction * depth[..., None])).any()
    assert _occupied(room, seen.point - 2e-3 * seen.normal).all()
    assert ((rays * seen.normal).sum(-1) < 1e-4).all()


def _occupied(room: Room, points: np.ndarray) -> np.ndarray:
    """Say which points lie inside a solid or outside the room: written from the definitions of the solids."""
    geometry = room.geometry
    held = np.zeros(points.shape[:2], bool)
    for index in range(len(geometry)):
        local = (points - geometry.centre[index]).astype(np.float64)
        c, s = geometry.turn[index]
        local = np.stack(
            [c * local[..., 0] - s * local[..., 2], local[..., 1], s * local[..., 0] + c * local[..., 2]], -1
        )
        half = geometry.half[index]
        if geometry.shape[index] == Shape.ROOM:
            held |= (np.abs(local) > half).any(-1)
        elif geometry.shape[index] == Shape.BOX:
            held |= (np.abs(local) < half).all(-1)
        elif geometry.shape[index] == Shape.CYLINDER:
            held |= (np.hypot(local[..., 0], local[..., 2]) < half[0]) & (np.abs(local[..., 1]) < half[1])
        else:
            held |= np.linalg.norm(local, axis=-1) < half[0]
    return held


def test_culling_changes_nothing() -> None:
    for index in range(4):
        room, _, _ = room_and_view(index)
        rays = pixel_rays(room.camera, SIZE)
        windows = screen_windows(room.geometry, room.camera, SIZE)
        culled = cast(room.geometry, room.camera.position, rays, windows)
        every = cast(room.geometry, room.camera.position, rays)
        assert np.array_equal(culled.distance, every.distance)
        assert np.array_equal(culled.solid, every.solid)


def test_projection_inverts_the_pixel_rays() -> None:
    """A point on a pixel's ray is seen at that pixel."""
    room, seen, depth = room_and_view(1)
    row, column, z = project(room.camera, seen.point, SIZE)
    assert np.allclose(row, np.arange(SIZE[0])[:, None], atol=1e-2)
    assert np.allclose(column, np.arange(SIZE[1])[None], atol=1e-2)
    assert np.allclose(z, depth, rtol=1e-4)


def test_normals_are_differences_of_depth() -> None:
    """Where a pixel's neighbours show the same flat face, the cross product of their points is the normal."""
    room, seen, depth = room_and_view(2)
    normals = Scenes(SIZE, 3, tasks=("normals",)).sample(2).labels["normals"]
    rays = pixel_rays(room.camera, SIZE) @ room.camera.axes.T
    points = rays.astype(np.float64) * depth[..., None]
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    found = np.cross(down, across)
    found /= np.linalg.norm(found, axis=-1, keepdims=True)
    face = seen.solid * 6 + seen.face
    flat = np.isin(room.geometry.shape[seen.solid], [Shape.BOX, Shape.ROOM])[1:-1, 1:-1]
    for other in (face[1:-1, 2:], face[1:-1, :-2], face[2:, 1:-1], face[:-2, 1:-1]):
        flat &= other == face[1:-1, 1:-1]
    cosine = (found * normals.transpose(1, 2, 0)[1:-1, 1:-1]).sum(-1)[flat]
    assert flat.sum() > 300
    assert cosine.min() > 0.999


def test_edges_separate_exactly_what_differs() -> None:
    _, seen, _ = room_and_view(0)
    marked = edges(seen).astype(bool)
    label = seen.label
    for a, b, first, second in (
        (label[:, :-1], label[:, 1:], marked[:, :-1], marked[:, 1:]),
        (label[:-1], label[1:], marked[:-1], marked[1:]),
    ):
        assert (first & second)[a != b].all()
    face = seen.solid * 6 + seen.face
    inner = np.ones(SIZE, bool)
    inner[:, :-1] &= face[:, :-1] == face[:, 1:]
    inner[:, 1:] &= face[:, :-1] == face[:, 1:]
    inner[:-1] &= face[:-1] == face[1:]
    inner[1:] &= face[:-1] == face[1:]
    assert not marked[inner].any()


def test_scenes_have_any_size() -> None:
    """The same scene, seen with more or fewer pixels."""
    small = render(0, 0, 5, (20, 30), TASKS)
    large = render(0, 0, 5, (60, 90), TASKS)  # every third pixel centre falls on a centre of the small one
    assert (small.labels["segmentation"] == large.labels["segmentation"][1::3, 1::3]).mean() > 0.995
    assert np.median(np.abs(small.labels["depth"] - large.labels["depth"][1::3, 1::3])) < 1e-4


def test_supersampling_leaves_labels_alone() -> None:
    one, two = (render(0, 0, 1, SIZE, TASKS, k) for k in (1, 2))
    assert all(np.array_equal(one.labels[kind], two.labels[kind]) for kind in TASKS)
    assert not np.array_equal(one.image, two.image)


@pytest.mark.abuse
def test_all_problems_are_reported() -> None:
    """At once."""
    with pytest.raises(InvalidConfig) as error:
        Scenes((4, 96), length=0, seed=-1, tasks=("depht",), split="valid")
    assert len(error.value.problems) == 5
    assert 'did you mean "depth"?' in str(error.value)
    with pytest.raises(IndexError):
        Scenes(SIZE, 2).sample(2)
