"""Random scale, crop and mirror, drawn once per sample and applied to the image and to all its labels.

The image is resized bilinearly, a label as its label kind does it. Where a crop reaches beyond the picture, the image
is padded with the ImageNet mean, which is 0 after normalising.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from trunkline.train.data.base import IMAGENET_MEAN, random_generator
from trunkline.train.labels.crop import Crop, Size

_STREAM = 19
_PADDING = tuple(round(255 * value) for value in IMAGENET_MEAN)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The random changes of training samples.

    Attributes:
        scale: Smallest and largest random scale; the papers use 0.5 to 1.5.
        mirror: Whether half of the samples are mirrored.
        crop_from: Scale relative to the data set's ``size`` (the whole picture resized to it is scale 1), or crop
            ``size`` from the picture's ``native`` resolution, as the papers do with 321 x 321 of 480 x 640.
        scale_depth: Divide depths by the random scale, since a picture enlarged s times shows things s times
            nearer. The papers leave depths as they are.

    >>> draw_crop(Augmentation(scale=(1.0, 1.0), mirror=False), (480, 640), (240, 320), index=0, seed=0)
    Crop(resized=(240, 320), top=0, left=0, size=(240, 320), mirrored=False, scale=1.0)
    """

    scale: tuple[float, float] = (0.5, 1.5)
    mirror: bool = True
    crop_from: Literal["size", "native"] = "size"
    scale_depth: bool = False


def draw_crop(augmentation: Augmentation, native: Size, size: Size, index: int, seed: int) -> Crop:
    """Draw a crop: a pure function of its arguments.

    Args:
        augmentation: The range of scales, and whether to mirror.
        native: Height and width of the picture as it is stored.
        size: Height and width of the sample.
        index: Number of the sample.
        seed: With the index, decides everything random.
    """
    # In this order: whether a sample is mirrored is drawn last, so that its crop is the same either way.
    rng = random_generator(seed, _STREAM, index)
    low, high = augmentation.scale
    scale = float(low + (high - low) * rng.random())
    base = size if augmentation.crop_from == "size" else native
    resized = (max(1, round(base[0] * scale)), max(1, round(base[1] * scale)))
    top, left = (_offset(rng, resized[axis], size[axis]) for axis in range(2))
    mirrored = augmentation.mirror and bool(rng.random() < 0.5)
    return Crop(resized, top, left, size, mirrored, scale)


def _offset(rng: np.random.Generator, length: int, wanted: int) -> int:
    """Draw where the sample begins so that it lies inside the picture, or the picture inside the sample."""
    slack = length - wanted
    drawn = int(rng.integers(abs(slack) + 1))
    return drawn if slack >= 0 else -drawn


def crop_image(rgb: np.ndarray, crop: Crop) -> np.ndarray:
    """Return the sample's picture, uint8 ``[H, W, 3]``."""
    height, width = crop.resized
    resized = rgb
    if rgb.shape[:2] != crop.resized:
        resized = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))
    canvas = np.full((*crop.size, 3), _PADDING, np.uint8)
    rows, source_rows = _overlap(crop.top, height, crop.size[0])
    columns, source_columns = _overlap(crop.left, width, crop.size[1])
    canvas[rows, columns] = resized[source_rows, source_columns]
    return canvas[:, ::-1] if crop.mirrored else canvas


def _overlap(start: int, length: int, wanted: int) -> tuple[slice, slice]:
    """Return where the picture lies in the sample, and which part of the picture that is."""
    begin, end = max(0, -start), min(wanted, length - start)
    return slice(begin, end), slice(begin + start, end + start)
