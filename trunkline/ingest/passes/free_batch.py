"""Free the batch axis: out of the input, out of every Reshape, out of every Resize."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.ingest.graph import BATCH, attribute, name_of, shape_of
from trunkline.ingest.passes.edit import Editor, put, set_input, static
from trunkline.ingest.passes.infer_shapes import infer_free


@dataclass(frozen=True, slots=True)
class FreeBatch:
    """Walks in order, because each node's rewriting needs the freed shapes of those before.

    1. The image input's first size becomes N. 2. A Reshape that names the batch size keeps that axis instead.
    3. A Resize to sizes names scales or spatial sizes instead. 4. All shapes are inferred anew, with N free.

    Attributes:
        batch: The batch size all shapes were inferred for.
    """

    batch: int

    def __call__(self, graph: ir.Graph) -> bool:
        """Free the batch axis of ``graph``.

        Raises:
            InvalidModel: A node mixes the images of a batch, or works for one batch size only.
        """
        editor = Editor(graph)
        image = graph.inputs[0]
        image.shape = ir.Shape([BATCH, *shape_of(image)[1:]])
        for node in graph:
            if node.op_type == "Reshape":
                self._free_reshape(node, editor)
            if node.op_type == "Resize":
                _free_resize(node, editor)
            infer_free(node)
        return True

    def _free_reshape(self, node: ir.Node, editor: Editor) -> None:
        data, sizes = node.inputs[0], static(node, 1)
        assert data is not None
        shape = shape_of(data)
        if sizes is None or None not in shape:
            return
        result = [size or 0 for size in shape_of(node.outputs[0])]
        source = shape.index(None)
        target = self._batch_axis(shape, source, result)
        if target is None:
            text = f"Reshape from {_shown(shape)} to {result} (batch {self.batch}) merges the batch axis with others"
            raise InvalidModel(text, place=name_of(node), advice="export with a dynamic batch axis, kept as it is")
        # No size is 0 here, so allowzero changed nothing so far; from now on 0 means "as the input".
        put(node, "allowzero", 0)
        free = [int(size) for size in sizes.ravel()] if target == source else result
        free[target] = 0 if target == source else -1
        if free != sizes.ravel().tolist():
            set_input(node, 1, editor.constant(f"{name_of(node)}.shape", free, np.int64))

    def _batch_axis(self, shape: tuple[int | None, ...], source: int, result: list[int]) -> int | None:
        """Return the output axis with the batch size, and as many numbers before and behind it as at the input."""
        ahead = math.prod(size or 1 for size in shape[:source])
        behind = math.prod(size or 1 for size in shape[source + 1 :])
        for axis, size in enumerate(result):
            if size == self.batch and math.prod(result[:axis]) == ahead and math.prod(result[axis + 1 :]) == behind:
                return axis
        return None


def _free_resize(node: ir.Node, editor: Editor) -> None:
    sizes = static(node, 3)
    data = node.inputs[0]
    assert data is not None
    if sizes is None or shape_of(data)[0] is not None:
        return
    if attribute(node, "keep_aspect_ratio_policy") != "stretch":
        text = "Resize: keep_aspect_ratio_policy is not supported with sizes"
        raise InvalidModel(text, place=name_of(node), advice="give the scales, or both sizes and stretch")
    before = [size or 1 for size in shape_of(data)]
    after = [1, *(size or 1 for size in shape_of(node.outputs[0])[1:])]
    node.attributes.pop("axes", None)
    scales = [np.float32(new / old) for new, old in zip(after, before, strict=True)]
    if all(float(scale) * old == new for scale, old, new in zip(scales, before, after, strict=True)):
        set_input(node, 2, editor.constant(f"{name_of(node)}.scales", scales, np.float32))
        set_input(node, 3, None)
        return
    # A scale that float32 cannot hold could round to another size: name the sizes, without the batch's.
    axes = [axis for axis in range(1, len(after)) if axis > 1 or after[axis] != before[axis]]
    put(node, "axes", axes)
    set_input(node, 3, editor.constant(f"{name_of(node)}.sizes", [after[axis] for axis in axes], np.int64))


def _shown(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join(BATCH if size is None else str(size) for size in shape) + "]"
