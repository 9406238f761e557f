"""Follow what a file's sizes would be for a second batch size: what depends on the batch is then known, not guessed.

While a file with a free batch is read, its batch size is the first of ``PROBE_BATCHES``, so that arithmetic on sizes
can be computed. A number that came of it looks like any other. So each shape, and each stored tensor that such
arithmetic gives, is kept for the second of them too, where it differs there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.free_shapes import ADVICE, PROBE_BATCHES, name_batch
from trunkline.graph.graph import CONSTANT, ROLE_KEY, array_of, attribute, inputs_of, is_weight, name_of
from trunkline.graph.node_shapes import infer_node
from trunkline.graph.passes.editor import Editor, set_input, static
from trunkline.graph.roles import may_train
from trunkline.ingest.onnx_file.batch.assumed_sizes import Array, Sizes, assuming, computed, known_sizes
from trunkline.ingest.onnx_file.evaluate import can_evaluate
from trunkline.ingest.onnx_file.passes.lift_constants import replace_by_tensors
from trunkline.ingest.onnx_file.proto.operators import EVALUATED
from trunkline.limits import Budget

OF_NUMBER = "computes with the number of images in the batch"
_OF_SHAPES = ("Shape", "Size")
_IN_PROPORTION = frozenset({"Add", "Concat", "Neg", "Sub", "Sum"})
"""Arithmetic whose result grows in proportion, where what it reads grows with the number of images."""
_MOVING = frozenset(
    {
        *("ConstantOfShape", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Shape", "Size", "Slice", "Split"),
        *("Squeeze", "Tile", "Transpose", "Unsqueeze"),
    }
)
"""Operators that only move numbers, and so keep the proportion, if it is their first input that grows."""
_OTHERS = (1, 2, 3, 1000)
"""Batch sizes at which arithmetic is tried that may be out of proportion."""


class SecondBatch:
    """What differs at the second batch size.

    Attributes:
        shapes: Shapes that differ, by value: of values computed from the image, and of constants made for each image.
        contents: What stored tensors hold that differ, by value; their shape is the same at both.
        bent: Stored tensors that do not grow in proportion from one batch size to the other, such as whether there
            are more than four images: they would be wrong for a third.
    """

    def __init__(self, images: Sequence[ir.Value]) -> None:
        self.shapes: dict[ir.Value, Sizes] = {}
        self.contents: dict[ir.Value, Array] = {}
        self.bent: set[ir.Value] = set()
        self._followed: set[ir.Node] = set()
        for image in images:
            self.shapes[image] = (PROBE_BATCHES[1], *known_sizes(image)[1:])

    def touches(self, node: ir.Node) -> bool:
        """Whether ``node`` reads anything that differs."""
        known = (self.shapes, self.contents, self.bent)
        return any(value in found for value in inputs_of(node) for found in known)

    def reads_number(self, node: ir.Node) -> bool:
        """Whether ``node`` reads a stored tensor that is another for another number of images."""
        return any(value in self.contents or value in self.bent for value in inputs_of(node))

    def keep_images(self, node: ir.Node, editor: Editor) -> None:
        """Let a Resize to stored sizes give as many images as it reads: it names those that its exporter saw."""
        sizes, data = static(node, 3), node.inputs[0] if node.inputs else None
        if node.op_type != "Resize" or sizes is None or data not in self.shapes:
            return
        if node.inputs[3] in self.contents:  # computed from the shape: it follows the batch by itself
            return
        pairs = list(zip(known_sizes(data), self.shapes[data], strict=True))
        read = [pairs[axis] for axis in attribute(node, "axes") or range(len(pairs))]
        first, second = sizes.tolist(), sizes.tolist()
        for place, pair in enumerate(read):
            if pair[0] != pair[1]:
                first[place], second[place] = pair
        if first != second:
            value = editor.constant(f"{name_of(node)}.sizes", first, np.int64)
            self.contents[value] = np.array(second, np.int64)
            set_input(node, 3, value)

    def check_kept(
        self, node: ir.Node, read: Sequence[ir.Value | None], editor: Editor, widened: Mapping[ir.Value, ir.Value]
    ) -> None:
        """Check that ``node`` still reads what it read before, as far as that depends on the batch.

        Args:
            node: A node in canonical form.
            read: What it read before it was brought to that form.
            editor: The editor of the graph; nodes that it has added may read in place of ``node``.
            widened: The float32 weights made so far, by the weights they were made of.

        Raises:
            InvalidModel: A setting was computed from the first batch size.
        """
        for value in read:
            if value is None or value not in self.contents:
                continue
            if value in widened:
                self.contents[widened[value]] = self.contents[value].astype(np.float32)
                continue
            readers = value.consumers()
            # An adapter that takes a number in and stores what comes of it has used the first batch size.
            if node not in readers and editor.added.isdisjoint(readers):
                raise InvalidModel(f"{node.op_type} {OF_NUMBER}", place=name_of(node), advice=ADVICE)

    def take_over(self, old: ir.Value | None, new: ir.Value | None) -> None:
        """Note that the sizes ``new``, which take the place of ``old``, follow the batch where those did."""
        if old is None or new is None or new is old or old not in self.contents:
            return
        first = array_of(new)
        follows = array_of(old) != self.contents[old]
        self.contents[new] = np.where(follows, first // PROBE_BATCHES[0] * PROBE_BATCHES[1], first)

    def follow(self, node: ir.Node) -> None:
        """Note the shapes that ``node``, whose shapes are known for the first batch size, has for the second.

        Raises:
            InvalidModel: It is impossible there: the file works for one batch size only.
        """
        waiting = [node]
        while waiting:
            # The walk over the graph does not come to what an adapter puts in front of a node.
            makers = [value.producer() for value in inputs_of(waiting[-1])]
            unseen = [maker for maker in makers if maker is not None and maker not in self._followed]
            if unseen:
                waiting += unseen
                continue
            following = waiting.pop()
            self._followed.add(following)
            if self.touches(following):
                self._note(following)

    def follow_again(self, graph: ir.Graph) -> None:
        """Find all shapes again, for both batch sizes, after axes have changed their order.

        Raises:
            InvalidModel: A constant that depends on the batch was turned with them: what it is now is not known.
        """
        for value in self.contents:
            if graph.initializers.get(name_of(value)) is value and not value.uses():
                raise InvalidModel("a constant depends on the number of images in the batch", place=name_of(value))
        self.shapes = {image: self.shapes[image] for image in graph.inputs}
        self._followed.clear()
        for node in graph:
            infer_node(node)
            self.follow(node)

    def fold(self, node: ir.Node, editor: Editor, budget: Budget) -> bool:
        """Replace arithmetic on sizes by what it gives at the first batch size, and note what at the second.

        A constant whose own size follows the batch stays a node: it is one constant, made for each image.
        """
        if not can_evaluate(node) or node.op_type not in EVALUATED:
            return False
        if any(map(_is_weight, inputs_of(node))):  # a table of weights read in places that depend on the batch
            return False
        if any(value in self.shapes for value in node.outputs):
            return False
        if node.op_type not in _OF_SHAPES:
            for value in node.outputs:
                budget.charge(name_of(value), known_sizes(value))
        first = computed(node)
        with self._at_second(node):
            second = computed(node)
        bends = not self.bent.isdisjoint(inputs_of(node)) or self._bends(node, first, second)
        stored = replace_by_tensors(editor, node, [ir.Tensor(array) for array in first])
        for value, here, there in zip(stored, first, second, strict=True):
            if is_weight(value):
                value.metadata_props[ROLE_KEY] = CONSTANT
            if not np.array_equal(here, there):
                self.contents[value] = there
            if bends:
                self.bent.add(value)
        return True

    def _bends(self, node: ir.Node, first: Sequence[Array], second: Sequence[Array]) -> bool:
        """Whether what ``node`` makes of sizes is out of proportion for batches of other sizes.

        A comparison may give the same at both batch sizes and differ at others, as may a remainder or a maximum.
        """
        differing = [index for index, value in enumerate(node.inputs) if value in self.contents]
        if not differing or node.op_type in _IN_PROPORTION:
            return False
        if node.op_type in _MOVING and differing == [0]:
            return False
        reads = {value: (array_of(value), self.contents.get(value, array_of(value))) for value in inputs_of(node)}
        for batch in _OTHERS:
            contents = {value: _in_proportion(*pair, batch) for value, pair in reads.items()}
            with assuming({}, contents):
                found = computed(node)
            expected = [_in_proportion(*pair, batch) for pair in zip(first, second, strict=True)]
            if not all(map(np.array_equal, found, expected)):
                return True
        return False

    def retold(self, error: InvalidModel, node: ir.Node) -> InvalidModel:
        """Return ``error`` with N in the place of the first batch size, which is in no file."""
        own = {size for value in inputs_of(node) for size in self._sizes_of_file(value)}
        return type(error)([replace(item, message=name_batch(item.message, own)) for item in error.problems])

    def _note(self, node: ir.Node) -> None:
        """Infer the outputs of ``node`` at the second batch size, and keep the shapes that differ there."""
        first = [value.shape for value in node.outputs]
        with self._at_second(node):
            try:
                infer_node(node)
                second = [value.shape for value in node.outputs]
            except InvalidModel as error:
                text = f"{node.op_type} works for one number of images only"
                raise InvalidModel(text, place=name_of(node), advice=ADVICE) from error
            finally:
                for value, shape in zip(node.outputs, first, strict=True):
                    value.shape = shape
        for value, shape, other in zip(node.outputs, first, second, strict=True):
            if other is not None and shape != other:
                self.shapes[value] = tuple(int(size) for size in other.numpy())

    def _sizes_of_file(self, value: ir.Value) -> Iterator[int]:
        """Yield the sizes of ``value`` that do not come of the batch, even if they look as if they did."""
        sizes = known_sizes(value)
        pairs = zip(sizes, self.shapes.get(value, sizes), strict=True)
        return (first for first, second in pairs if first == second)

    @contextmanager
    def _at_second(self, node: ir.Node) -> Iterator[None]:
        shapes = {value: self.shapes[value] for value in inputs_of(node) if value in self.shapes}
        contents = {value: self.contents[value] for value in inputs_of(node) if value in self.contents}
        with assuming(shapes, contents):
            yield


def _is_weight(value: ir.Value) -> bool:
    """Whether ``value`` trains: a stored weight, or one that is computed, stays a node, and is known for the walk."""
    is_float = value.dtype is not None and value.dtype.is_floating_point()
    return may_train(value) or (is_float and value.const_value is not None and not value.is_initializer())


def _in_proportion(first: Array, second: Array, batch: int) -> Array:
    """Return what numbers are for ``batch`` images if they grow in proportion, given those for both batch sizes."""
    if first.dtype == np.bool_:
        return first
    slope = (second.astype(np.float64) - first) / (PROBE_BATCHES[1] - PROBE_BATCHES[0])
    return np.asarray(first + slope * (batch - PROBE_BATCHES[0])).astype(first.dtype)
