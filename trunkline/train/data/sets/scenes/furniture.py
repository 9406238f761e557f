"""Pieces of furniture: each builds its solids in a local frame whose front faces +z and whose origin is on the floor.

Every maker takes a :class:`Workshop` (random numbers, solids so far) and a :class:`Place`; ``FOOTPRINT`` gives the
width and depth in metres that the piece needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trunkline.train.data.sets.scenes.classes import INDEX, PALETTE, RGB
from trunkline.train.data.sets.scenes.parts import Material, Parts, Place, Shape, Vector


@dataclass(slots=True)
class Workshop:
    """A source of random numbers, and the solids made so far."""

    rng: np.random.Generator
    parts: Parts

    def between(self, low: float, high: float) -> float:
        """Draw a uniform number."""
        return low + (high - low) * self.rng.random()

    def colour(self, name: str) -> RGB:
        """Draw a colour of the class's palette, varied by up to 12 % per channel."""
        palette = PALETTE[name]
        base = palette[int(self.rng.integers(len(palette)))]
        gain = 1 + 0.24 * (self.rng.random(3) - 0.5)
        return (base[0] * float(gain[0]), base[1] * float(gain[1]), base[2] * float(gain[2]))


@dataclass(slots=True)
class Piece:
    """One object under construction: class, number and place are fixed, solids are added one by one."""

    shop: Workshop
    place: Place
    name: str
    owner: int

    def add(
        self,
        centre: Vector,
        size: Vector,
        colour: RGB,
        material: Material = Material.PLAIN,
        shape: Shape = Shape.BOX,
    ) -> None:
        """Add a solid to the object."""
        self.shop.parts.add(self.place, centre, size, INDEX[self.name], self.owner, colour, material, shape)

    def legs(self, width: float, depth: float, height: float, colour: RGB, thickness: float = 0.06) -> None:
        """Add four legs under a top of ``width`` x ``depth``."""
        for x in (-1, 1):
            for z in (-1, 1):
                centre = (x * (width - thickness) / 2, height / 2, z * (depth - thickness) / 2)
                self.add(centre, (thickness, height, thickness), colour)


def piece(shop: Workshop, place: Place, name: str) -> Piece:
    """Begin a new object of class ``name``."""
    return Piece(shop, place, name, shop.parts.new_object())


def bed(shop: Workshop, place: Place) -> None:
    """A mattress with a blanket, a headboard and one or two pillows (of class objects, as in NYUv2)."""
    width, length = shop.between(1.1, 1.7), 2.0
    item = piece(shop, place, "bed")
    wood = shop.colour("furniture")
    item.add((0, 0.14, 0), (width, 0.28, length), wood, Material.WOOD)
    item.add((0, 0.40, 0.02), (width * 0.98, 0.24, length * 0.96), shop.colour("bed"), Material.BLANKET)
    item.add((0, 0.5, -length / 2 + 0.03), (width + 0.06, 1.0, 0.06), wood, Material.WOOD)
    pillow = shop.colour("objects")
    shifts = (-0.25, 0.25) if width > 1.35 else (0.0,)
    for shift in shifts:
        cushion = piece(shop, place, "objects")
        cushion.add((shift * width, 0.58, -length / 2 + 0.30), (0.5, 0.12, 0.34), pillow, Material.FABRIC)


def sofa(shop: Workshop, place: Place) -> None:
    """A seat with back and arms."""
    width, colour = shop.between(1.5, 2.1), shop.colour("sofa")
    item = piece(shop, place, "sofa")
    item.add((0, 0.21, 0.06), (width - 0.4, 0.42, 0.76), colour, Material.FABRIC)
    item.add((0, 0.42, -0.34), (width - 0.4, 0.84, 0.2), colour, Material.FABRIC)
    for x in (-1, 1):
        item.add((x * (width / 2 - 0.1), 0.31, 0), (0.2, 0.62, 0.88), colour, Material.FABRIC)
    if shop.rng.random() < 0.6:
        cushion = piece(shop, place, "objects")
        shift = shop.between(-0.3, 0.3) * width
        cushion.add((shift, 0.60, -0.16), (0.4, 0.36, 0.14), shop.colour("objects"), Material.FABRIC)


def chair(shop: Workshop, place: Place) -> None:
    """A seat, a back and four legs."""
    colour = shop.colour("chair")
    item = piece(shop, place, "chair")
    item.add((0, 0.46, 0), (0.46, 0.07, 0.46), colour, Material.WOOD)
    item.add((0, 0.74, -0.21), (0.46, 0.5, 0.05), colour, Material.WOOD)
    item.legs(0.46, 0.46, 0.43, colour, 0.05)


def table(shop: Workshop, place: Place) -> None:
    """A rectangular table on four legs, or a round one on a pillar, with things on it."""
    colour, height = shop.colour("table"), shop.between(0.68, 0.78)
    item = piece(shop, place, "table")
    if shop.rng.random() < 0.65:
        width, depth = shop.between(1.1, 1.6), shop.between(0.7, 0.9)
        item.add((0, height - 0.03, 0), (width, 0.06, depth), colour, Material.WOOD)
        item.legs(width, depth, height - 0.06, colour)
    else:
        width = depth = shop.between(0.8, 1.05)
        item.add((0, height - 0.03, 0), (width, 0.06, width), colour, Material.WOOD, Shape.CYLINDER)
        item.add((0, height / 2 - 0.03, 0), (0.12, height - 0.06, 0.12), colour, shape=Shape.CYLINDER)
        item.add((0, 0.02, 0), (0.5, 0.04, 0.5), colour, shape=Shape.CYLINDER)
    things(shop, place, height, width * 0.7, depth * 0.6, int(shop.rng.integers(1, 4)))


