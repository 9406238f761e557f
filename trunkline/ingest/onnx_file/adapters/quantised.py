"""Weights that are stored as small whole numbers: a DequantizeLinear of a stored tensor is the weight it stands for.

What it gives is exactly y = (x − zero point) · scale, in the precision of the scale. A QuantizeLinear before it rounds
first, as training for quantisation does with its weights. What is computed from the image is never quantised here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of
from trunkline.graph.passes.editor import Editor, input_at
from trunkline.ingest.onnx_file.adapters.decompose import become
from trunkline.ingest.onnx_file.adapters.registry import before, unsupported_form
from trunkline.ingest.onnx_file.proto.unsupported import QUANTISED
from trunkline.text import shape_text

_ANY_OPSET = 1_000
_ROUNDED = frozenset(ir.DataType[name] for name in ("INT4", "INT8", "INT16", "UINT4", "UINT8", "UINT16"))

_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})

Array = np.ndarray[Any, np.dtype[Any]]


@before(_ANY_OPSET, "DequantizeLinear")
def dequantize(node: ir.Node, editor: Editor) -> None:
    """Store the float weight under the name of the whole numbers, which are removed with their last reader."""
    source, stored, scale, zero = _operands(node)
    scale_type = scale.dtype
    wide = _spread(node, scale.numpy(), tuple(stored.shape.numpy()))
    offset = None if zero is None else _spread(node, zero.numpy(), tuple(stored.shape.numpy()))
    kind = _output_type(node, scale_type)
    if kind not in _FLOATS:
        raise InvalidModel(f"DequantizeLinear: output_dtype {kind}", place=name_of(node))

    def weight() -> ir.TensorProtocol:
        numbers = _numbers(stored) if offset is None else _numbers(stored) - offset.astype(np.float32)
        exact = numbers.astype(np.float32) * wide.astype(np.float32)
        return ir.Tensor(exact.astype(scale_type.numpy()).astype(kind.numpy()), dtype=kind)

    _replace(node, editor, source, ir.LazyTensor(weight, kind, ir.Shape(stored.shape.numpy()), cache=False))


@before(_ANY_OPSET, "QuantizeLinear")
def quantize(node: ir.Node, editor: Editor) -> None:
    """Round a stored weight: the nearest whole number, of two the even one, inside the range of its type."""
    source, stored, scale, zero = _operands(node)
    kind = zero.dtype if zero is not None else _output_type(node, ir.DataType.UINT8)  # ONNX's default
    if kind not in _ROUNDED:
        raise unsupported_form(node, f"rounding to {kind}", "give the file as it was before it was quantised")
    sizes = tuple(stored.shape.numpy())
    wide = _spread(node, scale.numpy(), sizes).astype(np.float32)
    offset = np.zeros((), np.float32) if zero is None else _spread(node, zero.numpy(), sizes).astype(np.float32)
    lowest, highest = _range(kind)

    def rounded() -> ir.TensorProtocol:
        numbers = np.clip(np.rint(stored.numpy().astype(np.float32) / wide) + offset, lowest, highest)
        return ir.Tensor(numbers.astype(kind.numpy()), dtype=kind)

    _replace(node, editor, source, ir.LazyTensor(rounded, kind, ir.Shape(sizes), cache=False))


def _output_type(node: ir.Node, usual: ir.DataType) -> ir.DataType:
    code = attribute(node, "output_dtype", 0) or int(usual)
    if code not in [int(kind) for kind in ir.DataType]:
        raise InvalidModel(f"{node.op_type}: output_dtype {code} is no type", place=name_of(node))
    return ir.DataType(code)


def _operands(node: ir.Node) -> tuple[ir.Value, ir.TensorProtocol, ir.TensorProtocol, ir.TensorProtocol | None]:
    """Return the value that is read, and the tensors of it, its scale and its zero point.

    Raises:
        UnsupportedOp: One of them is computed from the image.
        InvalidModel: They do not fit.
    """
    values = [input_at(node, index) for index in range(3)]
    tensors = [None if value is None else value.const_value for value in values]
    if any(value is not None and tensor is None for value, tensor in zip(values, tensors, strict=True)):
        raise unsupported_form(node, "a value that is computed from the image", QUANTISED)
    (source, _, _), (stored, scale, zero) = values, tensors
    if source is None or stored is None or scale is None or not scale.dtype.is_floating_point():
        raise InvalidModel(f"{node.op_type}: a stored tensor and a scale were expected", place=name_of(node))
    if not (np.isfinite(scale.numpy().astype(np.float64)) & (scale.numpy() != 0)).all():
        raise InvalidModel(f"{node.op_type}: a scale that is 0 or not finite", place=name_of(node))
    if zero is not None and zero.shape != scale.shape and (zero.size, scale.size) != (1, 1):
        text = f"{node.op_type}: the zero point is {shape_text(zero.shape)}, the scale {shape_text(scale.shape)}"
        raise InvalidModel(text, place=name_of(node))
    return source, stored, scale, zero


def _spread(node: ir.Node, given: Array, sizes: tuple[int, ...]) -> Array:
    """Return scales or zero points so that they broadcast to ``sizes``.

    1. One number holds for all.
    2. A vector holds one number for each index of ``axis``.
    3. With a block size (opset 21), there is one number for each block along ``axis``.
    """
    if given.size == 1:  # rule 1
        return given.reshape(())
    axis, block = attribute(node, "axis", 1), attribute(node, "block_size", 0)
    if -len(sizes) <= axis < len(sizes):
        axis %= len(sizes)
        if not block and given.shape == (sizes[axis],):  # rule 2
            return given.reshape(-1, *[1] * (len(sizes) - axis - 1))
        blocks = list(sizes)
        blocks[axis] = -(-sizes[axis] // max(1, block))
        if block > 0 and given.shape == tuple(blocks):  # rule 3
            spread: Array = given.take(np.arange(sizes[axis]) // block, axis=axis)
            return spread
    text = (
        f"{node.op_type}: a scale of {shape_text(given.shape)} for {shape_text(sizes)}, axis {axis}, blocks of {block}"
    )
    raise InvalidModel(text, place=name_of(node))


def _numbers(stored: ir.TensorProtocol) -> Array:
    """Return whole numbers so that their differences are exact."""
    # float32 does not hold every number of 32 bits, and a difference of bytes does not fit into a byte.
    is_whole = stored.dtype in (ir.DataType.INT32, *_ROUNDED)
    return stored.numpy().astype(np.int64 if is_whole else np.float32)


def _range(kind: ir.DataType) -> tuple[int, int]:
    bits = int(kind.itemsize * 8)
    if kind.name.startswith("U"):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _replace(node: ir.Node, editor: Editor, source: ir.Value, tensor: ir.TensorProtocol) -> None:
    """Make ``node`` the copy of a new stored tensor, which takes the name of what it stands for.

    Nodes that do the same to the same tensor stand for one weight.
    """
    settings = sorted((name, str(item.value)) for name, item in node.attributes.items())
    operands = [value and value.name for value in node.inputs[1:]]
    # Kept on the value itself, so that it is forgotten with the graph.
    key = f"trunkline.{node.op_type} {settings} {operands}"
    if key not in source.meta:
        name = name_of(source)
        source.name = editor.take_name(f"{name}.{source.dtype}")
        source.meta[key] = editor.store(name, tensor)
    become(node, "Identity", [source.meta[key]])
