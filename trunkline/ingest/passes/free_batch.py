"""Free the batch axis: out of the input, out of every Reshape, out of every Resize.

A file may merge the batch with the axis behind it for a while, as ShuffleNet does to permute channels. Such a value
keeps them apart here: what is ``[b·k, …]`` in the file is ``[N, k, …]`` in the Graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.ingest.graph import BATCH, attribute, inputs_of, name_of, shape_of
from trunkline.ingest.passes.batch_axis import batch_axis, mixes_images
from trunkline.ingest.passes.edit import Editor, put, set_input, static
from trunkline.ingest.passes.infer_shapes import infer_free

_ADVICE = "export with a dynamic batch axis, kept first; or cut the network before this node with --features"
_UNARY = frozenset(
    {
        *("Abs", "Clip", "Dropout", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu"),
        *("Log", "Mish", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh"),
    }
)
"""Operators that work on a value with one more axis as they do without."""


@dataclass(frozen=True, slots=True)
class FreeBatch:
    """Walks in order, because each node's rewriting needs the freed shapes of those before.

    1. The image input's first size becomes N. 2. A Reshape or Expand that names the batch size keeps that axis
    instead. 3. A Resize to sizes names scales or spatial sizes instead. 4. All shapes are inferred anew, N free.

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
        for image in graph.inputs:
            image.shape = ir.Shape([BATCH, *shape_of(image)[1:]])
        apart: set[ir.Value] = set()
        for node in graph:
            self._free(node, editor, apart)
            infer_free(node)
            for value in node.outputs:
                if value in apart and value.is_graph_output():
                    raise _refused(node, f"its result {_shown(shape_of(value))} merges N with the axis behind it")
        return True

    def _free(self, node: ir.Node, editor: Editor, apart: set[ir.Value]) -> None:
        """Rewrite ``node``; ``apart`` are the values whose batch the file merges with the axis behind it."""
        if node.op_type == "Flatten":
            self._unflatten(node, editor, apart)
        if node.op_type == "Reshape":
            self._free_reshape(node, editor, apart)
        elif not apart.isdisjoint(inputs_of(node)):
            _work_apart(node, apart)
        elif node.op_type == "Expand":
            _free_expand(node, editor)
        elif node.op_type == "Resize":
            _free_resize(node, editor)
        elif node.op_type == "Squeeze":
            _keep_batch(node)
        if mixes_images(node):
            raise _refused(node, "mixes the images of a batch")

    def _unflatten(self, node: ir.Node, editor: Editor, apart: set[ir.Value]) -> None:
        """A Flatten that does not just leave the first axis, the batch, alone is a Reshape."""
        data = node.inputs[0]
        assert data is not None
        axis, first = batch_axis(data), int(attribute(node, "axis", 1))
        first += len(shape_of(data)) - (data in apart) if first < 0 else 0
        if axis is None or (axis == 0 and first == 1 and data not in apart):
            return
        if first <= axis:
            raise _refused(node, "merges the batch axis with others")
        node.op_type = "Reshape"
        node.attributes.pop("axis", None)
        sizes = [size or 0 for size in shape_of(node.outputs[0])]
        set_input(node, 1, editor.constant(f"{name_of(node)}.shape", sizes, np.int64))

    def _free_reshape(self, node: ir.Node, editor: Editor, apart: set[ir.Value]) -> None:
        data, sizes = node.inputs[0], static(node, 1)
        assert data is not None
        shape = shape_of(data)
        source = batch_axis(data)
        if sizes is None or source is None:
            return
        result = [size or 0 for size in shape_of(node.outputs[0])]
        if math.prod(result) != math.prod(size or self.batch for size in shape):
            raise _refused(node, f"from {_shown(shape)} to {result} changes how many numbers there are")
        target = self._target(result, math.prod(size or 1 for size in shape[:source]))
        if target is None:
            text = f"from {_shown(shape)} to {result} (batch {self.batch}) merges the batch axis with others"
            raise _refused(node, text)
        # No size is 0 here, so allowzero changed nothing so far; from now on 0 means "as the input".
        put(node, "allowzero", 0)
        stays = target == source and data not in apart
        free = [int(size) for size in sizes.ravel()] if stays else result
        behind = result[target] // self.batch
        if behind > 1:
            free = [*result[:target], -1, behind, *result[target + 1 :]]
            apart.add(node.outputs[0])
        else:
            free[target] = 0 if stays else -1
        if free != sizes.ravel().tolist():
            set_input(node, 1, editor.constant(f"{name_of(node)}.shape", free, np.int64))

    def _target(self, result: list[int], ahead: int) -> int | None:
        """Return the output axis that the batch is in: with as many numbers before it as at the input.

        It is the batch alone, or the batch times what follows it: the numbers of one image lie together in both.
        """
        places = [i for i, size in enumerate(result) if math.prod(result[:i]) == ahead and size % self.batch == 0]
        alone = [i for i in places if result[i] == self.batch]
        return next(iter([*alone, *places]), None)


