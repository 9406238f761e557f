"""Ray casting: the first solid on each ray, and its distance.

All rays of a call leave one point, which is what both the camera and the shadow test (rays from the lamp to the
surface) need; a ray's parameter t is in units of its direction's length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trunkline.train.data.sets.scenes.parts import Shape, Solids
from trunkline.train.data.sets.scenes.room import Camera

_FAR = np.float32(1e9)
_TINY = np.float32(1e-9)
_NEAR_METRES = 0.05


@dataclass(frozen=True, slots=True)
class Hits:
    """First hits.

    Attributes:
        distance: t of each ray, in units of its direction's length.
        solid: Its row in the Solids.
    """

    distance: np.ndarray
    solid: np.ndarray


def pixel_rays(camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """Return ``[H, W, 3]`` directions through the pixel centres whose t is the depth along the optical axis."""
    height, width = size
    step = 2 * camera.tan_half / width
    x = ((np.arange(width) + 0.5 - width / 2) * step).astype(np.float32)
    y = ((height / 2 - 0.5 - np.arange(height)) * step).astype(np.float32)
    right, up, back = camera.axes
    rays: np.ndarray = x[None, :, None] * right + y[:, None, None] * up - back
    return rays


def project(camera: Camera, points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (row, column, depth) of ``[..., 3]`` points; pixel centres are at integer rows and columns."""
    local = (points - camera.position) @ camera.axes.T
    depth = -local[..., 2]
    step = 2 * camera.tan_half / size[1] * np.maximum(depth, _NEAR_METRES)
    row = size[0] / 2 - 0.5 - local[..., 1] / step
    column = local[..., 0] / step + size[1] / 2 - 0.5
    return row, column, depth


def corners(geometry: Solids) -> np.ndarray:
    """Return ``[P, 8, 3]``: the corners of every solid's bounding box, turned with the solid."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    local = signs[None] * bounds(geometry)[:, None]
    cosine, sine = geometry.turn[:, None, 0], geometry.turn[:, None, 1]
    turned = np.stack([cosine * local[..., 0] + sine * local[..., 2], local[..., 1]], -1)
    z = cosine * local[..., 2] - sine * local[..., 0]
    placed: np.ndarray = np.concatenate([turned, z[..., None]], -1) + geometry.centre[:, None]
    return placed


def bounds(geometry: Solids) -> np.ndarray:
    """Return ``[P, 3]`` half extents of the bounding boxes; round solids use their radius on each round axis."""
    half = geometry.half.copy()
    half[geometry.shape == Shape.CYLINDER, 2] = half[geometry.shape == Shape.CYLINDER, 0]
    half[geometry.shape == Shape.SPHERE] = half[geometry.shape == Shape.SPHERE, :1]
    return half


def cast(geometry: Solids, origin: np.ndarray, rays: np.ndarray, windows: np.ndarray | None = None) -> Hits:
    """Find the first solid on every ray.

    Args:
        geometry: The solids; row 0 is the room, which every ray that starts inside it meets.
        origin: ``[3]`` point that all rays start from.
        rays: ``[H, W, 3]`` directions.
        windows: ``[P, 4]`` top, left, bottom, right: the rays that can meet each solid; None for all rays.
    """
    # A ray along a wall has a direction of 0 across it: no division by 0, but a meeting far away.
    inverse = 1 / np.where(np.abs(rays) < _TINY, _TINY, rays)
    # One contiguous plane for each axis: every test below goes through whole planes.
    planes = [np.ascontiguousarray(rays[..., axis]) for axis in range(3)]
    inverses = [np.ascontiguousarray(inverse[..., axis]) for axis in range(3)]
    best = _leave_room(geometry, origin, inverses)
    solid = np.zeros(best.shape, np.int32)
    for index in range(1, len(geometry)):
        view = (slice(None), slice(None))
        if windows is not None:
            top, left, bottom, right = windows[index]
            if top >= bottom or left >= right:
                continue
            view = (slice(top, bottom), slice(left, right))
        t = _meet(geometry, index, origin, [plane[view] for plane in planes], [plane[view] for plane in inverses])
        closer = t < best[view]
        np.copyto(best[view], t, where=closer)
        np.copyto(solid[view], index, where=closer)
    return Hits(best, solid)


def screen_windows(geometry: Solids, camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """Return ``[P, 4]`` pixel rectangles (top, left, bottom, right) that hold each solid's picture."""
    row, column, depth = project(camera, corners(geometry), size)
    height, width = size
    box = np.stack([row.min(1) - 1, column.min(1) - 1, row.max(1) + 2, column.max(1) + 2], 1)
    # A corner behind the camera is projected to nonsense: some behind may be seen anywhere, all behind nowhere.
    box[depth.min(1) <= _NEAR_METRES] = (0, 0, height, width)
    box[depth.max(1) <= _NEAR_METRES] = 0
    clipped: np.ndarray = np.clip(box, 0, [height, width, height, width]).astype(np.int32)
    return clipped


