"""The form of a label: its shape, which of its values count, and how it is cropped and mirrored with its image.

Every kind of task has a label kind, and everything that handles labels uses it: batches, augmentation, losses, metrics
and pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor

from trunkline.text import shape_text
from trunkline.train.labels.crop import Crop, Size

IGNORE = 255
"""The label of pixels that count neither in losses nor in metrics, where labels are class numbers or lie in [0, 1]."""

LabelArray = TypeVar("LabelArray", np.ndarray, Tensor)


class LabelKind(ABC):
    """The form of a task's labels, and of the output that is compared with them.

    Attributes:
        dtype: Type of a label's values.
        output: What a head must put out: ``map`` or ``vector``.
        output_axes: Names of the output's axes behind ``[N, K]``.
    """

    dtype: np.dtype
    output: ClassVar[str]
    output_axes: ClassVar[tuple[str, ...]]

    @abstractmethod
    def shape(self, size: Size) -> tuple[int, ...]:
        """Return the shape of the label of an image of this height and width, without the batch axis."""

    @abstractmethod
    def empty(self, size: Size) -> np.ndarray:
        """Return the label for an image that was not labelled: nothing in it counts."""

    @abstractmethod
    def counted(self, label: LabelArray) -> LabelArray:
        """Return a mask: where a label, or a batch ``[N, ...]`` of labels, counts in losses and metrics."""

    @abstractmethod
    def cropped(self, label: np.ndarray, crop: Crop) -> np.ndarray:
        """Return the label of a sample, cut from that of the whole picture as its image is."""

    @abstractmethod
    def mirrored(self, label: np.ndarray) -> np.ndarray:
        """Return the label of the mirrored image."""

    def is_labelled(self, label: np.ndarray) -> bool:
        """Return whether anything counts in the label of one image."""
        return bool(self.counted(label).any())

    def fits(self, output: Sequence[object], channels: int) -> bool:
        """Return whether an output of this shape can be compared with a label."""
        return len(output) == 2 + len(self.output_axes) and output[1] == channels

    def output_text(self, channels: int) -> str:
        """Return the shape of an output as text, such as ``[N, 13, h, w]``."""
        return shape_text((None, channels, *self.output_axes))


@dataclass(frozen=True)
class MapLabel(LabelKind):
    """One value, or one vector, per pixel of the image.

    Attributes:
        channels: Values per pixel: the label is ``[channels, H, W]``, or ``[H, W]`` where there is no such axis.
        dtype: Type of the values.
        ignore: Value of pixels that do not count; of a vector, all of its values.

    >>> classes = MapLabel(channels=None, dtype=np.dtype(np.int64))
    >>> classes.shape((2, 3)), classes.output_text(13)
    ((2, 3), '[N, 13, h, w]')
    >>> classes.counted(np.array([[0, 255, 12]]))
    array([[ True, False,  True]])
    >>> classes.is_labelled(classes.empty((2, 3)))
    False
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

    def counted(self, label: LabelArray) -> LabelArray:
        """Return a mask of the pixels that count; a vector has one value in it, without the axis of channels."""
        counted: LabelArray = label != self.ignore
        if self.channels is None or self.channels == 1:
            return counted
        # A vector is ignored as a whole: one of its components may well be 0 by itself.
        any_component: Any = counted.any(-3)  # numpy's types say that this may be a single bool
        pixels: LabelArray = any_component
        return pixels

    def cropped(self, label: np.ndarray, crop: Crop) -> np.ndarray:
        """Return the crop of ``[..., H, W]`` by nearest neighbour; beyond the picture no pixel counts."""
        # Not bilinear: between class 3 and class 5 there is no class 4, and no depth halfway to an invalid 0.
        taken = crop.take_nearest(label, self.ignore)
        return self.mirrored(taken) if crop.mirrored else taken

    def mirrored(self, label: np.ndarray) -> np.ndarray:
        """Return ``[..., H, W]`` with left and right changed."""
        # A view with negative strides cannot become a torch tensor.
        return np.ascontiguousarray(label[..., ::-1])


@dataclass(frozen=True)
class ImageLabel(LabelKind):
    """One number per image, whatever part of it a sample shows.

    Attributes:
        dtype: Type of the number.
        ignore: The label of an image that does not count.

    >>> number = ImageLabel(np.dtype(np.int64))
    >>> number.shape((2, 3)), number.output_text(10)
    ((), '[N, 10]')
    >>> number.counted(np.array([4, -1]))
    array([ True, False])
    """

    dtype: np.dtype
    ignore: int = -1

    output: ClassVar[str] = "vector"
    output_axes: ClassVar[tuple[str, ...]] = ()

    def shape(self, size: Size) -> tuple[int, ...]:
        """Return the shape of a single number."""
        return ()

    def empty(self, size: Size) -> np.ndarray:
        """Return the label that does not count."""
        return np.array(self.ignore, self.dtype)

    def counted(self, label: LabelArray) -> LabelArray:
        """Return a mask of the images that count."""
        counted: LabelArray = label != self.ignore
        return counted

    def cropped(self, label: np.ndarray, crop: Crop) -> np.ndarray:
        """Return the label, which scale and crop do not change."""
        return label

    def mirrored(self, label: np.ndarray) -> np.ndarray:
        """Return the label, which a mirror does not change."""
        return label
