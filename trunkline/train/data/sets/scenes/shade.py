"""Lighting: sky-like ambient light, a ceiling lamp with shadows, a weak light at the camera, and a film curve."""

from __future__ import annotations

import numpy as np

from trunkline.train.data.sets.scenes.classes import INDEX
from trunkline.train.data.sets.scenes.rays import cast
from trunkline.train.data.sets.scenes.room import Room
from trunkline.train.data.sets.scenes.surface import Surface
from trunkline.train.data.sets.scenes.texture import albedo

_SHADOW_MARGIN = 1 - 2e-3
"""A ray to the surface ends there, at t = 1; a little less, so that rounding throws no shadow."""


def shade(room: Room, surface: Surface) -> np.ndarray:
    """Return the ``[H, W, 3]`` picture as sRGB values in [0, 1], without sensor noise."""
    colour = albedo(room, surface)
    ambient = (0.24 + 0.06 * surface.normal[..., 1]) * _occlusion(room, surface)
    light = ambient[..., None] + _lamp(room, surface)[..., None] * room.warmth + _flash(room, surface)[..., None]
    glowing = (surface.label == INDEX["window"]) & (surface.face >= 4)
    # A window is seen by the light outside, whatever the lamp does.
    light[glowing] = 0.95
    return _film(colour * light)


def _occlusion(room: Room, surface: Surface) -> np.ndarray:
    """Darken near the meeting of walls, floor and ceiling, where less ambient light arrives."""
    inside = room.geometry.half[0] - np.abs(surface.point - room.geometry.centre[0])
    gap = np.sort(inside, -1)[..., 1]  # the second nearest plane: the nearest is often the surface itself
    dark: np.ndarray = 1 - 0.4 * np.exp(-np.maximum(gap, 0) / 0.22)
    return dark


def _lamp(room: Room, surface: Surface) -> np.ndarray:
    """Diffuse light of the ceiling lamp, with hard shadows."""
    path = surface.point - room.lamp
    square = np.einsum("hwc,hwc->hw", path, path)
    facing = -np.einsum("hwc,hwc->hw", path, surface.normal) / np.sqrt(square)
    reached = cast(room.geometry, room.lamp, path).distance > _SHADOW_MARGIN
    lit: np.ndarray = 4.6 * np.maximum(facing, 0) * reached / (2.2 + square)
    # The ceiling hangs above the lamp and gets light thrown back from the floor instead
    above = surface.point[..., 1] > room.lamp[1]
    return np.where(above, 0.36, lit)


def _flash(room: Room, surface: Surface) -> np.ndarray:
    """A weak light at the camera, which fades with distance."""
    path = surface.point - room.camera.position
    square = np.einsum("hwc,hwc->hw", path, path)
    facing = -np.einsum("hwc,hwc->hw", path, surface.normal) / np.sqrt(square)
    weak: np.ndarray = 0.7 * np.abs(facing) / (2.5 + square)
    return weak


def _film(light: np.ndarray) -> np.ndarray:
    """Deepen colours a little, compress bright light softly, then apply a gamma of 2.2."""
    grey = light.mean(-1, keepdims=True)
    vivid = np.maximum(grey + 1.3 * (light - grey), 0)
    bright = 1.15 * vivid**1.2
    curve: np.ndarray = np.clip(bright * (1 + bright * 0.25) / (1 + 0.45 * bright), 0, 1) ** (1 / 2.2)
    return curve
