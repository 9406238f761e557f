"""Follow the axes of an image through a network, node by node, in time linear in its size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx_ir as ir

from trunkline.graph.axes import indices, products, rules, windows
from trunkline.graph.axes.axis import BATCH, CHANNEL, COLUMN, FREE, ROW, SAME, Axes, Sizes, is_mixed, of
from trunkline.graph.axes.rules import InputAxes, Rule
from trunkline.graph.computed_weights import computes_weight
from trunkline.graph.elementwise import BROADCASTING, UNARY
from trunkline.graph.graph import Graph, inputs_of

FIRST = (BATCH, CHANNEL, ROW, COLUMN)
"""The axes of an image ``[N, C, H, W]``."""
LAST = (BATCH, ROW, COLUMN, CHANNEL)
"""The axes of an image ``[N, H, W, C]``."""


def axes_of(graph: Graph) -> dict[ir.Value, Axes]:
    """Return what the axes of every computed value of ``graph`` count; a computed weight is like a stored one.

    Axes are shown by :func:`trunkline.graph.axes.axis.in_words`:

    >>> import trunkline
    >>> from trunkline.graph.axes.axis import in_words
    >>> graph = trunkline.read("zoo:tiny")
    >>> in_words(axes_of(graph)[graph.outputs[0]])
    'batch, channels, rows, columns'
    """
    nodes = graph.nodes
    found = follow((node for node in nodes if not computes_weight(node)), graph.input, FIRST)
    for node in nodes:
        if computes_weight(node):
            found |= {value: _stored(value).axes for value in node.outputs}
    return found


def follow(nodes: Iterable[ir.Node], image: ir.Value, kinds: tuple[str, ...]) -> dict[ir.Value, Axes]:
    """Return what the axes of ``image`` and of all that ``nodes`` write count.

    Args:
        nodes: In topological order, with shapes in which only the batch may be free.
        image: The value they start from.
        kinds: What the axes of ``image`` count: :data:`FIRST` or :data:`LAST`.
    """
    sizes = sizes_of(image)
    known = {image: InputAxes(tuple(map(of, kinds, sizes)), sizes)}
    of_weights: dict[ir.Value, Axes] = {}
    for node in nodes:
        if known.keys().isdisjoint(inputs_of(node)):
            # What no image changes, as a table of parameters that a network works on, means what it is added to.
            of_weights |= {value: _stored(value).axes for value in node.outputs}
            continue
        reads = [None if value is None else known.get(value) or _stored(value) for value in node.inputs]
        outputs = [sizes_of(value) for value in node.outputs]
        rule = RULES.get(node.op_type, rules.unknown)
        found = rule(node, reads, outputs)
        # Once rows have met columns, no later operator makes a picture of the image again.
        read_mixed = any(read is not None and is_mixed(read.axes) for read in reads)
        if read_mixed or any(map(is_mixed, found)):
            found = rules.mixed(outputs)
        for value, axes, size in zip(node.outputs, found, outputs, strict=True):
            known[value] = InputAxes(_with_batch(axes, size), size)
    return of_weights | {value: read.axes for value, read in known.items()}


def sizes_of(value: ir.Value) -> Sizes:
    """Return the sizes of a value; :data:`FREE` stands for the free batch, so that sizes can be multiplied."""
    return tuple(size if isinstance(size, int) else FREE for size in value.shape or ())


def _stored(value: ir.Value) -> InputAxes:
    sizes = sizes_of(value)
    return InputAxes(tuple(of(SAME, size) for size in sizes), sizes)


def _with_batch(axes: Axes, sizes: Sizes) -> Axes:
    """A free axis is the batch, whatever else is lost."""
    if FREE not in sizes:
        return axes
    return tuple(of(BATCH, FREE) if size == FREE else axis for axis, size in zip(axes, sizes, strict=True))


FUNCTIONS = UNARY | {"PRelu", "Swish"}
"""Operators that work on each number by itself. A PRelu's slopes and a Swish's factor do not move axes."""

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(FUNCTIONS, rules.as_first),
    **dict.fromkeys(BROADCASTING, rules.number_by_number),
    **dict.fromkeys(
        [
            *("BatchNormalization", "CumSum", "GroupNormalization", "Hardmax", "InstanceNormalization", "LRN"),
            *("LayerNormalization", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization"),
            *("RMSNormalization", "Softmax"),
        ],
        rules.as_first,
    ),
    **dict.fromkeys(
        [
            *("ArgMax", "ArgMin", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
            *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
        ],
        rules.reduced,
    ),
    **dict.fromkeys(["Conv", "ConvTranspose"], windows.convolved),
    **dict.fromkeys(["AveragePool", "LpPool", "MaxPool"], windows.pooled),
    **dict.fromkeys(["GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"], windows.pooled_globally),
    **dict.fromkeys(["CenterCropPad", "MaxUnpool", "Resize"], windows.resized),
    **dict.fromkeys(["DepthToSpace", "SpaceToDepth"], windows.pixels_to_channels),
    **dict.fromkeys(["Expand", "Tile"], rules.repeated),
    **dict.fromkeys(["Flatten", "Reshape"], rules.reshaped),
    **dict.fromkeys(["ScatterElements", "ScatterND"], indices.scattered),
    "Concat": rules.joined,
    "Einsum": products.einsum,
    "Gather": indices.gathered,
    "GatherElements": indices.picked_one_by_one,
    "GatherND": indices.gathered_together,
    "Gemm": products.affine,
    "GridSample": windows.sampled,
    "MatMul": products.multiplied,
    "Pad": rules.padded,
    "Slice": rules.sliced,
    "Split": rules.split,
    "Squeeze": rules.squeezed,
    "Transpose": rules.transposed,
    "Unsqueeze": rules.unsqueezed,
}
"""For every operator that a Graph may hold, how it passes axes on."""
