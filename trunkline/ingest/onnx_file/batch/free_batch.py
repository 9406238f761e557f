"""Free the batch axis: out of the input, out of every Reshape, out of every Resize, out of every constant.

A file may merge the batch with other axes for a while, as ShuffleNet does to permute channels, and Swin to attend
within windows. Such a value keeps them apart here: what is ``[b·k, …]`` in the file is ``[N, k, …]`` in the Graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.graph.free_shapes import infer_free, join_free
from trunkline.graph.graph import BATCH, inputs_of, name_of, shape_of
from trunkline.graph.passes.editor import Editor, set_input, static
from trunkline.ingest.onnx_file.batch.batch_axis import batch_axis, mixes_images
from trunkline.ingest.onnx_file.batch.batch_place import BatchAxis
from trunkline.ingest.onnx_file.batch.free_reshape import free_reshape, unflatten
from trunkline.ingest.onnx_file.batch.free_resize import free_resize
from trunkline.ingest.onnx_file.batch.freeing import Freeing, Sizes, batch_error, sizes_of
from trunkline.ingest.onnx_file.batch.merged_rules import work_apart
from trunkline.ingest.onnx_file.batch.own_image import gather_own, works_along_batch
from trunkline.ingest.onnx_file.batch.second_batch import OF_NUMBER, SecondBatch
from trunkline.ingest.onnx_file.batch.settle import settle
from trunkline.ingest.onnx_file.batch.spread import give_each, make_once
from trunkline.limits import Budget

_REWRITTEN = frozenset({"Expand", "Flatten", "Gather", "Reshape", "Resize", "Slice"})
"""Operators whose sizes may be those of one batch size in the file."""
_TO_THE_END = 2**63 - 1
_BOUNDS = ("", "starts", "ends")


@dataclass(frozen=True, slots=True)
class FreeBatch:
    """Walks in order, because each node's rewriting needs the freed shapes of those before.

    1. The image input's first size becomes N.
    2. A Reshape or Expand that names the batch size keeps that axis instead.
    3. A Resize to sizes names scales or spatial sizes instead.
    4. A constant made for each image is made once.
    5. All shapes are inferred again, N free.

    Attributes:
        batch: The batch size all shapes were inferred for.
        budget: What folding may still store.
        second: What differs for a second batch size, where the file leaves the batch free.
    """

    batch: int
    budget: Budget
    second: SecondBatch | None = None

    def __call__(self, graph: ir.Graph) -> int:
        """Free the batch axis of ``graph``, and return how many nodes were there to free.

        Raises:
            InvalidModel: A node mixes the images of a batch, or works for one batch size only.
        """
        for image in graph.inputs:  # rule 1
            image.shape = ir.Shape([BATCH, *shape_of(image)[1:]])
        state = Freeing(Editor(graph), self.batch, self.second)
        count = 0
        for node in graph:
            if node not in state.editor.added:  # what the walk puts in is written for a free batch
                _free(node, state)
                count += 1
        settle(graph, state, self.budget)
        return count


def _free(node: ir.Node, state: Freeing) -> None:
    """Rewrite one node, and give its results shapes with a free batch."""
    first = [sizes_of(value) for value in node.outputs]
    second = [state.at_second(*pair) for pair in zip(node.outputs, first, strict=True)]
    reads = state.reads(node)
    reads_numbered = not state.numbered.isdisjoint(inputs_of(node))
    if not reads:
        _free_constant(node, state, first, second, is_numbered=reads_numbered)
        return
    # A table that counts the images may still read of each its own numbers: gather_own finds out.
    if reads_numbered and not works_along_batch(node, state):
        text = "computes with constants that number the images of the batch; they must be alike for each"
        raise batch_error(node, text)
    if state.second is not None and not state.second.bent.isdisjoint(inputs_of(node)):
        raise batch_error(node, OF_NUMBER)
    give_each(node, state)
    axes = _rewrite(node, state, first, second)
    if mixes_images(node):
        raise batch_error(node, "mixes the images of a batch")
    _infer(node, state, first, second, plain=axes is None)
    _note(node, state, axes, first, second)


def _free_constant(
    node: ir.Node, state: Freeing, first: list[Sizes], second: list[Sizes], *, is_numbered: bool
) -> None:
    """Treat a node that reads nothing of the image: its result may be as large as the batch, or number the images."""
    if is_numbered:
        state.numbered.update(node.outputs)
    elif first != second:  # rule 4
        make_once(node, state, first[0], second[0])
    elif _reads_number(node, state):
        state.numbered.update(node.outputs)


def _rewrite(node: ir.Node, state: Freeing, first: list[Sizes], second: list[Sizes]) -> BatchAxis | None:
    """Rewrite ``node`` for a free batch; return where its results merge the batch, ``None`` where none can."""
    if node.op_type == "Flatten":
        unflatten(node, state, first[0])  # it may be a Reshape now
    if node.op_type == "Reshape":  # rule 2
        return free_reshape(node, state, first[0], second[0])
    if works_along_batch(node, state):
        return gather_own(node, state)
    if not state.merged.keys().isdisjoint(inputs_of(node)):
        return work_apart(node, state)
    if node.op_type == "Expand":
        _free_expand(node, state)
    elif node.op_type == "Resize":  # rule 3
        free_resize(node, state.editor)
    elif node.op_type == "Slice":
        _free_slice(node, state, first[0])
    elif node.op_type == "Squeeze":
        _keep_batch(node)
    return None


def _infer(node: ir.Node, state: Freeing, first: list[Sizes], second: list[Sizes], *, plain: bool) -> None:
    """Give the results of ``node`` their free shapes (rule 5)."""
    # What is known for both batch sizes already need not be inferred for them again.
    if plain and state.second is not None and node.op_type not in _REWRITTEN:
        join_free(node, first, second)
    else:
        infer_free(node)


def _note(node: ir.Node, state: Freeing, axes: BatchAxis | None, first: list[Sizes], second: list[Sizes]) -> None:
    """Note where the results of ``node`` have their batch, having checked that they are the file's."""
    if _reads_number(node, state):
        raise batch_error(node, OF_NUMBER)
    is_alike = all(value in state.alike for value in state.reads(node))
    for value, *sizes in zip(node.outputs, first, second, strict=True):
        if axes is not None or state.second is not None:
            state.give(node, value, axes or BatchAxis(batch_axis(value) or 0), *sizes)
        if is_alike:
            state.alike.add(value)


