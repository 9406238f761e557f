"""Find the shape of every value, with the batch axis free.

ONNX's rules for symbolic sizes lose the batch axis at Resize, Pad and others. So each node is asked twice, for
two batch sizes no network has: what stays the same is a size, what follows the batch is the batch axis, and
anything else is a node that mixes images.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.ingest.graph import BATCH, inputs_of, name_of
from trunkline.ingest.limits import Limits
from trunkline.ingest.node_shapes import infer_node

WITNESSES = (97, 101)
"""Batch sizes to try: primes, larger than any group count and unlike any channel count in use."""

Sizes = list[int | None]


def infer_fixed(node: ir.Node, limits: Limits, batch: int) -> None:
    """Infer the outputs of ``node`` from inputs whose sizes are all numbers, ``batch`` images at a time.

    Raises:
        InvalidModel: The node is impossible, or gives more than ``limits`` allow, or of unknown size.
    """
    infer_node(node)
    for value in node.outputs:
        sizes = _sizes(value)
        if any(size is None for size in sizes) or value.shape is None:
            advice = "give the image size with --input-size H,W, and simplify the file so that shapes are constants"
            raise InvalidModel(
                f"{node.op_type}: the size of its output is not known", place=name_of(node), advice=advice
            )
        known = [size for size in sizes if size is not None]
        if min(known, default=1) < 1:
            raise InvalidModel(f"{node.op_type}: its output {known} is empty", place=name_of(node))
        if problem := limits.problem(name_of(node), known if batch == 1 else [math.prod(known) // batch]):
            raise InvalidModel(problem)


def infer_free(node: ir.Node) -> None:
    """Infer the outputs of ``node`` with a free batch axis.

    Raises:
        InvalidModel: The node is impossible for a batch of any other size, or mixes images.
    """
    first, second = (_outputs_at(node, batch) for batch in WITNESSES)
    from_image = any(_has_batch(value) for value in inputs_of(node))
    for value, a, b in zip(node.outputs, first, second, strict=True):
        dims = [_join(*pair) for pair in zip(a, b, strict=True)]
        if None in dims or dims.count(BATCH) != from_image:
            raise InvalidModel(
                f"{node.op_type}: for a batch of {WITNESSES[0]} it gives {a}, for {WITNESSES[1]} {b};"
                " each image must be computed on its own",
                place=name_of(node),
                advice="export with a dynamic batch axis, and leave the first axis as it is",
            )
        value.shape = ir.Shape(dims)


def _outputs_at(node: ir.Node, batch: int) -> list[Sizes]:
    inputs = {value: value.shape for value in inputs_of(node) if _has_batch(value)}
    try:
        for value in inputs:
            value.shape = ir.Shape([batch if size is None else size for size in _sizes(value)])
        infer_node(node)
    finally:
        for value, shape in inputs.items():
            value.shape = shape
    return [_sizes(value) for value in node.outputs]


def _join(a: int | None, b: int | None) -> int | str | None:
    if (a, b) == WITNESSES:
        return BATCH
    return a if a == b else None


def _sizes(value: ir.Value) -> Sizes:
    return [size if isinstance(size, int) else None for size in value.shape or ()]


def _has_batch(value: ir.Value) -> bool:
    return None in _sizes(value)
