"""Layers that bring several blobs together, or send one on several ways: Eltwise, Concat, Split, Slice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.source import quoted

_OPS = {"PROD": "Mul", "SUM": "Add", "MAX": "Max"}


def eltwise(layer: Layer) -> ir.Value:
    """Eltwise → a chain of Mul, Add or Max; SUM takes a coefficient per bottom."""
    fields = layer.fields.block("eltwise_param")
    fields.ignore("stable_prod_grad")
    operation = fields.choice("operation", tuple(_OPS), "SUM")
    weights = fields.numbers("coeff")
    _same_shapes(layer, {"SUM": "add", "PROD": "multiply", "MAX": "compare"}[operation])
    if weights and (operation != "SUM" or len(weights) != len(layer.inputs)):
        message = f"{layer.text} has {len(weights)} coefficients for {len(layer.inputs)} bottoms of {operation}"
        raise layer.fault(message, "coeff", "give SUM one per bottom", fields)
    if weights == [1.0, -1.0]:
        return layer.node("Sub", layer.inputs)
    return _chain(layer, _OPS[operation], [_weighted(layer, i, w) for i, w in enumerate(weights)] or layer.inputs)


def concat(layer: Layer) -> ir.Value:
    """Concat → Concat along one axis; the other sizes must agree."""
    fields = layer.fields.block("concat_param")
    if fields.has("axis") and fields.has("concat_dim"):
        raise layer.fault(f"{layer.text} gives axis and concat_dim", "concat_dim", "keep axis", fields)
    axis = layer.axis(fields, name="concat_dim" if fields.has("concat_dim") else "axis")
    for index in range(1, len(layer.inputs)):
        if _without(layer.shape(index), axis) != _without(layer.shape(), axis):
            raise _mismatch(layer, f"join along axis {axis}", index)
    return layer.node("Concat", layer.inputs, {"axis": axis})


def split(layer: Layer) -> Sequence[ir.Value]:
    """Split copies its bottom; a Graph just reads the value several times."""
    return [layer.inputs[0]] * layer.top_count


def slice_(layer: Layer) -> Sequence[ir.Value]:
    """Slice → Split into equal parts, or at the ``slice_point`` positions."""
    fields = layer.fields.block("slice_param")
    axis = layer.axis(fields, name="slice_dim" if fields.has("slice_dim") else "axis")
    size, count = layer.shape()[axis - 1], layer.top_count
    points = fields.integers("slice_point", minimum=1)
    bounds = [0, *points, size] if points else [size * part // count for part in range(count + 1)]
    sizes = [end - start for start, end in pairwise(bounds)]
    if len(sizes) != count or min(sizes) < 1 or (not points and size % count):
        where = f"at {points}" if points else "of equal size"
        raise layer.fault(f"{layer.text} cannot cut axis {axis} ({size}) into {count} parts {where}", within=fields)
    lengths = layer.constant("split", np.array(sizes, dtype=np.int64))
    return layer.nodes("Split", [layer.inputs[0], lengths], {"axis": axis})


def _chain(layer: Layer, op: str, values: Sequence[ir.Value]) -> ir.Value:
    total = values[0]
    for index, value in enumerate(values[1:-1], 2):
        total = layer.step(f"{op.lower()}{index}", op, [total, value])
    return layer.node(op, [total, values[-1]])


def _weighted(layer: Layer, index: int, weight: float) -> ir.Value:
    if weight == 1:
        return layer.inputs[index]
    factor = layer.constant(f"coeff{index}", np.array(weight, np.float32))
    return layer.step(f"scale{index}", "Mul", [layer.inputs[index], factor])


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[: axis - 1], -1, *shape[axis:])


def _same_shapes(layer: Layer, verb: str) -> None:
    for index in range(1, len(layer.inputs)):
        if layer.shape(index) != layer.shape():
            raise _mismatch(layer, verb, index)


def _mismatch(layer: Layer, verb: str, index: int) -> Exception:
    names = [quoted(name) for name, _ in layer.text.bottoms]
    found = f"{names[0]} {layer.written()} and {names[index]} {layer.written(index)}"
    return layer.fault(f"{layer.text} cannot {verb} {found}", "bottom", "check stride, pad and num_output before it")


LAYERS = {
    "Eltwise": Translator(eltwise, bottoms=(2, None)),
    "Concat": Translator(concat, bottoms=(1, None)),
    "Split": Translator(split, tops=(1, None)),
    "Slice": Translator(slice_, tops=(1, None)),
}
