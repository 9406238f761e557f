"""Write a Graph node by node, with every shape known at once.

Readers, heads and lowering all make Graphs through :class:`GraphBuilder`. Shapes come from ONNX's own
inference for a single node, so an impossible node is refused where it is written, not pages later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.graph.fillers import FILLER_KEY, Filler, lazy_weight
from trunkline.graph.free_shapes import infer_free
from trunkline.graph.graph import (
    BATCH,
    CONSTANT,
    IR_VERSION,
    OPSET,
    ROLE_KEY,
    SOURCE_KEY,
    Attribute,
    Graph,
    Shape,
    make_attribute,
)
from trunkline.graph.node_shapes import infer_node
from trunkline.graph.unique_names import UniqueNames


class GraphBuilder:
    """Collects values, weights and nodes, and closes them into a Graph.

    Names are taken as given. A name that is taken already is an error; :meth:`free_name` finds a free one.

    >>> net = GraphBuilder("net")
    >>> image = net.image("image", [3, 32, 32])
    >>> kernel = net.weight("conv.weight", [8, 3, 3, 3], Filler("msra"))
    >>> features = net.node("Conv", [image, kernel], name="conv", attributes={"pads": [1, 1, 1, 1]})
    >>> [str(size) for size in features.shape]
    ['N', '8', '32', '32']
    >>> net.finish([features])
    Graph('net', 1 nodes, 1 initializers)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._inputs: list[ir.Value] = []
        self._nodes: list[ir.Node] = []
        self._initializers: dict[str, ir.Value] = {}
        # Values and nodes are named apart in ONNX, so a node and its output may share a name; free_name() avoids both.
        self._taken: set[str] = set()
        self._node_names: set[str] = set()
        self._names = UniqueNames()

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
        """Declare a trainable weight that is initialised by ``filler``; nothing is drawn yet."""
        value = self._initializer(name, lazy_weight(name, tuple(shape), filler))
        # Training from scratch draws it again with another seed, so how it starts stays with it.
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
    ) -> ir.Value:
        """Add a node and return its first output, shape inferred.

        Args:
            op: Operator of the default domain, at the canonical opset.
            inputs: Data first, then weights; ``None`` for an absent optional input.
            name: The node's name; its output gets the same unless ``outputs`` are given.
            attributes: Plain Python values. Give all that the result depends on: defaults differ between opsets.
            outputs: Names of the outputs, in order.
            source: ``path:line`` where the user wrote it.

        Raises:
            InvalidModel: ONNX refuses the node for these input shapes; the place is ``source`` or the name.
        """
        if name in self._node_names:
            raise ValueError(f"node name {name!r} is taken")
        self._node_names.add(name)
        self._names.reserve([name])
        names = list(outputs or [name])
        for output in names:
            self._claim(output)
        settings = [make_attribute(key, content) for key, content in (attributes or {}).items()]
        node = ir.Node("", op, list(inputs), settings, num_outputs=len(names), name=name)
        for value, output in zip(node.outputs, names, strict=True):
            value.name = output
        infer_node(node, place=source or name)
        if any(_has_lost_batch(value) for value in node.outputs):
            # ONNX's rules for symbolic sizes lose the batch axis at Resize and Pad. Asking for two batch sizes takes
            # twice as long, so only such nodes are.
            infer_free(node)
        if source:
            node.metadata_props[SOURCE_KEY] = source
        self._nodes.append(node)
        return node.outputs[0]

    def reserve(self, names: Iterable[str]) -> None:
        """Keep names for later: :meth:`free_name` does not hand them out."""
        self._names.reserve(names)

    def free_name(self, name: str) -> str:
        """Return ``name``, or the first of ``name_2``, ``name_3``… that neither node nor value has or will have."""
        return self._names.free(name)

    @property
    def last(self) -> ir.Node:
        """The node added last."""
        return self._nodes[-1]

    def finish(self, outputs: Sequence[ir.Value], notes: Sequence[str] = ()) -> Graph:
        """Close the Graph with these outputs. Initializers that no node reads are left out."""
        used = {id(value) for node in self._nodes for value in node.inputs if value is not None}
        stored = [value for value in self._initializers.values() if id(value) in used]
        graph = ir.Graph(
            self._inputs,
            list(outputs),
            nodes=self._nodes,
            initializers=stored,
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
        self._names.reserve([name])


def _has_lost_batch(value: ir.Value) -> bool:
    """Whether a size that is no number is another than the free batch."""
    if value.shape is None:
        return False
    return any(not isinstance(size, int) and size.value != BATCH for size in value.shape)
