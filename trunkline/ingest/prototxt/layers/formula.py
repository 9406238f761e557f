"""A chain of operators that together are one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import Attribute
from trunkline.ingest.prototxt.layers.layer import Layer


@dataclass(frozen=True, slots=True)
class FormulaStep:
    """One operator; it reads the value before it, and ``operand`` where it has one."""

    op: str
    operand: ir.Value | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def reads(self, value: ir.Value) -> list[ir.Value]:
        """Return the operator's inputs when it is applied to ``value``."""
        return [value] if self.operand is None else [value, self.operand]


def lead(layer: Layer, value: ir.Value, steps: Sequence[FormulaStep]) -> ir.Value:
    """Apply the steps one after the other, as nodes that lead to the layer's result."""
    for step in steps:
        value = layer.step(step.op.lower(), step.op, step.reads(value), step.attributes)
    return value


def chain(layer: Layer, value: ir.Value, steps: Sequence[FormulaStep]) -> ir.Value:
    """Apply the steps; the last one is the layer's own node. Without any the value itself is the result."""
    if not steps:
        return value
    value = lead(layer, value, steps[:-1])
    return layer.node(steps[-1].op, steps[-1].reads(value), steps[-1].attributes)


def affine_steps(layer: Layer, scale: float, shift: float) -> list[FormulaStep]:
    """Return the steps of scale · x + shift, leaving out what changes nothing."""
    steps = [] if scale == 1 else [FormulaStep("Mul", layer.number("scale", scale))]
    return steps if shift == 0 else [*steps, FormulaStep("Add", layer.number("shift", shift))]


def reduction(layer: Layer, op: str, axes: Sequence[int], *, keepdims: bool) -> FormulaStep:
    """Return the step that reduces over ``axes``, which it stores as a static argument."""
    content = np.array(axes, dtype=np.int64)
    attributes = {"keepdims": int(keepdims), "noop_with_empty_axes": 0}
    return FormulaStep(op, layer.constant("axes", content), attributes)
