"""What a Graph costs: multiply-accumulates, parameters and activation bytes, per node and in total.

MACs are counted for one image (batch 1), where products are summed: convolution, transposed convolution, matrix
product and Einsum, of stored weights or of two computed values. Element-wise work, pooling and normalisation count
as zero, as in the papers' tables; BatchNormalization is folded into its convolution at export anyway.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import onnx_ir as ir

from trunkline.graph.computed_weights import computes_weight, stored_inputs_of
from trunkline.graph.einsum import einsum_macs
from trunkline.graph.graph import Graph, attribute, inputs_of, name_of, shape_of
from trunkline.graph.roles import is_parameter

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """Work and memory of a node, a block or a whole Graph, for one image.

    Attributes:
        macs: Multiply-accumulates for one image.
        parameters: Trainable numbers; BatchNorm scale and shift count, its running statistics do not.
        activation_bytes: Bytes of the outputs for one image, all counted as float32.
    """

    macs: int = 0
    parameters: int = 0
    activation_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.macs + other.macs,
            self.parameters + other.parameters,
            self.activation_bytes + other.activation_bytes,
        )

    @classmethod
    def total(cls, costs: Iterable[Cost]) -> Cost:
        """Return the sum of ``costs``."""
        return reduce(cls.__add__, costs, cls())


def node_macs(node: ir.Node) -> int:
    """Return the multiply-accumulates of one node for one image; what computes a weight runs for none.

    >>> import trunkline
    >>> convolution = trunkline.read("zoo:tiny").node("conv1")
    >>> [shape_of(value) for value in (*convolution.inputs, *convolution.outputs)]
    [(None, 3, 64, 96), (16, 3, 3, 3), (None, 16, 32, 48)]
    >>> node_macs(convolution) == (16 * 32 * 48) * (3 * 3 * 3)
    True
    """
    if computes_weight(node):
        return 0
    if node.op_type == "Conv":
        # [M, C/group, kH, kW]: every output is a sum over the channels of its group and the window.
        weight = shape_of(_input(node, 1))
        return _per_image(node.outputs[0]) * math.prod(_known(weight[1:]))
    if node.op_type == "ConvTranspose":
        # [C, M/group, kH, kW]: every input is spread over the channels of its group and the window.
        weight = shape_of(_input(node, 1))
        return _per_image(_input(node, 0)) * math.prod(_known(weight[1:]))
    if node.op_type == "Gemm":
        rows, columns = _known(shape_of(_input(node, 0)))
        summed = rows if attribute(node, "transA", 0) else columns
        return _per_image(node.outputs[0]) * summed
    if node.op_type == "MatMul":
        summed = _known(shape_of(_input(node, 0)))[-1]
        return _per_image(node.outputs[0]) * summed
    if node.op_type == "Einsum":
        return einsum_macs(attribute(node, "equation"), [_known(shape_of(value)) for value in inputs_of(node)])
    return 0


def node_costs(graph: Graph) -> dict[str, Cost]:
    """Return the cost of every node by name; a weight used by several nodes is charged to the first.

    The tensors that a weight is computed from are charged to the node that reads it. The computation costs nothing:
    it is the same for every image, and an exported file holds what it comes to.
    """
    charged: set[ir.Value] = set()
    costs = {}
    for node in graph.nodes:
        if computes_weight(node):
            costs[name_of(node)] = Cost()
            continue
        parameters = 0
        for value in stored_inputs_of(node):
            # A weight that several nodes read is stored once, so a sum over nodes must count it once.
            if value not in charged and is_parameter(value):
                charged.add(value)
                parameters += math.prod(_known(shape_of(value)))
        size = sum(_per_image(value) for value in node.outputs) * FLOAT_BYTES
        costs[name_of(node)] = Cost(node_macs(node), parameters, size)
    return costs


def graph_cost(graph: Graph) -> Cost:
    """Return the cost of the whole Graph for one image."""
    return Cost.total(node_costs(graph).values())


def _input(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    if value is None:
        raise ValueError(f"{node.op_type} {node.name!r} has no input {index}")
    return value


def _known(shape: tuple[int | None, ...]) -> list[int]:
    """Return the sizes for one image: the free batch is 1."""
    return [1 if size is None else size for size in shape]


def _per_image(value: ir.Value) -> int:
    return math.prod(_known(shape_of(value)))
