"""Write a Graph node by node, with every shape known at once.

Readers, heads and lowering all make Graphs through :class:`GraphBuilder`. Shapes come from ONNX's own
inference for a single node, so an impossible node is refused where it is written, not pages later.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import shape_inference

from trunkline.errors import InvalidModel
from trunkline.ingest.fillers import FILLER_KEY, Filler, lazy_weight
from trunkline.ingest.graph import (
    BATCH,
    CONSTANT,
    IR_VERSION,
    OPSET,
    ROLE_KEY,
    SOURCE_KEY,
    UNIT_KEY,
    Graph,
    Shape,
    attribute,
    name_of,
)
from trunkline.ingest.parameters import is_setting_place

Attribute = int | float | str | Sequence[int] | Sequence[float]

_Answer = tuple[ir.DataType | ir.TypeProtocol | None, tuple[int | str | None, ...] | None]
"""Type and dims of one output."""
_ANSWERS: dict[Hashable, list[_Answer | None]] = {}
_MOST_ANSWERS = 10_000
_PLAIN = frozenset(
    {
        *(ir.AttributeType.INT, ir.AttributeType.INTS, ir.AttributeType.FLOAT, ir.AttributeType.FLOATS),
        *(ir.AttributeType.STRING, ir.AttributeType.STRINGS),
    }
)

_OPSETS = [onnx.helper.make_opsetid("", OPSET)]


class GraphBuilder:
    """Collects values, weights and nodes, and closes them into a Graph.

    Names are taken as given; asking for a name twice is an error, except for :meth:`fresh`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._inputs: list[ir.Value] = []
        self._nodes: list[ir.Node] = []
        self._initializers: dict[str, ir.Value] = {}
        self._taken: set[str] = set()
        self._node_names: set[str] = set()

    def image(self, name: str, shape: Sequence[int]) -> ir.Value:
        """Declare the image input with shape ``[C, H, W]``; the batch axis is added and left free."""
        return self.input(name, (None, *shape))

    def input(self, name: str, shape: Shape) -> ir.Value:
        """Declare a float input; ``None`` marks the batch axis."""
        self._claim(name)
        dims = [BATCH if size is None else size for size in shape]
        value = ir.Value(name=name, shape=ir.Shape(dims), type=ir.TensorType(ir.DataType.FLOAT))
        self._inputs.append(value)
        return value

    def weight(self, name: str, shape: Sequence[int], filler: Filler) -> ir.Value:
        """Declare a trainable weight that starts as ``filler`` says; nothing is drawn yet."""
        value = self._initializer(name, lazy_weight(name, tuple(shape), filler))
        value.metadata_props[FILLER_KEY] = filler.to_json()
        return value

    def tensor(self, name: str, content: np.ndarray[Any, Any] | ir.TensorProtocol) -> ir.Value:
        """Store a tensor: float content is a weight, integer content a static argument (axes, sizes)."""
        tensor = ir.Tensor(content, name=name) if isinstance(content, np.ndarray) else content
        return self._initializer(name, tensor)

    def constant(self, name: str, content: np.ndarray[Any, Any]) -> ir.Value:
        """Store float content that is part of a formula, such as a coefficient: it never trains."""
        value = self.tensor(name, content)
        value.metadata_props[ROLE_KEY] = CONSTANT
        return value

    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        *,
        name: str,
        attributes: Mapping[str, Attribute] | None = None,
        outputs: Sequence[str] | None = None,
        source: str = "",
        unit: str = "",
    ) -> ir.Value:
        """Add a node and return its first output, shape inferred.

        Args:
            op: Operator of the default domain, at the canonical opset.
            inputs: Data first, then weights; ``None`` for an absent optional input.
            name: The node's name; its output gets the same unless ``outputs`` says otherwise.
            attributes: Plain Python values; every attribute that matters should be given explicitly.
            outputs: Names of the outputs, in order.
            source: ``path:line`` where the user wrote it.
            unit: The sharing unit it belongs to, where known.

        Raises:
            InvalidModel: ONNX refuses the node for these input shapes; the place is ``source`` or the name.
        """
        if name in self._node_names:
            raise ValueError(f"node name {name!r} is taken")
        self._node_names.add(name)
        names = list(outputs or [name])
        for output in names:
            self._claim(output)
        node = ir.node(op, list(inputs), attributes=dict(attributes or {}), num_outputs=len(names), name=name)
        for value, output in zip(node.outputs, names, strict=True):
            value.name = output
        infer_node(node, place=source or name)
        if any(_has_lost_batch(value) for value in node.outputs):
            from trunkline.ingest.passes.infer_shapes import infer_free

            infer_free(node)  # ONNX's rules for symbolic sizes lose the batch axis at Resize and Pad
        if source:
            node.metadata_props[SOURCE_KEY] = source
        if unit:
            node.metadata_props[UNIT_KEY] = unit
        self._nodes.append(node)
        return node.outputs[0]

    def fresh(self, name: str) -> str:
        """Return ``name``, or the first of ``name_2``, ``name_3``… that neither node nor value has taken."""
        candidate, count = name, 1
        while candidate in self._taken or candidate in self._node_names:
            count += 1
            candidate = f"{name}_{count}"
        return candidate

    def initializer(self, name: str) -> ir.Value | None:
        """Return the weight or static argument stored under ``name``, if any."""
        return self._initializers.get(name)

    @property
    def last(self) -> ir.Node:
        """The node added last."""
        return self._nodes[-1]

    def finish(self, outputs: Sequence[ir.Value], notes: Sequence[str] = ()) -> Graph:
        """Close the Graph with these outputs. Initializers nothing reads are left out."""
        used = {id(value) for node in self._nodes for value in node.inputs if value is not None}
        graph = ir.Graph(
            self._inputs,
            list(outputs),
            nodes=self._nodes,
            initializers=[value for value in self._initializers.values() if id(value) in used],
            opset_imports={"": OPSET},
            name=self.name,
        )
        model = ir.Model(graph, ir_version=IR_VERSION, producer_name="trunkline")
        return Graph(model, tuple(notes))

    def _initializer(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        self._claim(name)
        value = ir.Value(
            name=name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self._initializers[name] = value
        return value

    def _claim(self, name: str) -> None:
        if name in self._taken:
            raise ValueError(f"value name {name!r} is taken")
        self._taken.add(name)


def _has_lost_batch(value: ir.Value) -> bool:
    return value.shape is not None and any(not isinstance(d, int) and d.value != BATCH for d in value.shape)


def infer_node(node: ir.Node, *, place: str = "", opset: int = OPSET) -> None:
    """Set type and shape of a node's outputs from its inputs, by ONNX's own rules.

    Networks repeat themselves, and a reader asks several times about each node, so answers are remembered.

    Raises:
        InvalidModel: The node is impossible for these inputs, or its operator is not known at this opset.
    """
    key = _question(node, opset)
    answer = _ANSWERS.get(key) if key is not None else None
    if answer is None:
        answer = _ask_onnx(node, place, opset)
        if key is not None:
            if len(_ANSWERS) >= _MOST_ANSWERS:
                _ANSWERS.clear()
            _ANSWERS[key] = answer
    for value, found in zip(node.outputs, answer, strict=True):
        if found is not None:
            value.type = ir.TensorType(found[0]) if isinstance(found[0], ir.DataType) else found[0]
            value.shape = None if found[1] is None else ir.Shape(found[1])
    if node.op_type in ("MaxPool", "AveragePool", "LpPool") and attribute(node, "ceil_mode", 0):
        _drop_windows_in_padding(node)


def _question(node: ir.Node, opset: int) -> Hashable | None:
    """Return all that shape inference looks at, or ``None`` for a node that is not worth remembering."""
    attributes = []
    for name, item in node.attributes.items():
        if item.type not in _PLAIN:
            return None
        attributes.append((name, item.value))
    read = [None if value is None else _facts(node, index, value) for index, value in enumerate(node.inputs)]
    return node.domain, node.op_type, opset, tuple(sorted(attributes)), tuple(read), len(node.outputs)


def _facts(node: ir.Node, index: int, value: ir.Value) -> Hashable:
    dims = None if value.shape is None else tuple(d if isinstance(d, int) else d.value for d in value.shape)
    content = b""
    if _steers_shapes(node, index, value):
        assert value.const_value is not None
        content = value.const_value.numpy().tobytes()
    return value.dtype, value.type.__class__, dims, content


def _ask_onnx(node: ir.Node, place: str, opset: int) -> list[_Answer | None]:
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        proto = ir.serde.serialize_node(node)
        types = {name_of(v): _type_proto(v) for v in node.inputs if v is not None}
        data = {
            name_of(v): _small_tensor(v)
            for i, v in enumerate(node.inputs)
            if v is not None and _steers_shapes(node, i, v)
        }
        inferred = shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=_OPSETS, ir_version=IR_VERSION
        )
    except (shape_inference.InferenceError, onnx.checker.ValidationError, onnx.defs.SchemaError) as error:
        shapes = ", ".join(str(v.shape) for v in node.inputs if v is not None)
        reason = str(error).replace("[ShapeInferenceError]", "").strip().splitlines()
        raise InvalidModel(
            f"{node.op_type} {name_of(node)!r} is impossible for inputs {shapes}: {reason[0] if reason else error}",
            place=place or name_of(node),
        ) from error
    return [_answer(inferred.get(value.name or "")) for value in node.outputs]


def _answer(proto: onnx.TypeProto | None) -> _Answer | None:
    if proto is None:
        return None
    kind = ir.serde.deserialize_type_proto_for_type(proto)
    shape = ir.serde.deserialize_type_proto_for_shape(proto)
    dims = None if shape is None else tuple(d if isinstance(d, int) else d.value for d in shape)
    return (kind.dtype if isinstance(kind, ir.TensorType) else kind), dims


def _drop_windows_in_padding(node: ir.Node) -> None:
    """Apply the rule that ONNX's text, runtimes and Caffe agree on, and that its inference at our opset lacks.

    With ``ceil_mode`` a last window that would start inside the end padding is not computed.
    """
    read, value = node.inputs[0], node.outputs[0]
    if read is None or read.shape is None or value.shape is None:
        return
    axes = len(value.shape) - 2
    strides, pads = attribute(node, "strides", [1] * axes), attribute(node, "pads", [0] * 2 * axes)
    sizes = list(value.shape)
    for axis in range(axes):
        before, after = read.shape[axis + 2], sizes[axis + 2]
        if isinstance(before, int) and isinstance(after, int) and (after - 1) * strides[axis] >= before + pads[axis]:
            sizes[axis + 2] = after - 1
    for output in node.outputs:  # the values, and their places where they are asked for
        output.shape = ir.Shape(sizes)


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    dtype = value.dtype or ir.DataType.FLOAT
    dims = None if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
    return onnx.helper.make_tensor_type_proto(int(dtype), dims)


def _steers_shapes(node: ir.Node, index: int, value: ir.Value) -> bool:
    """Whether a stored input decides sizes: whole numbers and settings do; weights do not, and must not be drawn."""
    stored = value.const_value
    if stored is None or stored.size > 64:
        return False
    return not stored.dtype.is_floating_point() or node.op_type == "Range" or is_setting_place(node, index)


def _small_tensor(value: ir.Value) -> onnx.TensorProto:
    assert value.const_value is not None
    return onnx.numpy_helper.from_array(value.const_value.numpy(), value.name)
