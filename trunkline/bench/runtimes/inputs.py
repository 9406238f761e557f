"""A model's inputs: as it declares them, as they are measured, and random numbers for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trunkline.bench.settings import Settings
from trunkline.errors import InvalidModel
from trunkline.graph.input_size import InputSize

Array = npt.NDArray[Any]
Feeds = tuple[dict[str, Array], ...]

IMAGE_RANK = 4
_COLOURS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class Declared:
    """An input as the model declares it.

    Attributes:
        name: The model's name for it.
        shape: For each axis its size, or the name of a free one; anything else is a free axis without a name.
        dtype: Element type.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: np.dtype[Any]

    @property
    def sizes(self) -> list[int | None]:
        """The fixed sizes, and ``None`` for each free axis. Some exporters write -1 for one."""
        return [size if isinstance(size, int) and size > 0 else None for size in self.shape]

    @property
    def names(self) -> list[str]:
        """The names of the axes; empty for one that is fixed, or free without a name."""
        return [size if isinstance(size, str) else "" for size in self.shape]

    @property
    def is_image(self) -> bool:
        """Whether it has the four axes of an image."""
        return len(self.shape) == IMAGE_RANK

    @property
    def image_axes(self) -> tuple[int, int, int]:
        """Where the channels, the height and the width of an image are.

        ONNX's own operators have the channels second. Exporters of TensorFlow leave the second axis free and fix the
        last one to a number of colours.
        """
        sizes = self.sizes
        return (3, 1, 2) if sizes[1] is None and sizes[3] in _COLOURS else (1, 2, 3)

    def numbered(self, axis: int) -> str:
        """Return what an axis can be called by, whether it has a name or not: ``INPUT:INDEX``."""
        return f"{self.name}:{axis}"

    def __str__(self) -> str:
        shown = [str(size or name or "?") for size, name in zip(self.sizes, self.names, strict=True)]
        return f'input "{self.name}" [{", ".join(shown)}]'


@dataclass(frozen=True, slots=True)
class FedInput:
    """An input as it is measured.

    Attributes:
        declared: The input as the model declares it.
        shape: Its shape, with the size of every axis.
    """

    declared: Declared
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"name": self.declared.name, "shape": list(self.shape), "type": str(self.declared.dtype)}


def filled_size(inputs: Sequence[FedInput]) -> InputSize | None:
    """Return the image size of a model whose file leaves it open: channels, height and width of its only input."""
    # Trunkline reads networks of one image, so only then it has to know the size.
    if len(inputs) != 1 or not inputs[0].declared.is_image:
        return None
    axes, sizes = inputs[0].declared.image_axes, inputs[0].declared.sizes
    if None not in [sizes[axis] for axis in axes]:
        return None
    channels, height, width = (inputs[0].shape[axis] for axis in axes)
    return channels, height, width


def make_feeds(inputs: Sequence[FedInput], settings: Settings, *, place: str) -> Feeds:
    """Draw ``settings.inputs`` different sets of inputs.

    Models whose inputs agree in order, shape and type get the same numbers, whatever the inputs are called.

    Raises:
        InvalidModel: An input is neither a number nor a truth value.
    """
    feeds = []
    for turn in range(settings.inputs):
        feed = {}
        for position, one in enumerate(inputs):
            # Seeded by position and not by name: two exports of a network may call its image differently.
            generator = np.random.default_rng([settings.seed, turn, position])
            feed[one.declared.name] = _draw(one, generator, place)
        feeds.append(feed)
    return tuple(feeds)


def _draw(one: FedInput, generator: np.random.Generator, place: str) -> Array:
    dtype = one.declared.dtype
    if dtype.kind == "f":
        # float16 has no generator of its own.
        return generator.standard_normal(one.shape, dtype=np.float32).astype(dtype)
    # Bytes are pixels.
    if dtype == np.uint8:
        return generator.integers(0, 256, one.shape, dtype=np.uint8)
    # Other integers may be indices or lengths: 0 and 1 are valid for nearly any model.
    if dtype.kind in "iub":
        return generator.integers(0, 2, one.shape).astype(dtype)
    raise InvalidModel(f'input "{one.declared.name}" has type {dtype}, which the bench cannot draw', place=place)
