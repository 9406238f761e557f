"""Layers that bring several blobs together, or send one on several ways: Eltwise, Axpy, Concat, Split, Slice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.layers.affine import spread
from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.layers.site import LayerFaultError
from trunkline.text import quoted

# In the order of Caffe's enum, whose numbers a file may give.
_OPS = {"PROD": "Mul", "SUM": "Add", "MAX": "Max"}


def eltwise(layer: Layer) -> ir.Value:
    """Eltwise → a chain of Mul, Add or Max; SUM takes a coefficient per bottom."""
    fields = layer.fields.block("eltwise_param")
    operation = fields.choice("operation", tuple(_OPS), "SUM")
    weights = fields.numbers("coeff")
    _same_shapes(layer, {"SUM": "add", "PROD": "multiply", "MAX": "compare"}[operation])
    # Caffe takes coefficients for sums alone, too.
    if weights and (operation != "SUM" or len(weights) != len(layer.inputs)):
        message = f"{layer.text} has {len(weights)} coefficients for {len(layer.inputs)} bottoms of {operation}"
        raise layer.layer_error(message, "coeff", "give SUM one per bottom", fields)
    if weights == [1.0, -1.0]:  # what the writer makes of a Sub
        return layer.node("Sub", layer.inputs)
    values = layer.inputs
    if weights:
        values = [_weighted(layer, index, weight) for index, weight in enumerate(weights)]
    return _chain(layer, _OPS[operation], values)


def axpy(layer: Layer) -> ir.Value:
    """Axpy: a · x + y with one factor per channel (Hu et al. 2018) → Mul, Add."""
    factor, x, y = (layer.shape(index) for index in range(3))
    if x != y:
        raise _mismatch_error(layer, "add", 2, 1)
    one_per_channel = bool(x) and factor[:1] == x[:1] and all(size == 1 for size in factor[1:])
    if not one_per_channel or len(factor) > len(x):
        message = f"{layer.text} needs one factor per channel of {layer.written(1)}, found {layer.written(0)}"
        raise layer.layer_error(message, "bottom", "N x C, or N x C x 1 x 1")
    product = layer.step("mul", "Mul", [layer.inputs[1], spread(layer, 0, len(x))])
    return layer.node("Add", [product, layer.inputs[2]])


def concat(layer: Layer) -> ir.Value:
    """Concat → Concat along one axis; the other sizes must agree."""
    fields = layer.fields.block("concat_param")
    if fields.has("axis") and fields.has("concat_dim"):
        raise layer.layer_error(f"{layer.text} gives axis and concat_dim", "concat_dim", "keep axis", fields)
    # concat_dim is the older name, from when every blob had four axes; Caffe still reads it.
    axis = layer.axis(fields, name="concat_dim" if fields.has("concat_dim") else "axis")
    for index in range(1, len(layer.inputs)):
        if _without(layer.shape(index), axis) != _without(layer.shape(), axis):
            raise _mismatch_error(layer, f"join along axis {axis}", index)
    return layer.node("Concat", layer.inputs, {"axis": axis})


def split(layer: Layer) -> Sequence[ir.Value]:
    """Split copies its bottom, for Caffe's own sake; in a Graph a value may have several readers."""
    return [layer.inputs[0]] * layer.top_count


def slice_(layer: Layer) -> Sequence[ir.Value]:
    """Slice → Split into equal parts, or at the ``slice_point`` positions."""
    fields = layer.fields.block("slice_param")
    if fields.has("axis") and fields.has("slice_dim"):
        raise layer.layer_error(f"{layer.text} gives axis and slice_dim", "slice_dim", "keep axis", fields)
    axis = layer.axis(fields, name="slice_dim" if fields.has("slice_dim") else "axis")
    size, count = layer.shape()[axis - 1], layer.top_count
    points = fields.integers("slice_point", minimum=1)
    bounds = [0, *points, size]
    if not points:  # Caffe then cuts equal parts
        bounds = [size * part // count for part in range(count + 1)]
    sizes = [end - start for start, end in pairwise(bounds)]
    is_even = bool(points) or size % count == 0
    if len(sizes) != count or min(sizes) < 1 or not is_even:
        where = f"at {points}" if points else "of equal size"
        raise layer.layer_error(
            f"{layer.text} cannot cut axis {axis} ({size}) into {count} parts {where}", within=fields
        )
    if count == 1:
        return layer.inputs
    lengths = layer.constant("split", np.array(sizes, dtype=np.int64))
    return layer.nodes("Split", [layer.inputs[0], lengths], {"axis": axis})


def _chain(layer: Layer, op: str, values: Sequence[ir.Value]) -> ir.Value:
    total = values[0]
    for index, value in enumerate(values[1:-1], 2):
        total = layer.step(f"{op.lower()}{index}", op, [total, value])
    return layer.node(op, [total, values[-1]])


def _weighted(layer: Layer, index: int, weight: float) -> ir.Value:
    if weight == 1:  # a factor that changes nothing gets no node
        return layer.inputs[index]
    return layer.step(f"scale{index}", "Mul", [layer.inputs[index], layer.number(f"coeff{index}", weight)])


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[: axis - 1], -1, *shape[axis:])


def _same_shapes(layer: Layer, verb: str) -> None:
    for index in range(1, len(layer.inputs)):
        if layer.shape(index) != layer.shape():
            raise _mismatch_error(layer, verb, index)


def _mismatch_error(layer: Layer, verb: str, index: int, first: int = 0) -> LayerFaultError:
    names = [quoted(name) for name, _ in layer.text.bottoms]
    found = f"{names[first]} {layer.written(first)} and {names[index]} {layer.written(index)}"
    return layer.layer_error(
        f"{layer.text} cannot {verb} {found}", "bottom", "check stride, pad and num_output before it"
    )


LAYERS = {
    "Eltwise": Translator(eltwise, bottoms=(2, None)),
    "Axpy": Translator(axpy, bottoms=(3, 3)),
    "Concat": Translator(concat, bottoms=(1, None)),
    "Split": Translator(split, tops=(1, None), reads_masks=True),
    "Slice": Translator(slice_, tops=(1, None)),
}
