"""Compute weights that are computed from stored tensors, and store what they come to.

While a model trains, a kernel may be the product of two tensors, or a bias may be read out of a table
(:mod:`trunkline.graph.computed_weights`). A delivered file holds plain weights: what does not depend on the image need
not be computed for each. The arithmetic is that of the twins, in float64; the result is rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.graph.computed_weights import stored_inputs_of
from trunkline.graph.graph import CONSTANT, ROLE_KEY, SOURCE_KEY, array_of, inputs_of, is_weight, name_of
from trunkline.graph.passes.editor import redirect, store
from trunkline.graph.passes.remove_dead import RemoveDead
from trunkline.graph.roles import is_parameter, is_static_input
from trunkline.twins.initial_weights import to_tensor
from trunkline.twins.registry import make_op

Known = dict[ir.Value, Tensor]


@dataclass(frozen=True, slots=True)
class FoldStored:
    """Replaces each computed weight by a stored one of its name. Nodes must be in topological order."""

    def __call__(self, graph: ir.Graph) -> int:
        """Store the computed weights of ``graph``, and return how many nodes went."""
        for_images = _nodes_for_images(graph)
        nodes = [node for node in graph if node not in for_images]
        known: Known = {}
        for node in nodes:
            known.update(zip(node.outputs, _computed(node, known), strict=False))
        read = [value for node in nodes for value in node.outputs if not for_images.isdisjoint(value.consumers())]
        trained = {value: _is_trained(value) for value in read}
        for value in read:
            _store(graph, value, known[value], is_trained=trained[value])
        RemoveDead()(graph)
        return len(nodes)


def _nodes_for_images(graph: ir.Graph) -> set[ir.Node]:
    """Return the nodes that run for every image. A size that is read off a map has no batch axis, and is no weight."""
    found: set[ir.Node] = set()
    known = set(graph.inputs)
    for node in graph:
        if not known.isdisjoint(inputs_of(node)):
            found.add(node)
            known.update(node.outputs)
    return found


def _is_trained(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and any(map(is_parameter, stored_inputs_of(node)))


def _computed(node: ir.Node, known: Known) -> tuple[Tensor, ...]:
    inputs = [
        None if value is None or is_static_input(node, index) else _content(value, known)
        for index, value in enumerate(node.inputs)
    ]
    with torch.no_grad():
        result = make_op(node).eval()(*inputs)
    return (result,) if isinstance(result, Tensor) else tuple(result)


def _content(value: ir.Value, known: Known) -> Tensor:
    if value not in known:
        content = to_tensor(array_of(value))
        known[value] = content.double() if is_weight(value) else content
    return known[value]


def _store(graph: ir.Graph, value: ir.Value, content: Tensor, *, is_trained: bool) -> None:
    """Put an initializer in the place of ``value``, with what is noted about the node that computed it."""
    node, name = value.producer(), name_of(value)
    assert node is not None and value.dtype is not None
    value.name = f"{name} (computed)"
    stored = store(graph, name, ir.Tensor(content.numpy().astype(value.dtype.numpy())))
    stored.metadata_props.update({key: text for key, text in node.metadata_props.items() if key != SOURCE_KEY})
    if not is_trained:
        stored.metadata_props[ROLE_KEY] = CONSTANT
    redirect(value, stored)
    if not any(output.uses() for output in node.outputs):
        graph.remove(node, safe=True)
