"""What the bench asks of a runtime: a session whose timed region is stated and whose settings are read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trunkline.bench.settings import Settings
from trunkline.errors import InvalidModel
from trunkline.ingest.graph import Graph

Array = npt.NDArray[Any]
Feeds = tuple[dict[str, Array], ...]


class Session(Protocol):
    """One loaded model, ready to run on inputs it already holds.

    Attributes:
        region: What lies inside the timed region, in words.
        provider: What really executes the model, as read back from the runtime.
        threads: Threads inside one operator.
        spinning: Whether idle threads burn cycles; ``None`` where the runtime does not say.
    """

    region: str
    provider: str
    threads: int
    spinning: bool | None

    def feed(self, index: int) -> None:
        """Choose input ``index`` (modulo the number prepared) for the next run. Not timed."""

    def run(self) -> None:
        """Execute the model once; returns when the outputs are complete. This, and only this, is timed."""

    def outputs(self) -> dict[str, Array]:
        """Return copies of the outputs of the last run. Not timed."""
        ...

    def describe(self) -> Mapping[str, str]:
        """Return the runtime's name, version and options."""
        ...

    def close(self) -> None:
        """Give back memory and restore process-wide settings."""


class Runtime(Protocol):
    """Something that turns a model into a :class:`Session`."""

    def prepare(self, model: Path | Graph, settings: Settings) -> Session:
        """Load ``model``, make its inputs, and run it once.

        Raises:
            InvalidModel: The model cannot be loaded or its inputs cannot be made.
            WorkFailed: The runtime or its provider is not available, or the model cannot run on it.
        """
        ...


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input the bench must fill.

    Attributes:
        name: The model's name for it.
        shape: With the batch size filled in.
        dtype: Element type.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def fixed_shape(name: str, shape: Sequence[int | str | None], batch: int, *, place: str) -> tuple[int, ...]:
    """Return an input's shape with the batch size in place of a free first axis.

    Args:
        name: The input's name, for the message.
        shape: As the model declares it; anything but a positive integer is free.
        batch: Images a run.
        place: The model, for the message.

    Raises:
        InvalidModel: Another axis is free, or the first is fixed to something else than ``batch``.
    """
    sizes = [size if isinstance(size, int) and size > 0 else None for size in shape]
    if None in sizes[1:]:
        raise InvalidModel(
            f'input "{name}" has shape {list(shape)}: an axis other than the first is free',
            place=place,
            advice="convert the model with a fixed image size first",
        )
    if sizes and sizes[0] is not None and sizes[0] != batch:
        raise InvalidModel(
            f'input "{name}" is fixed to batch {sizes[0]}, and batch {batch} was asked for',
            place=place,
            advice=f"measure it with batch {sizes[0]}, or export it with a free batch axis",
        )
    return tuple(batch if size is None else size for size in sizes)


def make_feeds(specs: Sequence[InputSpec], settings: Settings, *, place: str) -> Feeds:
    """Draw ``settings.inputs`` different sets of inputs.

    Models whose inputs agree in order, shape and type get the same numbers, whatever the inputs are called.

    Raises:
        InvalidModel: An input is neither a number nor a truth value.
    """
    return tuple(
        {
            spec.name: _draw(spec, np.random.default_rng([settings.seed, turn, position]), place)
            for position, spec in enumerate(specs)
        }
        for turn in range(settings.inputs)
    )


def _draw(spec: InputSpec, generator: np.random.Generator, place: str) -> Array:
    if spec.dtype.kind == "f":
        return generator.standard_normal(spec.shape, dtype=np.float32).astype(spec.dtype)
    if spec.dtype == np.uint8:
        return generator.integers(0, 256, spec.shape, dtype=np.uint8)
    if spec.dtype.kind in "iub":
        return generator.integers(0, 2, spec.shape).astype(spec.dtype)
    raise InvalidModel(f'input "{spec.name}" has type {spec.dtype}, which the bench cannot draw', place=place)
