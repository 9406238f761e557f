"""The surface that each ray meets: its point, the place in the solid's own frame, the face and the normal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trunkline.train.data.sets.scenes.classes import INDEX
from trunkline.train.data.sets.scenes.parts import Shape, Solids
from trunkline.train.data.sets.scenes.rays import Hits, bounds
from trunkline.train.data.sets.scenes.room import Room

FACES = 6
"""Faces per solid in :attr:`Surface.face`: 2·axis + (1 on the positive side); a sphere has face 0 only."""


@dataclass(frozen=True, slots=True)
class Surface:
    """The surface that each pixel shows; all arrays begin with ``[H, W]``.

    Attributes:
        solid: Its row in the Solids.
        face: 0..5, see :data:`FACES`; a cylinder's mantle is face 0.
        point: ``[H, W, 3]`` in the room's frame, metres.
        local: ``[H, W, 3]`` in the solid's frame, metres from its centre.
        normal: ``[H, W, 3]`` unit vectors in the room's frame, towards the free side.
        label: Number of the class.
        owner: Number of the object; the room's walls, floor and ceiling are one object.
    """

    solid: np.ndarray
    face: np.ndarray
    point: np.ndarray
    local: np.ndarray
    normal: np.ndarray
    label: np.ndarray
    owner: np.ndarray


def surface(room: Room, rays: np.ndarray, hits: Hits) -> Surface:
    """Return what the rays hit."""
    geometry, solid = room.geometry, hits.solid
    point = room.camera.position + rays * hits.distance[..., None]
    local = _to_local(geometry, solid, point - geometry.centre[solid])
    face, local_normal = _face(geometry, solid, local)
    label = geometry.label[solid]
    inside = solid == 0
    label[inside & (face == 2)] = INDEX["floor"]
    label[inside & (face == 3)] = INDEX["ceiling"]
    normal = _to_room(geometry, solid, local_normal)
    return Surface(solid, face, point, local, normal, label, geometry.owner[solid])


def _to_local(geometry: Solids, solid: np.ndarray, vector: np.ndarray) -> np.ndarray:
    cosine, sine = geometry.turn[solid, 0], geometry.turn[solid, 1]
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    return np.stack([cosine * x - sine * z, y, sine * x + cosine * z], -1)


def _to_room(geometry: Solids, solid: np.ndarray, vector: np.ndarray) -> np.ndarray:
    cosine, sine = geometry.turn[solid, 0], geometry.turn[solid, 1]
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    return np.stack([cosine * x + sine * z, y, cosine * z - sine * x], -1)


def _face(geometry: Solids, solid: np.ndarray, local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the face number and the unit normal in the solid's frame."""
    relative = local / bounds(geometry)[solid]
    axis = np.argmax(np.abs(relative), -1)
    side = np.take_along_axis(relative, axis[..., None], -1)[..., 0] > 0
    face = (2 * axis + side).astype(np.int32)
    # The room is seen from inside: its faces look the other way.
    sign = np.where(side, 1.0, -1.0) * np.where(solid == 0, -1.0, 1.0)
    normal = np.eye(3, dtype=np.float32)[axis] * sign[..., None].astype(np.float32)
    shape = geometry.shape[solid]
    _round(normal, face, local, (shape == Shape.CYLINDER) & _on_mantle(geometry, solid, local), (0, 2))
    _round(normal, face, local, shape == Shape.SPHERE, (0, 1, 2))
    # A cylinder's cap is flat, though the largest relative coordinate may lie on another axis
    cap = (shape == Shape.CYLINDER) & ~_on_mantle(geometry, solid, local)
    if cap.any():
        above = local[cap][:, 1] > 0
        face[cap] = 2 + above
        normal[cap] = np.where(above[:, None], 1.0, -1.0) * np.array([0, 1, 0], np.float32)
    return face, normal


def _on_mantle(geometry: Solids, solid: np.ndarray, local: np.ndarray) -> np.ndarray:
    half = geometry.half[solid]
    radial = np.hypot(local[..., 0], local[..., 2]) / half[..., 0]
    mantle: np.ndarray = radial > np.abs(local[..., 1]) / half[..., 1]
    return mantle


def _round(normal: np.ndarray, face: np.ndarray, local: np.ndarray, where: np.ndarray, axes: tuple[int, ...]) -> None:
    """Set the normals of curved surfaces: away from the centre along ``axes``."""
    if not where.any():
        return
    outward = np.zeros((int(where.sum()), 3), np.float32)
    outward[:, axes] = local[where][:, axes]
    normal[where] = outward / np.linalg.norm(outward, axis=-1, keepdims=True)
    face[where] = 0
