"""Exact labels of a rendered scene: edges and key points; classes, depth and normals come with the surface."""

from __future__ import annotations

import numpy as np

from trunkline.train.data.sets.scenes.parts import Shape
from trunkline.train.data.sets.scenes.rays import cast, corners, project
from trunkline.train.data.sets.scenes.room import Room
from trunkline.train.data.sets.scenes.surface import FACES, Surface

_CREASE_COSINE = float(np.cos(np.radians(10)))
_STEP_METRES = 0.01


def edges(surface: Surface) -> np.ndarray:
    """Return ``[H, W]`` uint8: 1 on both sides of every visible edge.

    Two pixels side by side (or one above the other) are separated by an edge when they show different faces and

    * the class or the object differs (a label edge), or
    * the normals differ by more than 10 degrees (a crease), or
    * one point lies more than 1 cm off the other's tangent plane (an occlusion within one object).

    Faces are known exactly, so no edge is invented on a curved surface and none is lost between similar depths;
    coplanar parts of one object stay one surface.
    """
    marked = np.zeros(surface.solid.shape, bool)
    columns = np.s_[:, :-1], np.s_[:, 1:]
    rows = np.s_[:-1, :], np.s_[1:, :]
    for first, second in (columns, rows):
        cut = _separated(surface, first, second)
        marked[first] |= cut
        marked[second] |= cut
    return marked.astype(np.uint8)


View = tuple[slice, slice]


def _separated(surface: Surface, first: View, second: View) -> np.ndarray:
    face = surface.solid * FACES + surface.face
    label = (surface.label[first] != surface.label[second]) | (surface.owner[first] != surface.owner[second])
    crease = (surface.normal[first] * surface.normal[second]).sum(-1) < _CREASE_COSINE
    between = surface.point[second] - surface.point[first]
    step = np.abs((between * surface.normal[first]).sum(-1)) > _STEP_METRES
    apart: np.ndarray = (face[first] != face[second]) & (label | crease | step)
    return apart


def keypoints(room: Room, size: tuple[int, int]) -> np.ndarray:
    """Return the ``[H, W]`` float32 heat map of visible key points, in [0, 1].

    Key points are the corners of boxes and of the room, and the centres of spheres and of cylinders' upper caps
    (a sphere's centre counts as visible where its nearest point is). Visibility is exact: a ray from the camera
    must reach the point. Each draws a Gaussian of standard deviation max(1, W/64) pixels around its projection;
    where they overlap the map has the larger value, so it never leaves [0, 1].
    """
    height, width = size
    points = _visible(room, _candidates(room))
    row, column, depth = project(room.camera, points, size)
    in_rows, in_columns = (row > -0.5) & (row < height - 0.5), (column > -0.5) & (column < width - 0.5)
    shown = (depth > 0.05) & in_rows & in_columns
    if not shown.any():
        return np.zeros(size, np.float32)
    # A Gaussian in two dimensions is a product of two in one: N · (H + W) exponentials instead of N · H · W.
    scale = -0.5 / max(1.0, width / 64) ** 2
    vertical = np.exp(scale * (np.arange(height) - row[shown, None]) ** 2).astype(np.float32)
    horizontal = np.exp(scale * (np.arange(width) - column[shown, None]) ** 2).astype(np.float32)
    heat: np.ndarray = (vertical[:, :, None] * horizontal[:, None, :]).max(0)
    return heat


def _candidates(room: Room) -> np.ndarray:
    geometry = room.geometry
    boxes = (geometry.shape == Shape.BOX) | (geometry.shape == Shape.ROOM)
    rounds = geometry.shape == Shape.CYLINDER
    spheres = geometry.shape == Shape.SPHERE
    caps = geometry.centre[rounds] + geometry.half[rounds] * np.array([0, 1, 0], np.float32)
    towards = room.camera.position - geometry.centre[spheres]
    towards = towards / np.maximum(np.linalg.norm(towards, axis=-1, keepdims=True), 1e-6)
    fronts = geometry.centre[spheres] + towards * geometry.half[spheres, :1]
    return np.concatenate([corners(geometry)[boxes].reshape(-1, 3), caps, fronts]).astype(np.float32)


def _visible(room: Room, points: np.ndarray) -> np.ndarray:
    rays = (points - room.camera.position)[None]
    # The point lies on its own solid, at t = 1: a little less, so that rounding does not hide it behind itself.
    reached = cast(room.geometry, room.camera.position, rays).distance[0] > 1 - 2e-3
    seen: np.ndarray = points[reached]
    return seen
