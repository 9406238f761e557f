"""What is known of the batch in every value while a graph's batch is freed."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.free_shapes import ADVICE, PROBE_BATCHES
from trunkline.graph.graph import inputs_of, name_of, shape_of
from trunkline.graph.passes.editor import Editor
from trunkline.ingest.onnx_file.batch.batch_axis import batch_axis
from trunkline.ingest.onnx_file.batch.batch_place import BatchAxis
from trunkline.ingest.onnx_file.batch.second_batch import SecondBatch

Sizes = tuple[int, ...]


@dataclass(slots=True)
class Freeing:
    """The state of one walk.

    Attributes:
        editor: The editor of the graph.
        batch: The batch size that the file's sizes hold for.
        second: What the sizes are for a second batch size, where the file leaves the batch free.
        merged: By value, where the batch is, if the file merges it with other axes.
        alike: Constants made for each image of the batch, the same for all. Their N is 1 in the end.
        numbered: Constants that number the images of the batch, or hold how many there are.
        joints: Reshapes that merge the batch in the file, or take it apart.
        signs: Values that hold a truth value for each image, by what it is taken from and its shape.
    """

    editor: Editor
    batch: int
    second: SecondBatch | None
    merged: dict[ir.Value, BatchAxis] = field(default_factory=dict)
    alike: set[ir.Value] = field(default_factory=set)
    numbered: set[ir.Value] = field(default_factory=set)
    joints: list[ir.Node] = field(default_factory=list)
    signs: dict[tuple[object, ...], ir.Value] = field(default_factory=dict)

    def of(self, value: ir.Value) -> BatchAxis | None:
        """Return where the batch is in ``value``; ``None`` where it has none."""
        found = self.merged.get(value)
        if found is not None:
            return found
        axis = batch_axis(value)
        return None if axis is None else BatchAxis(axis)

    def reads(self, node: ir.Node) -> list[ir.Value]:
        """Return what ``node`` reads that has a batch."""
        return [value for value in inputs_of(node) if batch_axis(value) is not None]

    def rank(self, value: ir.Value) -> int:
        """Return how many axes ``value`` has in the file."""
        axis = self.merged.get(value)
        extra = 0 if axis is None else axis.extra
        return len(shape_of(value)) - extra

    def at_second(self, value: ir.Value, first: Sizes) -> Sizes:
        """Return the file's sizes of ``value`` for the second batch size, given those for the first."""
        return first if self.second is None else self.second.shapes.get(value, first)

    def give(self, node: ir.Node, value: ir.Value, axis: BatchAxis, first: Sizes, second: Sizes) -> None:
        """Note where the batch of a result of ``node`` is, which in the file has the sizes ``first`` and ``second``.

        Raises:
            InvalidModel: The Graph's result is another one.
        """
        batches = [self.batch] if self.second is None else PROBE_BATCHES
        shape = shape_of(value)
        # The free shape, with the batch put in, must be the file's: the proof that the rewriting kept the numbers.
        for batch, sizes in zip(batches, (first, second), strict=False):
            if batch_axis(value) != axis.place or tuple(axis.joined(shape, batch)) != sizes:
                raise batch_error(node, "works for one number of images only")
        if axis.extra:
            self.merged[value] = axis
            if value.is_graph_output():  # the caller would get another shape than the file gives
                raise batch_error(node, f"gives a result that merges {merged_text(axis)}")


def sizes_of(value: ir.Value) -> Sizes:
    """Return the sizes of a value as the file has them, before its batch is freed."""
    return tuple(size or 0 for size in shape_of(value))


def merged_text(axis: BatchAxis) -> str:
    """Return what the file makes one axis of: ``N and 64``."""
    factors = [axis.before, "N", axis.behind]
    *first, last = [str(factor) for factor in factors if factor != 1]
    if not first:
        return "the batch"
    return f"{', '.join(first)} and {last} into one axis"


def batch_error(node: ir.Node, text: str) -> InvalidModel:
    """Return the error for a node that cannot work on each image by itself."""
    return InvalidModel(f"{node.op_type} {text}", place=name_of(node), advice=ADVICE)
