"""A Gather along the batch that takes from each image its own numbers, by a table that counts the images.

torch's exporters write a view with strides of its own (``as_strided``) as one row of all numbers and a table of where
each number of the view lies in it: ``n · C + c`` for image n. For one image the table is the same for every n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from trunkline.graph.free_shapes import PROBE_BATCHES
from trunkline.graph.graph import attribute, inputs_of, name_of, shape_of
from trunkline.graph.passes.editor import put
from trunkline.ingest.onnx_file.adapters.decompose import become
from trunkline.ingest.onnx_file.batch.assumed_sizes import Array, assuming, computed, known_sizes
from trunkline.ingest.onnx_file.batch.batch_place import BatchAxis
from trunkline.ingest.onnx_file.batch.freeing import Freeing, batch_error
from trunkline.ingest.onnx_file.batch.second_batch import SecondBatch
from trunkline.ingest.onnx_file.proto.operators import EVALUATED

_MOST_NUMBERS = 2**22
"""Numbers in a table at either batch size, at most: enough for one number per channel of a pooled map."""


def works_along_batch(node: ir.Node, state: Freeing) -> bool:
    """Whether ``node`` gathers along the axis that holds the batch of its first input, by a known table."""
    data = node.inputs[0]
    axis = None if data is None else state.of(data)
    if node.op_type != "Gather" or data is None or axis is None:
        return False
    return int(attribute(node, "axis", 0)) % state.rank(data) == axis.axis


def gather_own(node: ir.Node, state: Freeing) -> BatchAxis:
    """Rewrite ``node`` to gather from each image by itself, and return where its result has the batch.

    Raises:
        InvalidModel: Its table is not known, or crosses images.
    """
    data, indices = node.inputs[0], node.inputs[1]
    assert data is not None and indices is not None
    axis = state.of(data)
    assert axis is not None
    tables = _tables(indices, state)
    if not tables or axis.before > 1:
        raise batch_error(node, "picks images or parts of them out of the batch")
    own = [_own_table(table, batch, axis.behind) for batch, table in tables]
    table = own[0]
    if table is None or any(other is None or not np.array_equal(table, other) for other in own):
        raise batch_error(node, "picks images or parts of them out of the batch: it mixes images")
    sizes = [size or 1 for size in shape_of(data)]
    count, rest = table.shape[0], table.shape[1:]
    result = BatchAxis(axis.axis, 1, count)
    place = axis.place
    of_image = table.shape if count > 1 else rest  # in the Graph, an axis of one number is left out
    if np.array_equal(table.ravel(), np.arange(axis.behind)):
        # Every number of the image, in order: there is nothing to gather.
        kept = [*sizes[:place], -1, *of_image, *sizes[place + axis.extra + 1 :]]
        state.joints.append(node)
        become(node, "Reshape", [data, state.editor.constant(f"{name_of(node)}.shape", kept, np.int64)], allowzero=0)
        return result
    if axis.behind == 1:  # of one number for each image there is nothing else to pick
        raise batch_error(node, "repeats the images of a batch")
    put(node, "axis", place + 1)
    node.replace_input_with(1, state.editor.constant(f"{name_of(node)}.indices", table.reshape(of_image), np.int64))
    return result


def _tables(indices: ir.Value, state: Freeing) -> list[tuple[int, Array]]:
    """Return each batch size that the table is known for, with the table; nothing where it is not known."""
    if state.second is None:
        stored = indices.const_value
        return [] if stored is None else [(state.batch, stored.numpy())]
    both = _at_both(indices, state.second)
    return [] if both is None else list(zip(PROBE_BATCHES, both, strict=True))


def _at_both(table: ir.Value, second: SecondBatch) -> tuple[Array, Array] | None:
    """Return what a computed constant holds at either batch size; ``None`` where it is too large or not known."""
    known: dict[ir.Value, tuple[Array, Array]] = {}
    waiting = [table]  # depth first, without recursion: a file may chain more nodes than Python has stack frames
    while waiting:
        top = waiting[-1]
        node = top.producer()
        if top.const_value is not None and top not in second.bent:
            first = top.const_value.numpy()
            known[top] = (first, second.contents.get(top, first))
        elif node is None or node.op_type not in EVALUATED or len(node.outputs) > 1 or not _is_small(top, second):
            return None
        elif missing := [read for read in inputs_of(node) if read not in known]:
            waiting += missing
            continue
        else:
            known[top] = (_from(node, known, 0), _from(node, known, 1))
        waiting.pop()
    return known[table]


def _from(node: ir.Node, known: Mapping[ir.Value, tuple[Array, Array]], index: int) -> Array:
    contents = {value: known[value][index] for value in inputs_of(node)}
    with assuming({value: array.shape for value, array in contents.items()}, contents):
        return computed(node)[0]


def _is_small(value: ir.Value, second: SecondBatch) -> bool:
    sizes = second.shapes.get(value)
    return math.prod(known_sizes(value) if sizes is None else sizes) <= _MOST_NUMBERS


def _own_table(table: Array, batch: int, behind: int) -> Array | None:
    """Return the table of one image, ``[k, ...]``; ``None`` where image n does not read its own numbers by it."""
    if not table.ndim or table.shape[0] % batch or not table.size:
        return None
    each = table.reshape(batch, table.shape[0] // batch, *table.shape[1:])
    each = np.where(each < 0, each + batch * behind, each)  # ONNX counts negative places from the end
    first_of_image = behind * np.arange(batch).reshape(-1, *[1] * (each.ndim - 1))
    own = each - first_of_image
    is_inside = own.min() >= 0 and own.max() < behind
    is_same = (own == own[:1]).all()
    return own[0] if is_inside and is_same else None
