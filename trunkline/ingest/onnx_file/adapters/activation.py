"""Activations that opset 18 has no operator for, as the formulas they stand for."""

from __future__ import annotations

import math

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of
from trunkline.graph.passes.editor import Editor, pop
from trunkline.ingest.onnx_file.adapters.decompose import become, data_of, step, store_number
from trunkline.ingest.onnx_file.adapters.registry import since
from trunkline.text import quoted


@since(20, "Gelu")
def gelu(node: ir.Node, editor: Editor) -> None:
    """Write Gelu as x · Φ(x), by the error function or by a tanh (Hendrycks and Gimpel 2016, section 2)."""
    kind = pop(node, "approximate", "none")
    if kind not in ("none", "tanh"):
        raise InvalidModel(f"Gelu: approximate {quoted(str(kind))}; expected none or tanh", place=name_of(node))
    x = data_of(node)
    # Φ(x) = (1 + erf(x / √2)) / 2, or the same with a tanh in the place of erf.
    odd = _by_tanh(node, editor, x) if kind == "tanh" else _by_erf(node, editor, x)
    raised = step(node, editor, "Add", [odd, store_number(node, editor, "one", 1.0)])
    half = step(node, editor, "Mul", [x, store_number(node, editor, "half", 0.5)])
    become(node, "Mul", [half, raised])


@since(28, "Celu")
def celu_28(node: ir.Node, editor: Editor) -> None:
    """Write Celu as alpha · elu(x / alpha), which is the same for a positive alpha."""
    x, alpha = data_of(node), attribute(node, "alpha", 1.0)
    # Opset 18 has it for float32 alone, opset 28 for every precision.
    if x.dtype == ir.DataType.FLOAT or alpha <= 0:
        return
    scaled = step(node, editor, "Div", [x, store_number(node, editor, "below", alpha)])
    bent = step(node, editor, "Elu", [scaled], alpha=1.0)
    become(node, "Mul", [bent, store_number(node, editor, "above", alpha)])


@since(24, "Swish")
def swish(node: ir.Node, editor: Editor) -> None:
    """Write Swish as x · sigmoid(alpha · x) (Ramachandran et al. 2017)."""
    x = inner = data_of(node)
    alpha = pop(node, "alpha", 1.0)
    if alpha != 1.0:
        inner = step(node, editor, "Mul", [x, store_number(node, editor, "alpha", alpha)])
    become(node, "Mul", [x, step(node, editor, "Sigmoid", [inner])])


def _by_erf(node: ir.Node, editor: Editor, x: ir.Value) -> ir.Value:
    scaled = step(node, editor, "Div", [x, store_number(node, editor, "root_2", math.sqrt(2.0))])
    return step(node, editor, "Erf", [scaled])


def _by_tanh(node: ir.Node, editor: Editor, x: ir.Value) -> ir.Value:
    """Return tanh(√(2/π) · (x + 0.044715 x³)), the cube by two products."""
    square = step(node, editor, "Mul", [x, x])
    cubic = step(node, editor, "Mul", [square, store_number(node, editor, "cubic", 0.044715)])
    raised = step(node, editor, "Add", [cubic, store_number(node, editor, "one", 1.0)])
    inner = step(node, editor, "Mul", [x, raised])
    scale = store_number(node, editor, "scale", math.sqrt(2.0 / math.pi))
    return step(node, editor, "Tanh", [step(node, editor, "Mul", [inner, scale])])
