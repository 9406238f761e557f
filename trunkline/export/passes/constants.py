"""Fold constants: compute what is computed from stored tensors alone, and store what it comes to.

While a model trains, a kernel may be the product of two tensors, or a bias may be read out of a table
(:mod:`trunkline.graph.computed_weights`). A delivered file holds plain weights: what does not depend on the image need
not be computed for each.

The computing is onnxscript's. It is given these nodes alone, cut out as a model of their own, because on a whole model
it also rewrites nodes that an image runs through, and the new ones would not say whom they serve. It is given them in
float64, so that the result is rounded once.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.graph.computed_weights import stored_inputs_of
from trunkline.graph.graph import (
    CONSTANT,
    IR_VERSION,
    ROLE_KEY,
    SOURCE_KEY,
    array_of,
    attribute,
    inputs_of,
    is_weight,
    name_of,
    shape_of,
)
from trunkline.graph.passes.editor import Editor, redirect, store, take_over
from trunkline.graph.passes.remove_dead import RemoveDead
from trunkline.graph.roles import is_parameter
from trunkline.limits import DEFAULT_LIMITS


@dataclass(frozen=True, slots=True)
class FoldConstants:
    """Replaces each computed weight by a stored one of its name. Nodes must be in topological order.

    What onnxscript cannot compute, or is too large, stays computed; that is no error.

    Attributes:
        most_elements: Numbers that a folded tensor may have, or as many as it is computed from if that is more: a file
            must not grow by what a few numbers are repeated to.
    """

    most_elements: int = DEFAULT_LIMITS.folded_elements

    def __call__(self, graph: ir.Graph) -> int:
        """Store the computed weights of ``graph``, and return how many nodes went."""
        for_images = _nodes_for_images(graph)
        computed = [value for node in graph if node not in for_images for value in node.outputs]
        read = [value for value in computed if not for_images.isdisjoint(value.consumers())]
        if not read:
            return 0
        count = len(graph)
        tensors = self._computed(graph, read)
        # Before the first is stored: afterwards some of what the others are computed from is gone.
        trained = [_is_trained(value) for value in read]
        for value, tensor, is_trained in zip(read, tensors, trained, strict=True):
            if tensor is not None:
                _store(graph, value, tensor, is_trained=is_trained)
        RemoveDead()(graph)
        return count - len(graph)

    def _computed(self, graph: ir.Graph, values: list[ir.Value]) -> list[ir.TensorProtocol | None]:
        """Return what ``values`` come to, in their order; ``None`` where that cannot be known."""
        from onnxscript.optimizer import fold_constants  # a second of its own to import

        # Without inputs: a value that depends on the image would be refused.
        part = ir.convenience.extract(graph, [], values)
        for stored in part.initializers.values():
            _widen(stored)
        _cut_splits(part)
        with np.errstate(all="ignore"):  # what is not finite is what the network computes
            # The size of what it may give is decided before it is computed, not after.
            fold_constants(
                ir.Model(part, ir_version=IR_VERSION), output_size_limit=sys.maxsize, should_fold=self._is_small
            )
        return [value.const_value for value in part.outputs]

    def _is_small(self, node: ir.Node) -> bool:
        read = sum(_elements(value) for value in inputs_of(node))
        return all(_elements(value) <= max(read, self.most_elements) for value in node.outputs)


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


def _elements(value: ir.Value) -> int:
    return 0 if value.shape is None else math.prod(value.shape.numpy())


def _widen(stored: ir.Value) -> None:
    """Let a weight be of float64."""
    if is_weight(stored):
        stored.const_value = ir.Tensor(array_of(stored).astype(np.float64), name=stored.name)
        stored.type = ir.TensorType(ir.DataType.DOUBLE)


def _cut_splits(part: ir.Graph) -> None:
    """Let each Split be a Slice for each of its outputs: onnxscript folds nodes of one output only."""
    editor = Editor(part)
    for node in [node for node in part if node.op_type == "Split"]:
        axis, start = attribute(node, "axis", 0), 0
        for value in node.outputs:
            end = start + (shape_of(value)[axis] or 0)
            bounds = [
                editor.constant(f"{name_of(value)}.{word}", [at]) for word, at in (("start", start), ("end", end))
            ]
            axes = editor.constant(f"{name_of(value)}.axis", [axis])
            cut = editor.before(node, "Slice", [node.inputs[0], *bounds, axes], {})
            take_over(part, value, cut.outputs[0])
            start = end
        part.remove(node, safe=True)


def _store(graph: ir.Graph, value: ir.Value, tensor: ir.TensorProtocol, *, is_trained: bool) -> None:
    """Put an initializer in the place of ``value``, with what is noted about the node that computed it."""
    node, name = value.producer(), name_of(value)
    assert node is not None and value.dtype is not None
    value.name = f"{name} (computed)"
    stored = store(graph, name, ir.Tensor(tensor.numpy().astype(value.dtype.numpy())))
    stored.metadata_props.update({key: text for key, text in node.metadata_props.items() if key != SOURCE_KEY})
    if not is_trained:
        stored.metadata_props[ROLE_KEY] = CONSTANT
    redirect(value, stored)
    if not any(output.uses() for output in node.outputs):
        graph.remove(node, safe=True)