def _leave_room(geometry: Solids, origin: np.ndarray, inverses: list[np.ndarray]) -> np.ndarray:
    """Return t where each ray meets a wall, the floor or the ceiling from inside."""
    best = np.full(inverses[0].shape, _FAR, np.float32)
    for axis in range(3):
        low, high = _slab(geometry.centre[0, axis] - origin[axis], geometry.half[0, axis], inverses[axis])
        np.minimum(best, np.maximum(low, high), out=best)
    return best


def _slab(offset: np.float32, half: np.float32, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (offset - half) * inverse, (offset + half) * inverse


def _meet(
    geometry: Solids, index: int, origin: np.ndarray, rays: list[np.ndarray], inverses: list[np.ndarray]
) -> np.ndarray:
    """Return t of the first meeting with one solid, far away where there is none."""
    offset = geometry.centre[index] - origin
    half = geometry.half[index]
    shape = geometry.shape[index]
    if shape == Shape.SPHERE:
        return _meet_sphere(offset, half[0], rays)
    if shape == Shape.CYLINDER:
        return _meet_cylinder(offset, half, rays, inverses)
    # Furniture at walls stands in quarter turns: its box swaps axes, and the rays need not be turned.
    cosine, sine = geometry.turn[index]
    if abs(sine) < 1e-6:
        return _meet_box(offset, half, inverses)
    if abs(cosine) < 1e-6:
        return _meet_box(offset, half[[2, 1, 0]], inverses)
    x, z = cosine * rays[0] - sine * rays[2], sine * rays[0] + cosine * rays[2]
    turned = np.array([cosine * offset[0] - sine * offset[2], offset[1], sine * offset[0] + cosine * offset[2]])
    local = [1 / np.where(np.abs(plane) < _TINY, _TINY, plane) for plane in (x, z)]
    return _meet_box(turned.astype(np.float32), half, [local[0], inverses[1], local[1]])


def _meet_box(offset: np.ndarray, half: np.ndarray, inverses: list[np.ndarray]) -> np.ndarray:
    """Slab test: the ray is inside the box between the last entry and the first exit."""
    enter: np.ndarray | None = None
    leave: np.ndarray | None = None
    for axis in range(3):
        low, high = _slab(offset[axis], half[axis], inverses[axis])
        near, far = np.minimum(low, high), np.maximum(low, high)
        enter = near if enter is None else np.maximum(enter, near, out=enter)
        leave = far if leave is None else np.minimum(leave, far, out=leave)
    assert enter is not None
    assert leave is not None
    # Behind the ray's start t is negative.
    return np.where((enter <= leave) & (enter > 1e-4), enter, _FAR)


def _meet_sphere(offset: np.ndarray, radius: np.float32, rays: list[np.ndarray]) -> np.ndarray:
    x, y, z = rays
    a = x * x + y * y + z * z
    b = x * offset[0] + y * offset[1] + z * offset[2]
    rest = b * b - a * (offset @ offset - radius * radius)
    t = (b - np.sqrt(np.maximum(rest, 0))) / a
    return np.where((rest >= 0) & (t > 1e-4), t, _FAR)


def _meet_cylinder(
    offset: np.ndarray, half: np.ndarray, rays: list[np.ndarray], inverses: list[np.ndarray]
) -> np.ndarray:
    """Intersect an upright cylinder: the overlap of an infinite tube and a horizontal slab."""
    x, _, z = rays
    a = np.maximum(x * x + z * z, _TINY)
    b = x * offset[0] + z * offset[2]
    rest = b * b - a * (offset[0] * offset[0] + offset[2] * offset[2] - half[0] * half[0])
    root = np.sqrt(np.maximum(rest, 0))
    low, high = _slab(offset[1], half[1], inverses[1])
    enter = np.maximum((b - root) / a, np.minimum(low, high))
    leave = np.minimum((b + root) / a, np.maximum(low, high))
    return np.where((rest >= 0) & (enter <= leave) & (enter > 1e-4), enter, _FAR)
