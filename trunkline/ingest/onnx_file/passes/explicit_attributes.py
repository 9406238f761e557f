"""Write down every attribute that ONNX lets a file leave out, so that no reader has to know the defaults."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import OPSET, attribute, name_of, shape_of
from trunkline.graph.passes.editor import put
from trunkline.ingest.onnx_file.passes.auto_pad import resolve_auto_pad

_WINDOWS = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"})
_DILATED = frozenset({"Conv", "ConvTranspose", "MaxPool", "LpPool"})
LARGEST_WINDOW = 2**20
"""No window is wider, nor its padding: beyond it, ONNX's own size arithmetic could overflow."""


def make_explicit(node: ir.Node) -> None:
    """Complete the attributes of ``node``; the shapes of its inputs must be known.

    1. Windows: kernel, strides, padding and dilations per axis, and no ``auto_pad``.
    2. Transpose: ``perm``.
    3. Everything else: the default that its ONNX definition names.

    Raises:
        InvalidModel: A window does not fit its input's rank, or is absurdly large.
    """
    if node.op_type in _WINDOWS:  # rule 1
        _complete_window(node)
    if node.op_type == "Transpose" and "perm" not in node.attributes:  # rule 2
        put(node, "perm", list(reversed(range(len(_shape(node, 0))))))
    for name, definition in onnx.defs.get_schema(node.op_type, OPSET, "").attributes.items():  # rule 3
        if definition.default_value.name and name not in node.attributes and name != "auto_pad":
            node.attributes[name] = ir.serde.deserialize_attribute(definition.default_value)


def _complete_window(node: ir.Node) -> None:
    """Write down kernel, strides, dilations and padding of a window (rule 1)."""
    rank = len(_shape(node, 0)) - 2
    if rank < 1:
        raise InvalidModel(f"{node.op_type}: its input needs axes besides batch and channels", place=name_of(node))
    if "kernel_shape" not in node.attributes:
        put(node, "kernel_shape", [size or 0 for size in _shape(node, 1)[2:]])
    put(node, "strides", attribute(node, "strides") or [1] * rank)
    if node.op_type in _DILATED:
        put(node, "dilations", attribute(node, "dilations") or [1] * rank)
    if node.op_type == "ConvTranspose" and "output_shape" not in node.attributes:
        # With an output shape, the padding is what is needed to reach it; see auto_pad.py.
        put(node, "output_padding", attribute(node, "output_padding") or [0] * rank)
    _check_window(node, rank)
    resolve_auto_pad(node)


def _check_window(node: ir.Node, rank: int) -> None:
    for name, expected in (("kernel_shape", rank), ("strides", rank), ("dilations", rank), ("pads", 2 * rank)):
        numbers = attribute(node, name)
        if numbers is None:
            continue
        if len(numbers) != expected or not all(0 <= size <= LARGEST_WINDOW for size in numbers):
            text = f"{node.op_type}: {name} {numbers}; {expected} numbers from 0 to {LARGEST_WINDOW:,} were expected"
            raise InvalidModel(text, place=name_of(node))


def _shape(node: ir.Node, index: int) -> tuple[int | None, ...]:
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None or value.shape is None:
        raise InvalidModel(f"{node.op_type}: the shape of input {index} is not known", place=name_of(node))
    return shape_of(value)
