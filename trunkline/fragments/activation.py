"""The activation that a value comes out of, so that what takes its place can end in the same one.

What follows a block was trained on its range: not negative behind a ReLU, both signs behind a linear bottleneck. A join
that ends in a ReLU there cuts off half of what the next block reads.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import numpy as np
import onnx_ir as ir
from pydantic import BaseModel, ConfigDict, Field

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import array_of, data_inputs_of, shape_of

Operator = Literal[
    "Celu",
    "Clip",
    "Elu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mish",
    "PRelu",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Tanh",
    "ThresholdedRelu",
]
_KEEPS_RANGE = frozenset(
    {"AveragePool", "Concat", "Dropout", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool"}
    | {"Reshape", "Resize", "Slice", "Split", "Transpose"}
)
"""Operators whose results lie where their operands do."""
_GATES = frozenset({"Sigmoid", "HardSigmoid"})
Number = Annotated[float, Field(allow_inf_nan=False)]


class Activation(BaseModel):
    """An activation, as a plan says it.

    Attributes:
        op: Operator of ONNX. A PRelu learns slopes of its own, which start at 0.25 (He et al. 2015).
        attributes: The operator's numbers by name, such as the slope of a LeakyRelu.
        bounds: Of a Clip, lowest and highest value; ``None`` for no bound.
        gate: Whether it multiplies what it reads: Swish is a Sigmoid that does.

    >>> Activation(op="Clip", bounds=(0, 6)).to_json()
    {'op': 'Clip', 'bounds': [0.0, 6.0]}
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    op: Operator
    attributes: tuple[tuple[str, Number], ...] = ()
    bounds: tuple[Number | None, Number | None] = (None, None)
    gate: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON content, without what is usual."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def add(self, builder: GraphBuilder, x: ir.Value, name: str) -> ir.Value:
        """Add the activation of ``x``; its weights and numbers are named after it."""
        operands: list[ir.Value | None] = [x]
        if self.op == "PRelu":
            channels = int(shape_of(x)[1] or 0)
            operands.append(builder.weight(f"{name}.slope", (channels, 1, 1), Filler("constant", 0.25)))
        if self.op == "Clip":
            for key, bound in zip(("min", "max"), self.bounds, strict=True):
                number = None if bound is None else builder.tensor(f"{name}.{key}", np.array(bound, np.float32))
                operands.append(number)
        activated = builder.node(self.op, operands, name=name, attributes=dict(self.attributes))
        return builder.node("Mul", [x, activated], name=f"{name}.gated") if self.gate else activated


def activation_of(value: ir.Value) -> Activation | None:
    """Return the activation whose range a value has; ``None`` behind anything linear, and where branches differ.

    >>> from trunkline.ingest.read import read
    >>> activation_of(read("zoo:tiny").outputs[-1])
    Activation(op='Relu', attributes=(), bounds=(None, None), gate=False)
    """
    found = {_written_by(node) for node in _range_sources(value)}
    return found.pop() if len(found) == 1 else None


def _range_sources(value: ir.Value) -> list[ir.Node | None]:
    """Return the nodes that give a value its range; ``None`` among them stands for the image."""
    sources: list[ir.Node | None] = []
    waiting, seen = [value], {value}
    while waiting:
        node = waiting.pop().producer()
        # Pooling and the like are walked through, also where they join several values.
        if node is None or node.op_type not in _KEEPS_RANGE:
            sources.append(node)
            continue
        new = [operand for operand in data_inputs_of(node) if operand not in seen]
        seen.update(new)
        waiting += new
    return sources


def _written_by(node: ir.Node | None) -> Activation | None:
    if node is None:
        return None
    return _gate(node) if node.op_type == "Mul" else _single(node)


def _gate(node: ir.Node) -> Activation | None:
    """Return the activation that a product is, if it is one of a value and a gate of the same value."""
    for x, gate in (node.inputs, reversed(node.inputs)):
        producer = None if gate is None else gate.producer()
        if producer is not None and producer.op_type in _GATES and producer.inputs[0] is x:
            found = _single(producer)
            return None if found is None else found.model_copy(update={"gate": True})
    return None


def _single(node: ir.Node) -> Activation | None:
    if node.op_type not in get_args(Operator):
        return None
    attributes = tuple((key, float(item.value)) for key, item in node.attributes.items())
    bounds: list[float | None] = [None, None]
    if node.op_type == "Clip":
        for position, bound in enumerate(node.inputs[1:3]):
            content = None if bound is None else array_of(bound)
            bounds[position] = None if content is None else float(content)
    return Activation(op=node.op_type, attributes=attributes, bounds=(bounds[0], bounds[1]))
