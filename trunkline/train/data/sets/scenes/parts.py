"""The solids a room is made of: boxes, vertical cylinders and spheres, collected into arrays for the ray caster."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from trunkline.train.data.sets.scenes.classes import RGB


class Shape(IntEnum):
    """Kinds of solid; ROOM is a box seen from inside."""

    ROOM = 0
    BOX = 1
    CYLINDER = 2
    SPHERE = 3


class Material(IntEnum):
    """Surface patterns, see :mod:`trunkline.train.data.sets.scenes.texture`."""

    PLAIN = 0
    WOOD = 1
    FABRIC = 2
    DRAWERS = 3
    BOOKS = 4
    ART = 5
    WINDOW = 6
    SCREEN = 7
    ROOM = 8
    BLANKET = 9


@dataclass(frozen=True, slots=True)
class Solids:
    """All solids of one scene; row 0 is the room. Lengths in metres, y is up, the floor is y = 0.

    Attributes:
        shape: ``[P]`` values of :class:`Shape`.
        centre: ``[P, 3]`` middle of the solid, in the room's frame.
        half: ``[P, 3]`` half extents along the solid's own axes (a cylinder's or sphere's radius is its x).
        turn: ``[P, 2]`` cosine and sine of the rotation about y.
        label: ``[P]`` class index (row 0: of the walls).
        owner: ``[P]`` number of the object the solid belongs to.
        material: ``[P]`` values of :class:`Material`.
        colour: ``[P, 3]`` linear RGB.
        chance: ``[P, 4]`` uniform numbers that vary the pattern.
    """

    shape: np.ndarray
    centre: np.ndarray
    half: np.ndarray
    turn: np.ndarray
    label: np.ndarray
    owner: np.ndarray
    material: np.ndarray
    colour: np.ndarray
    chance: np.ndarray

    def __len__(self) -> int:
        return len(self.shape)


@dataclass(slots=True)
class Place:
    """The place of a piece of furniture: its local origin (floor, middle of the footprint) and rotation about y."""

    x: float
    z: float
    turn: float = 0.0


Vector = tuple[float, float, float]


@dataclass(slots=True)
class Parts:
    """Solids, added one by one; :meth:`geometry` returns them as arrays."""

    rows: list[tuple[Shape, Vector, Vector, float, int, int, Material, RGB]] = field(default_factory=list)
    owners: int = 0

    def new_object(self) -> int:
        """Return the number of a new object."""
        self.owners += 1
        return self.owners - 1

    def add(
        self,
        place: Place,
        centre: Vector,
        size: Vector,
        label: int,
        owner: int,
        colour: RGB,
        material: Material = Material.PLAIN,
        shape: Shape = Shape.BOX,
    ) -> None:
        """Add a solid given in the local frame of ``place``; ``size`` holds full extents in metres."""
        cosine, sine = math.cos(place.turn), math.sin(place.turn)
        x = place.x + cosine * centre[0] + sine * centre[2]
        z = place.z - sine * centre[0] + cosine * centre[2]
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self.rows.append((shape, (x, centre[1], z), half, place.turn, label, owner, material, colour))

    def geometry(self, rng: np.random.Generator) -> Solids:
        """Return everything added so far as arrays."""
        shape, centre, half, turn, label, owner, material, colour = (
            list(column) for column in zip(*self.rows, strict=True)
        )
        angle = np.array(turn)
        return Solids(
            shape=np.array(shape, np.int32),
            centre=np.array(centre, np.float32),
            half=np.array(half, np.float32),
            turn=np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32),
            label=np.array(label, np.uint8),
            owner=np.array(owner, np.int32),
            material=np.array(material, np.int32),
            colour=np.array(colour, np.float32),
            chance=rng.random((len(self.rows), 4), np.float32),
        )
