"""One scene, rendered: picture and exact labels, a pure function of (seed, stream, index, size)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from trunkline.train.data.base import random_generator
from trunkline.train.data.sets.scenes.labels import edges, keypoints
from trunkline.train.data.sets.scenes.rays import cast, pixel_rays, screen_windows
from trunkline.train.data.sets.scenes.room import Room, draw_room
from trunkline.train.data.sets.scenes.shade import shade
from trunkline.train.data.sets.scenes.surface import Surface, surface

_SENSOR_NOISE = 0.012
_LABELS: Mapping[str, Callable[[Room, Surface, np.ndarray], np.ndarray]] = {
    "segmentation": lambda room, seen, depth: seen.label,
    "depth": lambda room, seen, depth: depth,
    "normals": lambda room, seen, depth: seen.normal @ room.camera.axes.T,
    "edges": lambda room, seen, depth: edges(seen),
    "keypoints": lambda room, seen, depth: keypoints(room, (depth.shape[0], depth.shape[1])),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and its labels, in types that take little memory.

    Attributes:
        image: uint8 ``[H, W, 3]``, RGB.
        labels: By kind of task: segmentation uint8 ``[H, W]``; depth float32 ``[H, W]``, metres along the optical axis;
            normals float32 ``[H, W, 3]``, unit vectors in the camera's frame (x right, y up, z towards the viewer);
            edges uint8 ``[H, W]`` in {0, 1}; keypoints float32 ``[H, W]`` in [0, 1].
    """

    image: np.ndarray
    labels: dict[str, np.ndarray]


def render(
    seed: int, stream: int, index: int, size: tuple[int, int], kinds: Collection[str], supersample: int = 1
) -> Scene:
    """Render scene ``index`` of a stream.

    The same scene comes back at every size, only sampled more finely. ``supersample`` = k averages k x k rays
    per pixel of the picture; labels always belong to the pixel's centre.
    """
    rng = random_generator(seed, stream, index)
    room = draw_room(rng)
    seen, depth = _look(room, size)
    picture = _picture(room, seen, size, supersample)
    # Drawn after the room, so that the same room comes back at every size.
    noise = rng.standard_normal(picture.shape, np.float32) * np.float32(_SENSOR_NOISE)
    image = np.clip((picture + noise) * 255 + 0.5, 0, 255).astype(np.uint8)
    return Scene(image, {kind: _LABELS[kind](room, seen, depth) for kind in kinds})


def _look(room: Room, size: tuple[int, int]) -> tuple[Surface, np.ndarray]:
    rays = pixel_rays(room.camera, size)
    hits = cast(room.geometry, room.camera.position, rays, screen_windows(room.geometry, room.camera, size))
    return surface(room, rays, hits), hits.distance


def _picture(room: Room, seen: Surface, size: tuple[int, int], supersample: int) -> np.ndarray:
    if supersample == 1:
        return shade(room, seen)
    # The picture alone: between two classes, or two depths, there is no mean.
    fine, _ = _look(room, (size[0] * supersample, size[1] * supersample))
    blocks = shade(room, fine).reshape(size[0], supersample, size[1], supersample, 3)
    averaged: np.ndarray = blocks.mean((1, 3))
    return averaged