def _work_apart(node: ir.Node, apart: set[ir.Value]) -> None:
    """Let ``node`` work on a value that has one more axis than in the file."""
    data = node.inputs[0]
    assert data is not None
    axis = batch_axis(data)
    if axis is not None and node.op_type == "Transpose":
        order: list[int] = []
        for old in attribute(node, "perm"):
            order += [axis, axis + 1] if old == axis else [old + (old > axis)]
        put(node, "perm", order)
    elif node.op_type not in _UNARY:
        raise _refused(node, f"works on {_shown(shape_of(data))}, of which the file makes one axis of N and the next")
    apart.add(node.outputs[0])


def _keep_batch(node: ir.Node) -> None:
    data, axes = node.inputs[0], static(node, 1)
    assert data is not None
    axis = batch_axis(data)
    if axes is not None and axis is not None and axis in [int(a) % len(shape_of(data)) for a in axes.ravel()]:
        raise _refused(node, "takes the batch axis away, which is possible for one image only")


def _free_expand(node: ir.Node, editor: Editor) -> None:
    """Sizes of 1 keep the input's: the batch is there already."""
    data, sizes = node.inputs[0], static(node, 1)
    assert data is not None
    axis = batch_axis(data)
    if sizes is None or axis is None:
        return
    result = [size or 0 for size in shape_of(node.outputs[0])]
    result[axis + len(result) - len(shape_of(data))] = 1
    set_input(node, 1, editor.constant(f"{name_of(node)}.shape", result, np.int64))


def _refused(node: ir.Node, text: str) -> InvalidModel:
    return InvalidModel(f"{node.op_type} {text}", place=name_of(node), advice=_ADVICE)


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
    named = [axis % len(before) for axis in attribute(node, "axes") or range(len(before))]
    node.attributes.pop("axes", None)
    scales = [np.float32(new / old) for new, old in zip(after, before, strict=True)]
    if all(float(scale) * old == new for scale, old, new in zip(scales, before, after, strict=True)):
        set_input(node, 2, editor.constant(f"{name_of(node)}.scales", scales, np.float32))
        set_input(node, 3, None)
        _name_region(node, editor, named, list(range(len(before))))
        return
    # A scale that float32 cannot hold could round to another size: name the sizes, without the batch's.
    axes = [axis for axis in range(1, len(after)) if axis > 1 or after[axis] != before[axis]]
    put(node, "axes", axes)
    set_input(node, 3, editor.constant(f"{name_of(node)}.sizes", [after[axis] for axis in axes], np.int64))
    _name_region(node, editor, named, axes)


def _name_region(node: ir.Node, editor: Editor, named: list[int], axes: list[int]) -> None:
    """Give the region of interest of a Resize, which stands for the axes ``named``, for ``axes`` instead."""
    region = static(node, 1)
    if region is None or named == axes:
        return
    whole = np.stack([np.zeros(max(*named, *axes) + 1, np.float32), np.ones(max(*named, *axes) + 1, np.float32)])
    whole[:, named] = region.reshape(2, -1)
    set_input(node, 1, editor.constant(f"{name_of(node)}.roi", whole[:, axes].ravel()))


def _shown(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join(BATCH if size is None else str(size) for size in shape) + "]"
