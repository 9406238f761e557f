"""What a label is: its shape, which values count for nothing, and how it is cut, mirrored and resized with its image.

A kind of task has one. Everything else that handles labels (batches, augmentation, losses, metrics, pictures) asks it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor

from trunkline.train.labels.crop import Crop, Size

IGNORE = 255
"""Label value of pixels that count neither in losses nor in metrics, where labels are class numbers or in [0, 1]."""

Values = TypeVar("Values", np.ndarray, Tensor)


class LabelKind(ABC):
    """The form of a task's labels, and of the output that is compared with them.

    Attributes:
        dtype: Type of a label's values.
        output: What a head puts out, in a word.
        output_axes: Axes of the output behind ``[N, K]``.
    """

    dtype: np.dtype
    output: ClassVar[str]
    output_axes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def shape(self, size: Size) -> tuple[int, ...]:
        """Return the shape of the label of an image of this height and width, without the batch axis."""

    @abstractmethod
    def empty(self, size: Size) -> np.ndarray:
        """Return the label of an image that has none: nothing in it counts."""

    @abstractmethod
    def counted(self, label: Values) -> Values:
        """Say where a label, or a batch ``[N, ...]`` of labels, counts in losses and metrics."""

    @abstractmethod
    def cut(self, label: np.ndarray, crop: Crop) -> np.ndarray:
        """Return the sample's label from the whole picture's: cropped, resized and mirrored with its image."""

    @abstractmethod
    def mirrored(self, label: np.ndarray) -> np.ndarray:
        """Return the label of the mirrored image."""

    def is_labelled(self, label: np.ndarray) -> bool:
        """Say whether anything counts in the label of one image."""
        return bool(self.counted(label).any())

    def fits(self, output: Sequence[object], channels: int) -> bool:
        """Say whether an output of this shape can be compared with a label."""
        return len(output) == 2 + len(self.output_axes) and output[1] == channels

    def output_text(self, channels: int) -> str:
        """Return the shape of an output for people."""
        return f"[{', '.join(('N', str(channels), *self.output_axes))}]"


@dataclass(frozen=True)
class MapLabel(LabelKind):
    """One value, or one vector, per pixel of the image.

    Attributes:
        channels: Values per pixel: the label is ``[channels, H, W]``, or ``[H, W]`` where there is no such axis.
        dtype: Type of the values.
        ignore: Value of pixels that do not count; of a vector, all of its values.
    """

    channels: int | None
    dtype: np.dtype
    ignore: int = IGNORE

    output: ClassVar[str] = "map"
    output_axes: ClassVar[tuple[str, ...]] = ("h", "w")

    def shape(self, size: Size) -> tuple[int, ...]:
        """Return ``[channels, H, W]`` or ``[H, W]``."""
        return size if self.channels is None else (self.channels, *size)

    def empty(self, size: Size) -> np.ndarray:
        """Return a label in which no pixel counts."""
        return np.full(self.shape(size), self.ignore, self.dtype)

    def counted(self, label: Values) -> Values:
        """Say which pixels count; for vectors without their axis."""
        counted: Values = label != self.ignore
        if self.channels is None or self.channels == 1:
            return counted
        of_vectors: Any = counted.any(-3)  # numpy's types say that this may be a single bool
        along_pixels: Values = of_vectors
        return along_pixels

    def cut(self, label: np.ndarray, crop: Crop) -> np.ndarray:
        """Return the crop of ``[..., H, W]`` by nearest neighbour; beyond the picture no pixel counts."""
        taken = crop.take_nearest(label, self.ignore)
        return self.mirrored(taken) if crop.mirrored else taken

    def mirrored(self, label: np.ndarray) -> np.ndarray:
        """Return ``[..., H, W]`` with left and right changed."""
        return np.ascontiguousarray(label[..., ::-1])


@dataclass(frozen=True)
class ImageLabel(LabelKind):
    """One number per image, whatever part of it a sample shows.

    Attributes:
        dtype: Type of the number.
        ignore: The number of an image that does not count.
    """

    dtype: np.dtype
    ignore: int = -1

    output: ClassVar[str] = "vector"
    output_axes: ClassVar[tuple[str, ...]] = ()

    def shape(self, size: Size) -> tuple[int, ...]:
        """Return the shape of a single number."""
        return ()

    def empty(self, size: Size) -> np.ndarray:
        """Return the number that does not count."""
        return np.array(self.ignore, self.dtype)

    def counted(self, label: Values) -> Values:
        """Say which images count."""
        counted: Values = label != self.ignore
        return counted

    def cut(self, label: np.ndarray, crop: Crop) -> np.ndarray:
        """Return the label, which scale and crop do not change."""
        return label

    def mirrored(self, label: np.ndarray) -> np.ndarray:
        """Return the label, which a mirror does not change."""
        return label
