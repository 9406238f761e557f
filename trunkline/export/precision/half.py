"""Half precision written into the graph: float16 or bfloat16 inside, float32 at the borders and on islands.

TensorRT 11 has no switch for it: a network is computed in the types that its file says (strongly typed). So the file
says them. Image and outputs stay float32, so that a program that runs the float32 file runs this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

from trunkline.graph.graph import OPSET, array_of, name_of
from trunkline.graph.passes.editor import Editor

HALF = {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}
"""Element types by name of the precision."""
OPSETS = {"float16": OPSET, "bfloat16": 22}
"""The first opset at which convolutions have the type."""
LARGEST = {ir.DataType.FLOAT16: 65504.0, ir.DataType.BFLOAT16: 3.3895e38}
"""The largest number of each type."""
NUMPY = {ir.DataType.FLOAT16: np.float16, ir.DataType.BFLOAT16: ml_dtypes.bfloat16}


@dataclass(frozen=True, slots=True)
class LowerFloat:
    """Computes in half precision whatever its operator can, and may.

    Preconditions: float32 throughout, canonical opset. A node stays in float32 where it is an island, where its
    operator has no half form, or where a weight of it is larger than the type can say.

    Attributes:
        to: ``FLOAT16`` or ``BFLOAT16``.
        islands: Names of nodes that stay in float32.
        opset: Of the graph: it says which operators have the type.
    """

    to: ir.DataType
    islands: frozenset[str] = frozenset()
    opset: int = OPSET

    def __call__(self, graph: ir.Graph) -> int:
        """Lower ``graph`` in place, and return how many nodes compute in half precision now."""
        return _Lowering(graph, self).run()


class _Lowering:
    def __init__(self, graph: ir.Graph, options: LowerFloat) -> None:
        self.graph, self.to, self.opset = graph, options.to, options.opset
        self.edit = Editor(graph)
        self.lowered = {node for node in graph if name_of(node) not in options.islands and self._can(node)}
        self._casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def run(self) -> int:
        outputs = list(self.graph.outputs)
        for node in list(self.graph):
            for index in _float_inputs(node):
                self._feed(node, index)
        for node in self.lowered:
            for index, value in enumerate(node.outputs):
                if self._is_half(node, index, "output"):
                    # Another type object: that of a copied graph may be shared with the first.
                    value.type = ir.TensorType(self.to)
        for place, value in enumerate(outputs):
            if value.dtype == self.to:
                self._restore(place, value)
        self._remove_unread()
        return len(self.lowered)

    def _can(self, node: ir.Node) -> bool:
        """Whether an operator reads and writes half precision, and its weights fit."""
        floats = list(_float_inputs(node))
        if not any(self._is_half(node, index, "input") for index in floats):
            return False
        if not self._is_half(node, 0, "output"):
            return False
        stored = [node.inputs[index] for index in floats]
        return all(
            value is None or value.const_value is None or np.abs(array_of(value)).max(initial=0) <= LARGEST[self.to]
            for value in stored
        )

    def _feed(self, node: ir.Node, index: int) -> None:
        """Give an input the type that its node reads now."""
        value = node.inputs[index]
        assert value is not None
        wanted = self.to if node in self.lowered and self._is_half(node, index, "input") else ir.DataType.FLOAT
        producer = value.producer()
        written = (
            self.to
            if producer in self.lowered and self._is_half(producer, value.index() or 0, "output")
            else ir.DataType.FLOAT
        )
        if wanted != written:
            node.replace_input_with(index, self._as(value, wanted))

    def _as(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Return a value in another type: a weight stored in it, anything else behind a Cast; each made once."""
        key = value, dtype
        if key not in self._casts:
            self._casts[key] = self._stored(value, dtype) if value.is_initializer() else self._cast(value, dtype)
        return self._casts[key]

    def _stored(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        content = array_of(value).astype(NUMPY[dtype])
        made = self.edit.store(self.edit.take_name(f"{name_of(value)}.half"), ir.Tensor(content, dtype=dtype))
        made.metadata_props.update(value.metadata_props)
        return made

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        producer = value.producer()
        name = self.edit.take_name(f"{name_of(value)}.{dtype.name.lower()}")
        made = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(dtype))], name=name)
        written = made.outputs[0]
        written.name, written.type, written.shape = name, ir.TensorType(dtype), value.shape
        if producer is None:
            self.graph.insert_before(self.graph[0], made)
        else:
            made.metadata_props.update(producer.metadata_props)
            self.graph.insert_after(producer, made)
        return made.outputs[0]

    def _restore(self, place: int, value: ir.Value) -> None:
        """Give an output back in float32, under its name."""
        name = name_of(value)
        value.name = self.edit.take_name(f"{name}.half")
        made = self._cast(value, ir.DataType.FLOAT)
        made.name = name
        self.graph.outputs[place] = made

    def _is_half(self, node: ir.Node, index: int, side: str) -> bool:
        """Whether an input or output of a node may be in half precision."""
        return self.to.name.lower() in _types(node.op_type, index, side, self.opset)

    def _remove_unread(self) -> None:
        for name, value in list(self.graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del self.graph.initializers[name]


def _float_inputs(node: ir.Node) -> Iterator[int]:
    for index, value in enumerate(node.inputs):
        if value is not None and value.dtype == ir.DataType.FLOAT:
            yield index


@cache
def _types(op: str, index: int, side: str, opset: int) -> frozenset[str]:
    """Return the element types that an operator's input or output may have, by ONNX's own schema."""
    schema = onnx.defs.get_schema(op, opset, "")
    formal = schema.inputs if side == "input" else schema.outputs
    # The last one may stand for any number, as those of Concat.
    text = formal[min(index, len(formal) - 1)].type_str
    allowed = {item.type_param_str: item.allowed_type_strs for item in schema.type_constraints}.get(text, [text])
    return frozenset(item.removeprefix("tensor(").removesuffix(")") for item in allowed)
