"""Walk a graph once, in order, and bring every node to canonical form: its opset, its attributes, its shape.

These belong in one walk, because each needs what the others find out about the nodes before: an old Softmax
needs the rank of its input, the rank may come from a Reshape, and the Reshape's sizes from folded arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.free_shapes import ADVICE, infer_fixed
from trunkline.graph.graph import data_inputs_of, name_of
from trunkline.graph.passes.editor import Editor, input_at, set_input
from trunkline.graph.passes.eliminate_identity import eliminate, is_identity
from trunkline.ingest.onnx_file.adapters.adapt import adapt
from trunkline.ingest.onnx_file.batch.second_batch import SecondBatch
from trunkline.ingest.onnx_file.evaluate import can_evaluate
from trunkline.ingest.onnx_file.passes.empty_parts import join_what_is_there, leave_out, may_be_left_out
from trunkline.ingest.onnx_file.passes.explicit_attributes import make_explicit
from trunkline.ingest.onnx_file.passes.explicit_inputs import complete_inputs
from trunkline.ingest.onnx_file.passes.fold_constants import ConstantFolder
from trunkline.ingest.onnx_file.passes.follow_image import OwnReshape, follow_image
from trunkline.ingest.onnx_file.passes.purposes import purposes_of
from trunkline.ingest.onnx_file.passes.single_precision import to_single
from trunkline.ingest.onnx_file.passes.take_branch import take_branch
from trunkline.limits import Budget

_REPEATS = ("Expand", "Tile")
"""Operators that may repeat a tensor once along each axis, which is to leave it as it is."""


@dataclass(frozen=True, slots=True)
class CanonicalNodes:
    """Does four things to each node, in this order.

    1. It becomes float32, and one of the canonical opset.
    2. Its settings become explicit.
    3. Its shapes are inferred.
    4. It is folded, where it depends on nothing but stored tensors.

    Attributes:
        opset: The opset the file was written at.
        batch: The batch size that the image input has for now.
        budget: What folding may still store.
        own: What each Reshape does at the file's own image size, where that is another.
        single: Whether all that is computed from the image shall be float32.
        second: What differs for a second batch size, where the file leaves the batch free; it is filled in.
        merged: The names of the weights that others were merged into; it is filled in.
    """

    opset: int
    batch: int
    budget: Budget
    own: Mapping[str, OwnReshape] = field(default_factory=dict)
    single: bool = False
    second: SecondBatch | None = None
    merged: list[str] = field(default_factory=list)

    def __call__(self, graph: ir.Graph) -> int:
        """Bring the nodes of ``graph`` to canonical form, and return how many were looked at."""
        editor = Editor(graph)
        folder = ConstantFolder(editor, self.budget, purposes_of(graph), self.merged)
        done: dict[ir.Value, ir.Value] = {}
        count = 0
        for node in graph:
            count += 1
            try:
                self._bring(node, editor, folder, done)
            except InvalidModel as error:
                if self.second is None:
                    raise
                raise self.second.retold(error, node) from error
        folder.forget()
        return count

    def _bring(self, node: ir.Node, editor: Editor, folder: ConstantFolder, done: dict[ir.Value, ir.Value]) -> None:
        """Bring one node to canonical form, or take it out; ``done`` holds the float32 weights made so far."""
        node.domain = ""
        if node.op_type == "If":
            self._take(node, editor)
            return
        read = tuple(node.inputs)
        # Rule 1. Arithmetic on sizes and weights keeps its precision here: it is folded, or widened once it stays.
        if self.single and data_inputs_of(node):
            to_single(node, editor, done)
        # What an adapter has written is at the canonical opset already, and would be adapted a second time.
        if node not in editor.added:
            adapt(node, self.opset, editor)
        if node.inputs and node.inputs[-1] is None:
            set_input(node, len(node.inputs) - 1, None)
        complete_inputs(node, editor)  # rule 2
        make_explicit(node)
        if self.second is not None:
            self.second.keep_images(node, editor)
            self.second.check_kept(node, read, editor, done)
        asked = input_at(node, 1)
        follow_image(node, self.own, editor)
        if self.second is not None:
            self.second.take_over(asked, input_at(node, 1))
        join_what_is_there(node)
        is_part = may_be_left_out(node)
        # An empty list of axes or sizes is nothing wrong. An empty map is.
        may_be_empty = is_part or can_evaluate(node) or folder.purposes.from_image.isdisjoint(node.outputs)
        infer_fixed(node, self.budget.limits, self.batch, may_be_empty=may_be_empty)  # rule 3
        if is_part and leave_out(editor.graph, node):
            return
        is_gone = (_copies_stored(node) and eliminate(editor.graph, node)) or self._fold(node, editor, folder)  # rule 4
        read = tuple(node.inputs)
        if self.single and not is_gone and to_single(node, editor, done):  # what computes a weight, and stays
            infer_fixed(node, self.budget.limits, self.batch)
            if self.second is not None:
                self.second.check_kept(node, read, editor, done)

    def _fold(self, node: ir.Node, editor: Editor, folder: ConstantFolder) -> bool:
        """Fold ``node``, and return whether it is gone; what depends on the batch is folded for both batch sizes."""
        if self.second is None:
            return folder.fold(node)
        self.second.follow(node)
        if self.second.touches(node):
            return self.second.fold(node, editor, self.budget)
        return folder.fold(node)

    def _take(self, node: ir.Node, editor: Editor) -> None:
        if self.second is not None and self.second.touches(node):
            text = "If: its condition depends on how many images there are"
            raise InvalidModel(text, place=name_of(node), advice=ADVICE)
        take_branch(node, editor, self.opset, self.budget)


def _copies_stored(node: ir.Node) -> bool:
    """Whether a node gives a stored tensor as it is; folded, a weight would lose its name."""
    source = node.inputs[0] if node.inputs else None
    if source is None or not source.is_initializer():
        return False
    repeats_once = node.op_type in _REPEATS and source.shape == node.outputs[0].shape
    return repeats_once or is_identity(node)