def _reads_number(node: ir.Node, state: Freeing) -> bool:
    """Whether ``node`` reads a stored tensor that is another for another number of images."""
    return state.second is not None and state.second.reads_number(node)


def _keep_batch(node: ir.Node) -> None:
    data, axes = node.inputs[0], static(node, 1)
    assert data is not None
    axis = batch_axis(data)
    if axes is None or axis is None:
        return
    squeezed = [int(place) % len(shape_of(data)) for place in axes.ravel()]
    if axis in squeezed:
        raise batch_error(node, "takes the batch axis away, which is possible for one image only")


def _free_expand(node: ir.Node, state: Freeing) -> None:
    """Name 1 in the place of the batch size: by ONNX's text it keeps the input's size, and the batch is there."""
    data, sizes = node.inputs[0], static(node, 1)
    assert data is not None
    axis = batch_axis(data)
    if sizes is None or axis is None:
        return
    result = list(sizes_of(node.outputs[0]))
    result[axis + len(result) - len(shape_of(data))] = 1
    set_input(node, 1, state.editor.constant(f"{name_of(node)}.shape", result, np.int64))


def _free_slice(node: ir.Node, state: Freeing, first: Sizes) -> None:
    """Let a Slice that takes all images of the batch name no number of them."""
    data = node.inputs[0]
    assert data is not None
    settings = [found for index in range(1, 5) if (found := static(node, index)) is not None]
    batch, rank = batch_axis(data), len(shape_of(data))
    if batch is None or len(settings) < 4:
        return
    starts, ends, axes, steps = settings
    is_batch = np.array([int(axis) % rank == batch for axis in axes.ravel()])
    if not is_batch.any():
        return
    takes_all = first[batch] == state.batch and (steps.ravel()[is_batch] == 1).all()
    if takes_all:
        new_starts = np.where(is_batch, 0, starts.ravel())
        new_ends = np.where(is_batch, _TO_THE_END, ends.ravel())
        for index, bounds in enumerate((new_starts, new_ends), start=1):
            set_input(node, index, state.editor.constant(f"{name_of(node)}.{_BOUNDS[index]}", bounds, np.int64))
