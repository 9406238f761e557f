"""``subspaces``: a weighted sum of equal channel groups of several maps, as in Sluice Networks (Ruder et al. 2019).

The channels of every map are S groups, one behind the other. Group s of the result is Σ_k Σ_r α_k[s, r] · x_k[r], over
reads k and their groups r. With the groups as channels that is a 1×1 convolution from K·S channels to S.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import Field, model_validator

from trunkline.errors import InvalidConfig
from trunkline.fragments.joins.base import Inputs, JoinKind, JoinSettings, reading
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Attribute, Graph
from trunkline.text import shape_text

Row = Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(min_length=1)]
Square = Annotated[tuple[Row, ...], Field(min_length=1)]

_ONE_BY_ONE: dict[str, Attribute] = {
    "kernel_shape": [1, 1],
    "strides": [1, 1],
    "pads": [0] * 4,
    "dilations": [1, 1],
    "group": 1,
}


class SubspacesSettings(JoinSettings):
    """What a plan says about a mix of subspaces.

    Attributes:
        starts: Initial α_k of each read, S rows of S numbers, in order, of reads that are left out too.
    """

    starts: tuple[Square, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _all_square(self) -> Self:
        sizes = {len(self.starts[0])}
        for square in self.starts:
            sizes |= {len(square), *map(len, square)}
        if len(sizes) > 1:
            raise ValueError("every read has S rows of S numbers, with one S")
        return self


class Subspaces(JoinKind):
    """Σ_k Σ_r α_k[s, r] · x_k[r], with trainable α.

    >>> half = ((0.5, 0.0), (0.0, 0.5))
    >>> fragment = Subspaces().make({0: (8, 4, 4), 2: (8, 4, 4)}, SubspacesSettings(starts=(half, half, half)))
    >>> [(name, tuple(value.shape)) for name, value in fragment.initializers.items() if "weight" in name]
    [('weight0', (2, 2, 1, 1)), ('weight2', (2, 2, 1, 1))]
    """

    name = "subspaces"
    Settings = SubspacesSettings

    def make(self, inputs: Inputs, settings: SubspacesSettings) -> Graph:
        """Return the fragment: groups become channels, are convolved, and become groups again."""
        _check(inputs, settings)
        builder, values = reading(self.name, inputs)
        count, (channels, height, width) = len(settings.starts[0]), next(iter(inputs.values()))
        x = _behind_each_other(builder, list(values.values()), "maps")
        x = _reshaped(builder, x, (count * len(inputs), channels // count * height, width), "groups")
        squares = []
        for number in inputs:
            # Stored with these numbers, and not described: no filler is an arbitrary matrix.
            content = np.array(settings.starts[number], np.float32)[:, :, None, None]
            squares.append(builder.tensor(f"weight{number}", content))
        kernel = _behind_each_other(builder, squares, "kernel")
        x = builder.node("Conv", [x, kernel], name="conv", attributes=_ONE_BY_ONE)
        return builder.finish([_reshaped(builder, x, (channels, height, width), "map")])

    def shares(self, weights: Mapping[str, NDArray[np.float32]]) -> dict[int, float]:
        """Return the mean over s of Σ_r α_k[s, r]: what a map counts whose groups are alike.

        >>> square = np.float32([[0.5, 0.25], [0.0, 0.25]])[:, :, None, None]
        >>> Subspaces().shares({"weight1": square, "maps.shape": np.int64([0, 2])})
        {1: 0.5}
        """
        squares = {name: weight for name, weight in weights.items() if name.startswith("weight")}
        return {int(name.removeprefix("weight")): float(square.sum(1).mean()) for name, square in squares.items()}


def _check(inputs: Inputs, settings: SubspacesSettings) -> None:
    if len(settings.starts) <= max(inputs):
        text = f"a mix of subspaces whose last read is number {max(inputs)} has {len(settings.starts)} starts"
        raise InvalidConfig(text, place="settings.starts", advice="give one square for each read")
    if len(set(inputs.values())) > 1:
        shapes = ", ".join(shape_text((None, *size)) for size in inputs.values())
        raise InvalidConfig(f"subspaces are added up of values of one shape, not of {shapes}", place="reads")
    count, channels = len(settings.starts[0]), next(iter(inputs.values()))[0]
    if channels % count:
        text = f"{channels} channels are not {count} equal subspaces"
        raise InvalidConfig(text, place="settings.starts", advice="take a number that divides all widths, or 1")


def _reshaped(builder: GraphBuilder, x: ir.Value, size: tuple[int, ...], name: str) -> ir.Value:
    # 0 leaves the batch as it is.
    shape = builder.tensor(f"{name}.shape", np.array([0, *size], np.int64))
    return builder.node("Reshape", [x, shape], name=name, attributes={"allowzero": 0})


def _behind_each_other(builder: GraphBuilder, values: list[ir.Value], name: str) -> ir.Value:
    if len(values) == 1:
        return values[0]
    return builder.node("Concat", values, name=name, attributes={"axis": 1})
