"""Draws one room: its size, furniture and pictures, the camera and the lamp."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trunkline.train.data.sets.scenes.classes import INDEX
from trunkline.train.data.sets.scenes.furniture import (
    FOOTPRINT,
    Maker,
    Workshop,
    bed,
    bookshelf,
    cabinet,
    chair,
    floor_lamp,
    piece,
    sofa,
    table,
)
from trunkline.train.data.sets.scenes.parts import Material, Parts, Place, Shape, Solids


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: ``[3]`` in the room's frame, metres.
        axes: ``[3, 3]`` rows: right, up, back (towards the viewer), unit vectors in the room's frame.
        tan_half: Tangent of half the horizontal field of view.
    """

    position: np.ndarray
    axes: np.ndarray
    tan_half: float


@dataclass(frozen=True, slots=True)
class Room:
    """Everything the renderer needs.

    Attributes:
        geometry: All solids, the room's shell among them.
        camera: The camera that takes the picture.
        lamp: ``[3]`` position of the ceiling lamp, metres.
        floor_colour: ``[3]`` linear RGB.
        ceiling_colour: ``[3]`` linear RGB.
        warmth: ``[3]`` colour of the lamp's light.
    """

    geometry: Solids
    camera: Camera
    lamp: np.ndarray
    floor_colour: np.ndarray
    ceiling_colour: np.ndarray
    warmth: np.ndarray


def draw_room(rng: np.random.Generator) -> Room:
    """Draw a furnished room; the camera stands at z = 0 and looks along -z."""
    shop = Workshop(rng, Parts())
    width, height, depth = shop.between(3.6, 5.4), shop.between(2.4, 2.8), shop.between(3.8, 5.6)
    # It reaches 0.3 m in front of z = 0: the camera, up to 0.1 m in front of it, must be inside.
    shell = Place(0.0, -depth / 2)
    shop.parts.add(
        shell,
        (0, height / 2, 0),
        (width, height, depth + 0.6),
        INDEX["wall"],
        shop.parts.new_object(),
        shop.colour("wall"),
        Material.ROOM,
        Shape.ROOM,
    )
    back = -depth - 0.3
    _furnish(shop, width, back)
    _decorate(shop, width, height, back)
    lamp = np.array([shop.between(-0.8, 0.8), height - 0.25, back / 2 + shop.between(-0.6, 0.9)], np.float32)
    return Room(
        geometry=shop.parts.geometry(rng),
        camera=_camera(shop, width),
        lamp=lamp,
        floor_colour=np.array(shop.colour("floor"), np.float32),
        ceiling_colour=np.array(shop.colour("ceiling"), np.float32),
        warmth=np.array([1.0, shop.between(0.88, 0.98), shop.between(0.74, 0.95)], np.float32),
    )


def _camera(shop: Workshop, width: float) -> Camera:
    """Place the camera near the open side of the room, turned towards its middle."""
    x = shop.between(-0.32, 0.32) * width
    position = np.array([x, shop.between(1.25, 1.75), shop.between(-0.25, 0.1)])
    yaw = math.atan2(x, 3.2) + shop.between(-0.28, 0.28)
    pitch = shop.between(-0.26, -0.06)
    back = np.array([math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    right = np.array([math.cos(yaw), 0.0, -math.sin(yaw)])
    axes = np.stack([right, np.cross(back, right), back])
    return Camera(position.astype(np.float32), axes.astype(np.float32), shop.between(0.66, 0.84))


Footprint = tuple[float, float, float, float]
"""Left, back, right and front border on the floor, in metres: smallest x, smallest z, greatest x, greatest z."""


def _furnish(shop: Workshop, width: float, back: float) -> None:
    """Put pieces along the walls and in the middle so that no two footprints overlap."""
    taken: list[Footprint] = [(-width / 2, -1.3, width / 2, 1.0)]  # room for the camera
    first, other = (bed, sofa) if shop.rng.random() < 0.5 else (sofa, bed)
    second = other if shop.rng.random() < 0.3 else cabinet
    # The largest first: what comes late may find no free place at a wall.
    wanted: list[Maker] = [first, cabinet, bookshelf, second, floor_lamp]
    for maker in wanted:
        _try_wall(shop, maker, width, back, taken)
    _try_middle(shop, table, width, back, taken)
    for _ in range(int(shop.rng.integers(1, 4))):
        _try_middle(shop, chair, width, back, taken)


def _try_wall(shop: Workshop, maker: Maker, width: float, back: float, taken: list[Footprint]) -> None:
    """Try a few places with the piece's back against the left, back or right wall."""
    wide, deep = FOOTPRINT[maker]
    for _ in range(10):
        side = int(shop.rng.integers(3))
        if side == 1:
            place = Place(shop.between(-0.5, 0.5) * (width - wide), back + deep / 2 + 0.02)
            spans = wide, deep
        else:
            sign = -1 if side == 0 else 1
            z = shop.between(back + wide / 2 + 0.02, -1.0 - wide / 2)
            place = Place(sign * (width / 2 - deep / 2 - 0.02), z, -sign * math.pi / 2)
            spans = deep, wide
        if _claim(place, spans, taken):
            maker(shop, place)
            return


def _try_middle(shop: Workshop, maker: Maker, width: float, back: float, taken: list[Footprint]) -> None:
    """Try a few places anywhere on the floor, in any direction for chairs."""
    wide, deep = FOOTPRINT[maker]
    for _ in range(8):
        x = shop.between(-0.5, 0.5) * (width - wide)
        z = shop.between(back + deep / 2 + 0.1, -1.3)
        turn = shop.between(-math.pi, math.pi) if maker is chair else 0.0
        place = Place(x, z, turn)
        if _claim(place, (wide, deep), taken):
            maker(shop, place)
            return


def _claim(place: Place, spans: tuple[float, float], taken: list[Footprint]) -> bool:
    """Reserve the footprint when it is free."""
    x0, z0 = place.x - spans[0] / 2, place.z - spans[1] / 2
    x1, z1 = x0 + spans[0], z0 + spans[1]
    for left, back, right, front in taken:
        overlap_x, overlap_z = x0 < right and left < x1, z0 < front and back < z1
        if overlap_x and overlap_z:
            return False
    taken.append((x0, z0, x1, z1))
    return True


def _decorate(shop: Workshop, width: float, height: float, back: float) -> None:
    """Hang a window and pictures: at most two on the back wall, at most one on each side wall."""
    last = "window" if shop.rng.random() < 0.4 else "picture"
    names = ["window", "picture", "picture", last]
    middle = width * 0.24
    depth = -back
    spots = [
        Place(-middle, back),
        Place(middle, back),
        Place(-width / 2, back + depth * shop.between(0.3, 0.55), math.pi / 2),
        Place(width / 2, back + depth * shop.between(0.3, 0.55), -math.pi / 2),
    ]
    for spot in shop.rng.permutation(4)[: int(shop.rng.integers(2, 5))]:
        name = names.pop(0)
        item = piece(shop, spots[spot], name)
        if name == "window":
            wide, high = shop.between(1.0, 1.5), shop.between(0.95, 1.2)
            y, material = height * 0.62, Material.WINDOW
        else:
            wide, high = shop.between(0.45, 0.95), shop.between(0.4, 0.7)
            y, material = height * 0.66, Material.ART
        item.add((shop.between(-0.2, 0.2), y, 0.015), (wide, high, 0.05), shop.colour(name), material)
