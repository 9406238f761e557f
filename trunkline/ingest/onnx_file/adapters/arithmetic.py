"""Remainders of fractions that take the divisor's sign, which opset 18 has for whole numbers only."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.graph import attribute
from trunkline.graph.passes.editor import Editor
from trunkline.ingest.onnx_file.adapters.decompose import become, data_of, step, store_number
from trunkline.ingest.onnx_file.adapters.registry import before

_ANY_OPSET = 1_000


@before(_ANY_OPSET, "Mod")
def modulo(node: ir.Node, editor: Editor) -> None:
    """Write Mod of floats as the remainder with the dividend's sign, plus the divisor where their signs differ."""
    data, divisor = data_of(node), node.inputs[1]
    if divisor is None or data.dtype is None or not data.dtype.is_floating_point():
        return
    if attribute(node, "fmod", 0):  # with the dividend's sign: opset 18 has it for floats
        return
    rest = step(node, editor, "Mod", [data, divisor], fmod=1)
    signs = [step(node, editor, "Sign", [value]) for value in (rest, divisor)]
    product = step(node, editor, "Mul", signs)  # 0 for a remainder of 0, which has no sign to differ
    differ = step(node, editor, "Less", [product, store_number(node, editor, "zero", 0.0)])
    become(node, "Where", [differ, step(node, editor, "Add", [rest, divisor]), rest])