def cabinet(shop: Workshop, place: Place) -> None:
    """A chest of drawers or a tall wardrobe; a low one carries a television or things."""
    tall = shop.rng.random() < 0.4
    width = shop.between(0.8, 1.4)
    height = shop.between(1.7, 2.0) if tall else shop.between(0.5, 0.9)
    item = piece(shop, place, "furniture")
    item.add((0, height / 2, 0), (width, height, 0.48), shop.colour("furniture"), Material.DRAWERS)
    if tall:
        return
    if shop.rng.random() < 0.55:
        television(shop, place, height, min(width * 0.95, 1.1))
    else:
        things(shop, place, height, width * 0.75, 0.2, 2)


def bookshelf(shop: Workshop, place: Place) -> None:
    """Boards between two sides, with rows of books."""
    width, height, colour = shop.between(0.8, 1.2), shop.between(1.5, 2.0), shop.colour("furniture")
    item = piece(shop, place, "furniture")
    item.add((0, height / 2, -0.15), (width, height, 0.04), colour, Material.WOOD)
    for x in (-1, 1):
        item.add((x * (width / 2 - 0.02), height / 2, 0), (0.05, height, 0.34), colour)
    levels = 4
    for level in range(levels + 1):
        y = 0.04 + level * (height - 0.08) / levels
        item.add((0, y, 0), (width, 0.05, 0.34), colour)
        if level < levels and shop.rng.random() < 0.8:
            length = shop.between(0.45, 0.95) * (width - 0.1)
            tall = (height / levels) * shop.between(0.55, 0.8)
            row = piece(shop, place, "books")
            side = 1 if shop.rng.random() < 0.5 else -1
            shift = (width - 0.1 - length) / 2 * side
            row.add((shift, y + 0.025 + tall / 2, 0.02), (length, tall, 0.24), shop.colour("books"), Material.BOOKS)


def television(shop: Workshop, place: Place, base: float, width: float) -> None:
    """A flat screen on a foot, standing at height ``base``."""
    item, colour = piece(shop, place, "tv"), shop.colour("tv")
    height = width * 0.58
    item.add((0, base + 0.02, 0), (width * 0.35, 0.04, 0.2), colour)
    item.add((0, base + 0.06 + height / 2, 0), (width, height, 0.06), colour, Material.SCREEN)


def things(shop: Workshop, place: Place, base: float, width: float, depth: float, count: int) -> None:
    """Put ``count`` small things on a surface at height ``base``: books, vases, balls, lamps, boxes."""
    for slot in range(count):
        x = ((slot + 0.5) / count - 0.5) * width + shop.between(-0.04, 0.04)
        z = shop.between(-0.5, 0.5) * depth
        kind = int(shop.rng.integers(5))
        item = piece(shop, place, "books" if kind == 0 else "objects")
        colour = shop.colour(item.name)
        if kind == 0:
            item.add((x, base + 0.06, z), (0.26, 0.12, 0.19), colour, Material.BOOKS)
        elif kind == 1:
            tall = shop.between(0.2, 0.36)
            item.add((x, base + tall / 2, z), (0.15, tall, 0.15), colour, shape=Shape.CYLINDER)
        elif kind == 2:
            size = shop.between(0.16, 0.24)
            item.add((x, base + size / 2, z), (size, size, size), colour, shape=Shape.SPHERE)
        elif kind == 3:
            item.add((x, base + 0.15, z), (0.04, 0.3, 0.04), (0.2, 0.2, 0.2), shape=Shape.CYLINDER)
            item.add((x, base + 0.38, z), (0.26, 0.2, 0.26), colour, shape=Shape.CYLINDER)
        else:
            item.add((x, base + 0.1, z), (0.22, 0.2, 0.18), colour)


def floor_lamp(shop: Workshop, place: Place) -> None:
    """A pole with a shade."""
    item, height = piece(shop, place, "objects"), shop.between(1.3, 1.6)
    dark = (0.14, 0.13, 0.13)
    item.add((0, 0.02, 0), (0.32, 0.04, 0.32), dark, shape=Shape.CYLINDER)
    item.add((0, height / 2, 0), (0.05, height, 0.05), dark, shape=Shape.CYLINDER)
    item.add((0, height + 0.1, 0), (0.42, 0.32, 0.42), (0.95, 0.86, 0.62), shape=Shape.CYLINDER)


Maker = Callable[[Workshop, Place], None]

FOOTPRINT: dict[Maker, tuple[float, float]] = {
    bed: (1.8, 2.1),
    sofa: (2.15, 1.0),
    cabinet: (1.45, 0.55),
    bookshelf: (1.25, 0.4),
    floor_lamp: (0.5, 0.5),
    table: (1.65, 1.1),
    chair: (0.7, 0.7),
}
