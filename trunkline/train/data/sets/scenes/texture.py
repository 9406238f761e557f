"""Surface patterns: the colour of a pixel as a function of its place on a solid, without texture images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trunkline.train.data.sets.scenes.parts import Material
from trunkline.train.data.sets.scenes.room import Room
from trunkline.train.data.sets.scenes.surface import Surface

Pattern = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def albedo(room: Room, surface: Surface) -> np.ndarray:
    """Return ``[H, W, 3]`` linear colours before lighting."""
    geometry = room.geometry
    colour: np.ndarray = geometry.colour[surface.solid]
    # One material at a time, on its pixels alone: no pattern is computed where it is not seen.
    material = geometry.material[surface.solid]
    for kind in np.unique(material):
        pattern = _PATTERNS.get(Material(int(kind)))
        if pattern is None:
            continue
        at = material == kind
        u, v = _plane(surface.local[at], surface.face[at])
        solid = surface.solid[at]
        colour[at] = pattern(u, v, colour[at], geometry.chance[solid], geometry.half[solid])
    _paint_shell(room, surface, colour)
    return colour


def _plane(local: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two coordinates in the face's plane, metres; v is up on upright faces."""
    axis = face // 2
    u = np.where(axis == 0, local[:, 2], local[:, 0])
    v = np.where(axis == 1, local[:, 2], local[:, 1])
    return u, v


def _hash(number: np.ndarray) -> np.ndarray:
    """Map whole numbers to repeatable numbers in [0, 1)."""
    # A multiplicative hash: a generator would need a seed for each of the pixels.
    bits = number.astype(np.int64).astype(np.uint32) * np.uint32(2654435761)
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(2246822519)
    return ((bits >> np.uint32(8)) & np.uint32(0xFFFF)).astype(np.float32) / np.float32(65536)


def _shade(colour: np.ndarray, gain: np.ndarray) -> np.ndarray:
    shaded: np.ndarray = colour * gain[:, None]
    return shaded


def _wood(u: np.ndarray, v: np.ndarray, colour: np.ndarray, chance: np.ndarray, half: np.ndarray) -> np.ndarray:
    del half
    ring = np.sin(45 * v + 1.2 * np.sin(4 * u + 6.3 * chance[:, 0]) + 6.3 * chance[:, 1])
    return _shade(colour, 1 + 0.08 * ring)


def _fabric(u: np.ndarray, v: np.ndarray, colour: np.ndarray, chance: np.ndarray, half: np.ndarray) -> np.ndarray:
    del half
    weave = np.sin(70 * u) * np.sin(70 * v)
    stripe = np.where(chance[:, 2] > 0.6, np.sign(np.sin(28 * u)), 0)
    return _shade(colour, 1 + 0.06 * weave + 0.12 * stripe)


def _blanket(u: np.ndarray, v: np.ndarray, colour: np.ndarray, chance: np.ndarray, half: np.ndarray) -> np.ndarray:
    """A quilt: large squares, or stripes across."""
    del half
    checks = np.sign(np.sin(9 * u)) * np.sign(np.sin(9 * v))
    stripes = np.sign(np.sin(14 * v))
    striped_or_plain = np.where(chance[:, 0] < 0.7, stripes, 0.0)
    pattern = np.where(chance[:, 0] < 0.4, checks, striped_or_plain)
    return _shade(colour, 1 + 0.14 * pattern)


