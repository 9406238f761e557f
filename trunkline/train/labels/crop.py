"""The part of a picture that becomes the sample, the same for its image and for all its labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a resized picture that becomes the sample.

    Attributes:
        resized: Height and width the whole picture is resized to.
        top: Row of the resized picture at which the sample begins; negative where it is padded.
        left: Column of the resized picture at which the sample begins; negative where it is padded.
        size: Height and width of the sample.
        mirrored: Whether left and right change places.
        scale: The random scale that was drawn; 1 without augmentation.

    >>> Crop(resized=(2, 4), top=0, left=1, size=(2, 4)).take_nearest(np.arange(8).reshape(2, 4), fill=255)
    array([[  1,   2,   3, 255],
           [  5,   6,   7, 255]])
    """

    resized: Size
    top: int
    left: int
    size: Size
    mirrored: bool = False
    scale: float = 1.0

    def take_nearest(self, pixels: np.ndarray, fill: float) -> np.ndarray:
        """Return the crop of a picture ``[..., H, W]`` of any size, by nearest neighbour and not yet mirrored.

        Where the crop reaches beyond the picture, pixels are ``fill``.
        """
        rows, inside_rows = _nearest(self.top, self.resized[0], self.size[0], pixels.shape[-2])
        columns, inside_columns = _nearest(self.left, self.resized[1], self.size[1], pixels.shape[-1])
        taken = pixels[..., rows[:, None], columns[None, :]]
        taken[..., ~(inside_rows[:, None] & inside_columns[None, :])] = fill
        return taken


def whole(size: Size) -> Crop:
    """Return the crop that shows the whole picture at ``size``, for evaluations."""
    return Crop(resized=size, top=0, left=0, size=size)


def _nearest(start: int, resized: int, wanted: int, native: int) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each position in the sample, the native position and whether it lies in the picture."""
    position = np.arange(wanted) + start
    inside = (position >= 0) & (position < resized)
    # floor((position + 1/2) · native / resized) in whole numbers, so that no rounding can move a border.
    source = ((2 * position + 1) * native) // (2 * resized)
    return np.clip(source, 0, native - 1), inside
