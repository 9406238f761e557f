"""Find the shape of every value, with the batch axis free.

ONNX's rules for symbolic sizes lose the batch axis at Resize, Pad and others. So the shapes of each node are inferred
for two batch sizes that no network has: what stays the same is a size, what follows the batch is the batch axis, and
anything else is a node that mixes images.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import BATCH, inputs_of, name_of, shape_of
from trunkline.graph.node_shapes import infer_node
from trunkline.limits import Limits
from trunkline.text import shape_text

PROBE_BATCHES = (97, 101)
"""Batch sizes to try: primes, larger than any group count and unlike any channel count in use."""

ADVICE = "export with a dynamic batch axis, kept first; or cut the network before this node with --features"

_WINDOWS = frozenset({"AveragePool", "Conv", "LpPool", "MaxPool"})
_LARGER = "its window is larger than its input: give a larger image with --input-size H,W"

Sizes = Sequence[int | None]


def infer_fixed(node: ir.Node, limits: Limits, batch: int, *, may_be_empty: bool = False) -> None:
    """Infer the outputs of ``node`` from inputs whose sizes are all numbers, ``batch`` images at a time.

    Args:
        node: Its inputs have shapes.
        limits: What one image may ask for.
        batch: How many images the shapes are of.
        may_be_empty: Whether its outputs may hold no numbers at all, as a list of sizes may.

    Raises:
        InvalidModel: The node is impossible, or gives more than ``limits`` how_to_raise, or of unknown size.
    """
    infer_node(node)
    for value in node.outputs:
        sizes = _known_sizes(value)
        if value.shape is None or None in sizes:
            advice = "give the image size with --input-size H,W, and simplify the file so that shapes are constants"
            raise InvalidModel(
                f"{node.op_type}: the size of its output is not known", place=name_of(node), advice=advice
            )
        known = [size for size in sizes if size is not None]
        if min(known, default=1) < 1 and not may_be_empty:
            # Where a window is larger than its input, ONNX's inference gives a size below 1 and no error.
            advice = _LARGER if node.op_type in _WINDOWS else ""
            raise InvalidModel(f"{node.op_type}: its output {known} is empty", place=name_of(node), advice=advice)
        # The limits are those of one image. A file may merge its batch with another axis, so only the product is sure.
        of_one_image = known if batch == 1 else [math.prod(known) // batch]
        if problem := limits.problem(name_of(node), of_one_image):
            raise InvalidModel(problem)


def infer_free(node: ir.Node) -> None:
    """Infer the outputs of ``node`` with a free batch axis.

    Raises:
        InvalidModel: The node is impossible for a batch of any other size, or mixes images.
    """
    first, second = _outputs_at_each(node)
    join_free(node, first, second)


def join_free(node: ir.Node, first: Sequence[Sizes], second: Sequence[Sizes]) -> None:
    """Set the shapes of the outputs of ``node`` from those it has for either of :data:`PROBE_BATCHES`.

    Raises:
        InvalidModel: It mixes images.
    """
    from_image = any(_has_batch(value) for value in inputs_of(node))
    for value, a, b in zip(node.outputs, first, second, strict=True):
        dims = [_join(*pair) for pair in zip(a, b, strict=True)]
        # What comes of the image has the batch axis once. Twice, each image would be combined with each.
        if None in dims or dims.count(BATCH) != from_image:
            read = ", ".join(shape_text(shape_of(value)) for value in inputs_of(node))
            given = ", ".join(_named(*pair) for pair in zip(a, b, strict=True))
            text = f"{node.op_type}: of {read} it makes [{given}]; each image must be computed on its own"
            raise InvalidModel(text, place=name_of(node), advice=ADVICE)
        value.shape = ir.Shape(dims)


def name_batch(text: str, own: Collection[int] = ()) -> str:
    """Write N where ``text`` has the first of :data:`PROBE_BATCHES`, a number that is in no file, or a multiple of it.

    Args:
        text: A message about sizes.
        own: Numbers that stay as they are, because the file has them.
    """

    def name(found: re.Match[str]) -> str:
        times, rest = divmod(int(found[0]), PROBE_BATCHES[0])
        is_batch = times > 0 and rest == 0 and int(found[0]) not in own
        return _times(times) if is_batch else found[0]

    # Not within names: those are words, or in quotes.
    return re.sub(r"(?<![\w.'\"])\d{2,15}(?![\w'\"])", name, text)


def _outputs_at_each(node: ir.Node) -> tuple[list[Sizes], list[Sizes]]:
    try:
        first, second = (_outputs_at(node, batch) for batch in PROBE_BATCHES)
    except InvalidModel as error:
        own = {size for value in inputs_of(node) for size in _known_sizes(value) if size is not None}
        text = f"{name_batch(error.problems[0].message, own)}; for one image it may be possible, for more it is not"
        raise InvalidModel(text, place=name_of(node), advice=ADVICE) from error
    return first, second


def _outputs_at(node: ir.Node, batch: int) -> list[Sizes]:
    """Return the output sizes of ``node`` for ``batch`` images; the shapes of its inputs are put back."""
    inputs = {value: value.shape for value in inputs_of(node) if _has_batch(value)}
    try:
        for value in inputs:
            value.shape = ir.Shape([batch if size is None else size for size in _known_sizes(value)])
        infer_node(node)
    finally:
        for value, shape in inputs.items():
            value.shape = shape
    return [_known_sizes(value) for value in node.outputs]


def _join(a: int | None, b: int | None) -> int | str | None:
    """Return the size that is ``a`` for the first batch and ``b`` for the second; ``None`` where there is none."""
    if (a, b) == PROBE_BATCHES:
        return BATCH
    return a if a == b else None


def _named(a: int | None, b: int | None) -> str:
    """Return a size as the user may read it: a number, a multiple of N, or that it follows N in another way."""
    if a == b:
        return "?" if a is None else str(a)
    times, rest = divmod(a or 0, PROBE_BATCHES[0])
    if rest == 0 and b == times * PROBE_BATCHES[1]:
        return _times(times)
    return "a size that depends on N"


def _times(count: int) -> str:
    return BATCH if count == 1 else f"{count}·{BATCH}"


def _known_sizes(value: ir.Value) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in value.shape or ()]


def _has_batch(value: ir.Value) -> bool:
    return None in _known_sizes(value)
