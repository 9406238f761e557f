"""``attention``: a map times a mask that is learnt from other maps, as in MTAN (Liu et al. 2019).

    y = m · x_0,   m = σ(BN(W_2 · act(BN(W_1 · [x_1, x_2, …]))))

W_1 and W_2 are 1×1 convolutions, so the mask has a number for every channel and position of x_0. The maps that it is
made of are put one behind the other along their channels. Each has the columns of W_1 that are its own, under its own
number: a read that is left out takes its columns with it, and what is left is what W_1 computed while it was zeros.
"""

from __future__ import annotations

import math
from typing import Annotated

import onnx_ir as ir
from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.fragments.joins.base import Inputs, JoinKind, JoinSettings, reading
from trunkline.fragments.layers import Rectifier, batch_norm, convolution, rectified
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Attribute, Graph
from trunkline.text import shape_text

ONE_BY_ONE: dict[str, Attribute] = {
    "kernel_shape": [1, 1],
    "strides": [1, 1],
    "pads": [0] * 4,
    "dilations": [1, 1],
    "group": 1,
}


class AttentionSettings(JoinSettings):
    """What a plan says about an attention.

    Attributes:
        hidden: Channels between the two convolutions.
        rectifier: What follows the first one.
        start: What the mask's last normalisation adds at the start: σ of it is where the mask starts.
    """

    hidden: Annotated[int, Field(ge=1, strict=True)]
    rectifier: Rectifier = "relu"
    start: Annotated[float, Field(allow_inf_nan=False)] = 0.0


class Attention(JoinKind):
    """The first read, masked by what the others say.

    >>> fragment = Attention().make({0: (8, 4, 4), 1: (8, 4, 4), 2: (6, 4, 4)}, AttentionSettings(hidden=2))
    >>> [(name, tuple(value.shape)) for name, value in fragment.initializers.items() if "weight" in name]
    [('hidden.weight1', (2, 8, 1, 1)), ('hidden.weight2', (2, 6, 1, 1)), ('mask.weight', (8, 2, 1, 1))]
    >>> [node.op_type for node in fragment.nodes]
    ['Concat', 'Concat', 'Conv', 'BatchNormalization', 'Relu', 'Conv', 'BatchNormalization', 'Sigmoid', 'Mul']
    """

    name = "attention"
    Settings = AttentionSettings

    def make(self, inputs: Inputs, settings: AttentionSettings) -> Graph:
        """Return the fragment; W_1 is put together of the reads' columns, which export does once."""
        _check(inputs)
        builder, values = reading(self.name, inputs)
        masked, *asked = values.values()
        x = builder.node(
            "Conv",
            [_joined(builder, asked, "asked"), _first_kernel(builder, inputs, settings.hidden)],
            name="hidden",
            attributes=ONE_BY_ONE,
        )
        x = rectified(builder, batch_norm(builder, x, "hidden.norm"), "hidden.relu", settings.rectifier)
        x = convolution(builder, x, "mask", inputs[0][0], bias=False)
        x = batch_norm(builder, x, "mask.norm", bias=settings.start)
        mask = builder.node("Sigmoid", [x], name="mask.sigmoid")
        return builder.finish([builder.node("Mul", [masked, mask], name="masked")])


def _check(inputs: Inputs) -> None:
    if 0 not in inputs or len(inputs) < 2:
        text = "attention masks its first read by what the others say, so it needs that one and another"
        raise InvalidConfig(text, place="reads")
    for number, size in inputs.items():
        if size[1:] != inputs[0][1:]:
            text = f"is {shape_text((None, *size))}, and the first read {shape_text((None, *inputs[0]))}"
            advice = "attention reads maps of one height and width, of any channels"
            raise InvalidConfig(text, place=f"reads.{number}", advice=advice)


def _first_kernel(builder: GraphBuilder, inputs: Inputs, hidden: int) -> ir.Value:
    sizes = {number: channels for number, (channels, _, _) in inputs.items() if number}
    # He et al. (2015) for the kernel as a whole, which reads all of these channels.
    filler = Filler("gaussian", math.sqrt(2 / sum(sizes.values())))
    columns = []
    for number, channels in sizes.items():
        columns.append(builder.weight(f"hidden.weight{number}", (hidden, channels, 1, 1), filler))
    return _joined(builder, columns, "hidden.weight")


def _joined(builder: GraphBuilder, values: list[ir.Value], name: str) -> ir.Value:
    """Return values one behind the other along axis 1: maps by their channels, columns by what they read."""
    if len(values) == 1:
        return values[0]
    return builder.node("Concat", values, name=name, attributes={"axis": 1})
