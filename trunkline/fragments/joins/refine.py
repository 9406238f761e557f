"""``refine``: a map brought to other channels and another size, as between the stages of MTAN (Liu et al. 2019).

``plain`` is a 3×3 convolution with BatchNormalization and ReLU, as beside SegNet. ``bottleneck`` is the block of a
ResNet (He et al. 2016): 1×1, 3×3 and 1×1 convolutions with a quarter of the channels inside, and a 1×1 projection as
its shortcut. A max-pooling behind it makes the map coarser, and a bilinear resize finer.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import onnx_ir as ir
from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.fragments.joins.base import Inputs, JoinKind, JoinSettings, reading
from trunkline.fragments.layers import Rectifier, batch_norm, convolution, normalised, rectified, resized
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Attribute, Graph, shape_of

Form = Literal["plain", "bottleneck"]
Count = Annotated[int, Field(ge=1, strict=True)]


class RefineSettings(JoinSettings):
    """What a plan says about a refinement.

    Attributes:
        channels: Of the result.
        size: Height and width of the result.
        form: ``plain`` or ``bottleneck``.
        separable: Whether its 3×3 convolution is a depthwise one and a 1×1 one.
        rectifier: What follows its normalisations.
    """

    channels: Count
    size: tuple[Count, Count]
    form: Form = "plain"
    separable: bool = False
    rectifier: Rectifier = "relu"


class Refine(JoinKind):
    """A convolution block, and a pooling where the result is coarser.

    >>> fragment = Refine().make({0: (8, 7, 10)}, RefineSettings(channels=12, size=(4, 5)))
    >>> [node.op_type for node in fragment.nodes], shape_of(fragment.outputs[0])
    (['Conv', 'BatchNormalization', 'Relu', 'MaxPool'], (None, 12, 4, 5))
    """

    name = "refine"
    Settings = RefineSettings

    def make(self, inputs: Inputs, settings: RefineSettings) -> Graph:
        """Return the fragment."""
        if len(inputs) != 1:
            raise InvalidConfig(f"a refinement reads one map, not {len(inputs)}", place="reads")
        builder, values = reading(self.name, inputs)
        (x,) = values.values()
        x = (_plain if settings.form == "plain" else _bottleneck)(builder, x, settings)
        return builder.finish([_brought_to(builder, x, settings.size)])


def _plain(builder: GraphBuilder, x: ir.Value, settings: RefineSettings) -> ir.Value:
    return _three_by_three(builder, x, "conv", settings.channels, settings)


def _bottleneck(builder: GraphBuilder, x: ir.Value, settings: RefineSettings) -> ir.Value:
    inner = max(1, settings.channels // 4)
    y = normalised(builder, x, "reduce", inner, rectifier=settings.rectifier)
    y = _three_by_three(builder, y, "conv", inner, settings)
    y = _linear(builder, y, "expand", settings.channels)
    total = builder.node("Add", [y, _linear(builder, x, "shortcut", settings.channels)], name="sum")
    return rectified(builder, total, "relu", settings.rectifier)


def _three_by_three(builder: GraphBuilder, x: ir.Value, name: str, channels: int, settings: RefineSettings) -> ir.Value:
    return normalised(builder, x, name, channels, kernel=3, depthwise=settings.separable, rectifier=settings.rectifier)


def _linear(builder: GraphBuilder, x: ir.Value, name: str, channels: int) -> ir.Value:
    return batch_norm(builder, convolution(builder, x, name, channels, bias=False), f"{name}.norm")


class _Window(NamedTuple):
    """One side of a pooling's windows; ``end`` is what is padded behind the last position."""

    stride: int
    extent: int
    end: int


def _brought_to(builder: GraphBuilder, x: ir.Value, size: tuple[int, int]) -> ir.Value:
    """Return a map of this height and width: what is too large is pooled, and then what is too small resized."""
    before = [int(side or 0) for side in shape_of(x)[2:]]
    windows = [_window(old, min(old, new)) for old, new in zip(before, size, strict=True)]
    if any(window != (1, 1, 0) for window in windows):
        rows, columns = windows
        attributes: dict[str, Attribute] = {
            "kernel_shape": [rows.extent, columns.extent],
            "strides": [rows.stride, columns.stride],
            "pads": [0, 0, rows.end, columns.end],
            "dilations": [1, 1],
            "ceil_mode": 0,
        }
        x = builder.node("MaxPool", [x], name="pool", attributes=attributes)
    return resized(builder, x, size, "resize", "linear")


def _window(old: int, new: int) -> _Window:
    """Return windows that cover ``old`` positions and make ``new`` of them.

    >>> [tuple(_window(old, 4)) for old in (8, 7, 9, 4)]
    [(2, 2, 0), (2, 2, 1), (2, 3, 0), (1, 1, 0)]
    """
    stride = -(-old // new)
    # Windows side by side, the last of which may reach over the end, but not lie behind it: there is no maximum.
    if (new - 1) * stride < old:
        return _Window(stride, stride, new * stride - old)
    # Otherwise they overlap, all alike.
    stride = old // new
    return _Window(stride, old - (new - 1) * stride, 0)
