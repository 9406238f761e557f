"""``project``: a learned projection of several maps onto one (NDDR-CNN, Gao et al. 2019; MTL-NAS, Gao et al. 2020).

    y = act(BN(W · [x_0, x_1, …]))

The maps are put one behind the other along their channels, and a 1×1 convolution W reads them all. Each read has the
columns of W that are its own, under its own number. So a read that is left out takes its columns with it, and what is
left is what W computed while that read was zeros.
"""

from __future__ import annotations

from typing import Annotated

import onnx_ir as ir
from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.fragments.activation import Activation
from trunkline.fragments.joins.base import Inputs, JoinKind, JoinSettings, reading
from trunkline.fragments.layers import batch_norm, resized
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Attribute, Graph

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class ProjectionSettings(JoinSettings):
    """What a plan says about a projection.

    Attributes:
        starts: A number for each read, in order, of those that are left out too: its columns start as so many times
            the identity.
        activation: What it ends in; nothing if absent.
        normalise: Whether there is a BatchNormalization.
        epsilon: Of the BatchNormalization; 1e-3 is that of both releases.
        momentum: The part of the old statistics that stays; 0.95 is that of both releases.
    """

    starts: tuple[Finite, ...] = Field(min_length=1)
    activation: Activation | None = None
    normalise: bool = True
    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    momentum: Share = 0.95


class Projection(JoinKind):
    """act(BN(W · [x_0, x_1, …])), of the size of the first read, to which all others are resized.

    >>> fragment = Projection().make({0: (8, 4, 4), 2: (6, 2, 2)}, ProjectionSettings(starts=(0.9, 0.1, 0.1)))
    >>> [(name, tuple(value.shape)) for name, value in fragment.initializers.items() if "weight" in name]
    [('weight0', (8, 8, 1, 1)), ('weight2', (8, 6, 1, 1))]
    >>> [node.op_type for node in fragment.nodes]
    ['Resize', 'Concat', 'Concat', 'Conv', 'BatchNormalization']
    """

    name = "project"
    Settings = ProjectionSettings

    def make(self, inputs: Inputs, settings: ProjectionSettings) -> Graph:
        """Return the fragment; the kernel is put together of the reads' columns, which export does once."""
        if len(settings.starts) <= max(inputs):
            text = f"a projection whose last read is number {max(inputs)} has {len(settings.starts)} starts"
            raise InvalidConfig(text, place="settings.starts", advice="give one number for each read")
        if 0 not in inputs:
            text = "the first read of a projection says what size its result has, and cannot be left out"
            raise InvalidConfig(text, place="left_out")
        builder, values = reading(self.name, inputs)
        channels, height, width = inputs[0]
        maps = [resized(builder, x, (height, width), f"resize{number}", "linear") for number, x in values.items()]
        columns = []
        for number, size in inputs.items():
            start = Filler("diagonal", settings.starts[number])
            columns.append(builder.weight(f"weight{number}", (channels, size[0], 1, 1), start))
        kernel = _behind_each_other(builder, columns, "kernel")
        x = _behind_each_other(builder, maps, "maps")
        x = builder.node("Conv", [x, kernel], name="conv", attributes=_ONE_BY_ONE)
        if settings.normalise:
            x = batch_norm(builder, x, "norm", epsilon=settings.epsilon, momentum=settings.momentum)
        if settings.activation is not None:
            x = settings.activation.add(builder, x, "act")
        return builder.finish([x])


_ONE_BY_ONE: dict[str, Attribute] = {
    "kernel_shape": [1, 1],
    "strides": [1, 1],
    "pads": [0] * 4,
    "dilations": [1, 1],
    "group": 1,
}


def _behind_each_other(builder: GraphBuilder, values: list[ir.Value], name: str) -> ir.Value:
    """Return values along axis 1: maps by their channels, parts of a kernel by the channels that they read."""
    if len(values) == 1:
        return values[0]
    return builder.node("Concat", values, name=name, attributes={"axis": 1})
