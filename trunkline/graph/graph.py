"""The one model type that travels between the rooms: :class:`Graph`, a thin class over an onnx-ir model.

A backbone, a head and a lowered multi-task model are all Graphs. The canonical form, which
:func:`trunkline.graph.verify.verify` checks, is:

* one opset (:data:`OPSET`) of the default domain and one IR version (:data:`IR_VERSION`);
* one image input ``[N, C, H, W]`` whose batch axis N is free; every other size is known;
* weights are named initializers, and a weight used twice is one initializer;
* BatchNormalization is kept, because it must train;
* every node and value has a unique, stable name that comes from the user's file;
* nodes are in topological order; no control flow, no Constant nodes, no functions.

Nodes carry where they came from and whom they serve in their ``metadata_props``, under the keys below, so
that a viewer of the exported file shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

OPSET = 18
IR_VERSION = 8
BATCH = "N"

SOURCE_KEY = "trunkline.source"
TASKS_KEY = "trunkline.tasks"
"""On a node or weight of a multi-task model: the tasks it serves, ``depth,normals``. On the model: all of them."""
PART_KEY = "trunkline.part"
"""On a node or weight of a multi-task model: :data:`BACKBONE`, :data:`HEAD`, :data:`SKIP` or :data:`JOIN`."""
UNIT_KEY = "trunkline.unit"
"""On a node or weight of a multi-task model: the unit of the plan that governs it."""
INSTANCE_KEY = "trunkline.instance"
"""On a node or weight of a multi-task model's backbone: the number of its weight instance."""
FUSED_KEY = "trunkline.fused"
"""On a node of an exported file that stands for several: how many."""
ROLE_KEY = "trunkline.role"
CONSTANT = "constant"
"""The role of a stored float tensor that is part of a formula: it never trains and is not counted."""
PARAMETER = "parameter"
"""The role of a number without axes that trains; without a mark it counts as part of a formula."""
AXES_KEY = "trunkline.axes"
"""On a weight that is stored with its axes in another order than its author's: the author's axes, as ``1,0``."""

BACKBONE, HEAD, SKIP, JOIN = "backbone", "head", "skip", "join"
"""The parts of a multi-task model; a skip replaces a unit of the backbone, a join lies between columns of tasks."""

Shape = tuple[int | None, ...]
Attribute = int | float | str | Sequence[int] | Sequence[float]


class Graph:
    """A verified network in canonical form, owning its onnx-ir model.

    The wrapped ``model`` may be read freely. Code that changes it works on a :meth:`copy` and ends with
    :func:`trunkline.graph.verify.verify`.

    >>> import trunkline
    >>> graph = trunkline.read("zoo:tiny")
    >>> graph
    Graph('tiny', 49 nodes, 75 initializers)
    >>> shape_of(graph.input)
    (None, 3, 64, 96)
    >>> [(name_of(value), shape_of(value)) for value in graph.outputs]
    [('stage3_block2_relu2', (None, 48, 16, 24))]
    >>> graph.node("conv1").op_type
    'Conv'
    """

    def __init__(self, model: ir.Model, notes: tuple[str, ...] = ()) -> None:
        self.model = model
        self.notes = notes
        """What the reader wants the user to know: repairs, dropped layers, harmless unknown fields."""

    def __repr__(self) -> str:
        return f"Graph({self.name!r}, {len(self.nodes)} nodes, {len(self.initializers)} initializers)"

    @property
    def name(self) -> str:
        """The network's name, never empty."""
        return self.model.graph.name or "graph"

    @property
    def input(self) -> ir.Value:
        """The image input, ``[N, C, H, W]``."""
        return self.model.graph.inputs[0]

    @property
    def outputs(self) -> list[ir.Value]:
        """The outputs, in order; for a multi-task Graph one per task, named by the task."""
        return list(self.model.graph.outputs)

    @property
    def nodes(self) -> list[ir.Node]:
        """All nodes in topological order."""
        return list(self.model.graph)

    @property
    def initializers(self) -> dict[str, ir.Value]:
        """Weights and static arguments by name."""
        return dict(self.model.graph.initializers)

    def node(self, name: str) -> ir.Node:
        """Return the node called ``name``, in time linear in the nodes.

        Raises:
            KeyError: There is none.
        """
        for node in self.model.graph:
            if node.name == name:
                return node
        raise KeyError(name)

    def copy(self) -> Graph:
        """Return an independent Graph; weight tensors are shared with this one until they are replaced."""
        return Graph(self.model.clone(), self.notes)


def shape_of(value: ir.Value) -> Shape:
    """Return a value's shape with ``None`` for the free batch axis.

    Raises:
        ValueError: The value has no shape yet, which a verified Graph never shows.
    """
    if value.shape is None:
        raise ValueError(f"value {value.name!r} has no shape")
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def name_of(item: ir.Value | ir.Node) -> str:
    """Return the name of a node or value; in a Graph both always have one."""
    if item.name is None:
        raise ValueError(f"unnamed {type(item).__name__}")
    return item.name


def shapes_of(graph: Graph) -> dict[str, Shape]:
    """Return the shape of every value by name: the inputs first, then in the order in which values are computed."""
    found = {name_of(value): shape_of(value) for value in graph.model.graph.inputs}
    for node in graph.nodes:
        # ONNX leaves the name of an optional output empty where nothing reads it.
        found |= {name_of(value): shape_of(value) for value in node.outputs if value.name}
    return found


def is_weight(value: ir.Value | None) -> bool:
    """Whether ``value`` is an initializer that holds floating-point numbers (static sizes are integers)."""
    return value is not None and value.is_initializer() and value.dtype is not None and value.dtype.is_floating_point()


def array_of(value: ir.Value) -> np.ndarray[Any, Any]:
    """Return the content of an initializer, evaluating it if it is lazy."""
    if value.const_value is None:
        raise ValueError(f"value {value.name!r} is not an initializer")
    return value.const_value.numpy()


def make_attribute(name: str, content: Attribute) -> ir.Attr:
    """Return an attribute of a plain Python value; an empty list is one of whole numbers.

    onnx-ir can tell types by itself, but asks every value for the methods of a tensor first, which takes as long as
    the rest of making a node.
    """
    if isinstance(content, str):
        return ir.AttrString(name, content)
    if isinstance(content, float | np.floating):
        return ir.AttrFloat32(name, float(content))
    if isinstance(content, int | np.integer):
        return ir.AttrInt64(name, int(content))
    if any(isinstance(item, float | np.floating) for item in content):
        return ir.AttrFloat32s(name, [float(item) for item in content])
    return ir.AttrInt64s(name, [int(item) for item in content])


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """Return the plain Python value of an attribute: int, float, str, or a list of them."""
    found = node.attributes.get(name)
    if found is None:
        return default
    value = found.value
    # onnx-ir gives lists as tuples, whose comparison with a list is never true.
    return list(value) if isinstance(value, tuple) else value


def inputs_of(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the inputs that are present, data before weights, in ONNX order."""
    return (value for value in node.inputs if value is not None)


def data_inputs_of(node: ir.Node) -> list[ir.Value]:
    """Return the inputs that are computed, not stored."""
    return [value for value in inputs_of(node) if not value.is_initializer()]