def _drawers(u: np.ndarray, v: np.ndarray, colour: np.ndarray, chance: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Panels with dark gaps and a handle in each."""
    columns = np.where(chance[:, 0] < 0.5, 2, 3)
    rows = np.where(half[:, 1] > 0.6, 2, 3)
    x = (u / (2 * half[:, 0]) + 0.5) * columns
    y = (v / (2 * half[:, 1]) + 0.5) * rows
    edge_x = np.minimum(x % 1, 1 - x % 1) / columns * 2 * half[:, 0]
    edge_y = np.minimum(y % 1, 1 - y % 1) / rows * 2 * half[:, 1]
    gap = np.minimum(edge_x, edge_y) < 0.014
    handle = (np.abs(x % 1 - 0.5) < 0.12) & (np.abs(y % 1 - 0.78) < 0.03)
    front = np.where(handle, 0.35, 1.0)
    return _shade(colour, np.where(gap, 0.5, front))


def _books(u: np.ndarray, v: np.ndarray, colour: np.ndarray, chance: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Spines 3 to 5 cm wide in changing colours, the wide side deciding their direction."""
    lying = half[:, 0] < 0.15
    along = np.where(lying, v, u) / (0.03 + 0.02 * chance[:, 0])
    spine = np.floor(along) + np.floor(chance[:, 1] * 900)
    mix = np.stack([_hash(spine), _hash(spine + 333), _hash(spine + 777)], -1)
    gap = np.abs(along % 1 - 0.5) > 0.42
    painted: np.ndarray = (0.45 * colour + 0.5 * mix * mix) * np.where(gap, 0.4, 1.0)[:, None]
    return painted


def _art(u: np.ndarray, v: np.ndarray, colour: np.ndarray, chance: np.ndarray, half: np.ndarray) -> np.ndarray:
    """A dark frame, a pale mount, and waves of two colours inside."""
    x, y = u / half[:, 0], v / half[:, 1]
    edge = np.minimum((1 - np.abs(x)) * half[:, 0], (1 - np.abs(y)) * half[:, 1])
    wave = np.sin(3 * x + 4 * chance[:, 0] + 2.5 * np.sin(2 * y + 6 * chance[:, 1])) + np.sin(4 * y + 5 * chance[:, 2])
    blend = (0.5 + 0.25 * wave)[:, None]
    other = 1 - colour[:, ::-1] * (0.4 + 0.6 * chance[:, 3:4])
    painted = blend * colour + (1 - blend) * other
    painted = np.where((edge < 0.07)[:, None], np.float32(0.88), painted)
    frame = np.where(chance[:, 3:4] > 0.5, np.array([0.1, 0.08, 0.07]), np.array([0.45, 0.32, 0.14]))
    return np.where((edge < 0.035)[:, None], frame, painted).astype(np.float32)


def _window(u: np.ndarray, v: np.ndarray, colour: np.ndarray, chance: np.ndarray, half: np.ndarray) -> np.ndarray:
    """A white frame with bars; sky above a green line of trees."""
    x, y = u / half[:, 0], v / half[:, 1]
    edge = np.minimum((1 - np.abs(x)) * half[:, 0], (1 - np.abs(y)) * half[:, 1])
    bar = (edge < 0.05) | (np.abs(u) < 0.025) | ((np.abs(v) < 0.02) & (chance[:, 0] > 0.5))
    trees = y < -0.45 + 0.12 * np.sin(7 * x + 6 * chance[:, 1]) + 0.06 * np.sin(17 * x)
    sky = colour * (1.25 - 0.2 * y)[:, None]
    view = np.where(trees[:, None], np.array([0.26, 0.42, 0.20]), sky)
    return np.where(bar[:, None], np.float32(0.85), view).astype(np.float32)


def _screen(u: np.ndarray, v: np.ndarray, colour: np.ndarray, chance: np.ndarray, half: np.ndarray) -> np.ndarray:
    """A black screen with a slanting pale reflection."""
    glare = np.clip(1 - np.abs(u / half[:, 0] - 0.7 * v / half[:, 1] - 0.8 * chance[:, 0]) * 2.2, 0, 1)
    edge = np.minimum(half[:, 0] - np.abs(u), half[:, 1] - np.abs(v)) < 0.025
    blue = np.array([0.10, 0.13, 0.17], np.float32)
    return np.where(edge[:, None], np.float32(0.02), colour + glare[:, None] * blue)


def _paint_shell(room: Room, surface: Surface, colour: np.ndarray) -> None:
    """Colour floor (planks or tiles), ceiling and walls (plain, with a skirting board)."""
    shell = surface.solid == 0
    floor, ceiling = shell & (surface.face == 2), shell & (surface.face == 3)
    chance = room.geometry.chance[0]
    colour[ceiling] = room.ceiling_colour
    x, z = surface.point[floor][:, 0], surface.point[floor][:, 2]
    pattern = _tiles(x, z) if chance[0] < 0.35 else _planks(x, z)
    colour[floor] = _shade(np.broadcast_to(room.floor_colour, (len(x), 3)), pattern)
    wall = shell & ~floor & ~ceiling
    skirting = surface.point[wall][:, 1] < 0.1
    wallpaper = np.ones(int(wall.sum()))
    if chance[1] < 0.25:
        along = surface.point[wall] @ np.array([1, 0, 1])  # x and z at once: stripes on all four walls
        wallpaper = 1 + 0.05 * np.sign(np.sin(20 * along))
    painted = colour[wall] * wallpaper[:, None]
    colour[wall] = np.where(skirting[:, None], np.float32(0.86), painted)


def _planks(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    plank = np.floor(x / 0.18)
    shifted = z / 1.1 + _hash(plank + 50)
    tone = _hash(plank * 17 + np.floor(shifted) * 5 + 900)
    gap = (np.abs(x / 0.18 % 1 - 0.5) > 0.46) | (np.abs(shifted % 1 - 0.5) > 0.49)
    grain = np.sin(90 * x + 3 * np.sin(3 * z))
    return np.where(gap, 0.66, 0.86 + 0.26 * tone + 0.03 * grain)


def _tiles(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    a, b = x / 0.45, z / 0.45
    joint = (np.abs(a % 1 - 0.5) > 0.465) | (np.abs(b % 1 - 0.5) > 0.465)
    checker = (np.floor(a) + np.floor(b)) % 2
    return np.where(joint, 0.72, 0.92 + 0.16 * checker)


_PATTERNS: dict[Material, Pattern] = {
    Material.WOOD: _wood,
    Material.FABRIC: _fabric,
    Material.BLANKET: _blanket,
    Material.DRAWERS: _drawers,
    Material.BOOKS: _books,
    Material.ART: _art,
    Material.WINDOW: _window,
    Material.SCREEN: _screen,
}
