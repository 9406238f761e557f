"""Let a Reshape that names the sizes of its file's own image follow an image of another size.

A file exported for one size has numbers where its author had ``h`` and ``w``: ``[1, 4, 28, 56, 56]`` after a map of
112 x 56 x 56. The order of the numbers in memory shows which axis of the input each of them is: axes with as many
numbers before them and after them are the same axis. Where it does not show that, the node stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.graph.passes.editor import Editor, put, set_input, static

Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OwnReshape:
    """A Reshape at its file's own image size.

    Attributes:
        reads: The shape of its input.
        asked: The sizes that it names, with 0 and −1 as in the file.
        gives: The shape of its output.
    """

    reads: Sizes
    asked: Sizes
    gives: Sizes


def reshapes_of(graph: ir.Graph) -> dict[str, OwnReshape]:
    """Return the Reshapes to stored sizes by the name of their output; all shapes must be known numbers."""
    found = {}
    for node in graph:
        asked = static(node, 1) if node.op_type == "Reshape" else None
        if asked is not None:
            reads, value = node.inputs[0], node.outputs[0]
            assert reads is not None
            target = tuple(int(size) for size in asked.ravel())
            found[name_of(value)] = OwnReshape(_sizes_free_as_zero(reads), target, _sizes_free_as_zero(value))
    return found


def follow_image(node: ir.Node, own: Mapping[str, OwnReshape], editor: Editor) -> None:
    """Give a Reshape that asks for the same sizes as at its file's own size those that follow its input.

    Raises:
        InvalidModel: It is impossible at this size, or could mean two different things.
    """
    before = own.get(node.outputs[0].name or "") if node.op_type == "Reshape" else None
    if before is None:
        return
    asked, value = static(node, 1), node.inputs[0]
    # Sizes that the file computes are others at another image size already.
    if asked is None or value is None or tuple(asked.ravel().tolist()) != before.asked:
        return
    reads = _sizes_free_as_zero(value)
    if reads == before.reads or len(reads) != len(before.reads):
        return
    followed = _followed(before, reads)
    literal = _literal(before.asked, reads, bool(attribute(node, "allowzero", 0)))
    if literal is not None and followed in (None, literal):
        return
    # With a −1 the node may be possible as it is. Unless that would change the batch, either could be meant.
    is_open = -1 in before.asked and literal is not None and literal[:1] == before.gives[:1]
    if followed is None or is_open:
        text = f"Reshape of {list(before.reads)} to {list(before.asked)}; at this image size it reads {list(reads)}"
        choice = f", and could give {literal} or {followed}" if is_open else ", which does not tell what it should give"
        advice = "read the file at its own size, or export it for the size that is wanted"
        raise InvalidModel(text + choice, place=name_of(node), advice=advice)
    put(node, "allowzero", 0)
    set_input(node, 1, editor.constant(f"{name_of(node)}.shape", _left_open(before.asked, followed), np.int64))


def _followed(before: OwnReshape, reads: Sizes) -> Sizes | None:
    """Return the sizes for an input of shape ``reads``; ``None`` if an axis that has changed is split."""
    result: list[int] = []
    for old, new in _groups(before.reads, before.gives):
        if all(before.reads[axis] == reads[axis] for axis in old):
            result += [before.gives[axis] for axis in new]
            continue
        wide = [axis for axis in new if before.gives[axis] != 1] or new[:1]
        if len(wide) > 1:  # which of them grows with the image is not known
            return None
        result += [_product(reads, old) if axis == wide[0] else 1 for axis in new]
    return tuple(result)


def _left_open(asked: Sizes, followed: Sizes) -> Sizes:
    """Leave open what the file does: it may be the batch that is free there."""
    return tuple(-1 if old == -1 else new for old, new in zip(asked, followed, strict=True))


def _groups(reads: Sizes, gives: Sizes) -> list[tuple[list[int], list[int]]]:
    """Pair the smallest runs of axes of both shapes that hold as many numbers."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(reads) and j < len(gives):
        old, new = [i], [j]
        i, j = i + 1, j + 1
        while (read := _product(reads, old)) != (given := _product(gives, new)):
            # The shorter run takes its next axis until both hold as many numbers.
            if read < given and i < len(reads):
                old.append(i)
                i += 1
            elif read > given and j < len(gives):
                new.append(j)
                j += 1
            else:
                return [(list(range(len(reads))), list(range(len(gives))))]
        groups.append((old, new))
    if i < len(reads) or j < len(gives):  # only axes of size 1 are left
        groups[-1][0].extend(range(i, len(reads)))
        groups[-1][1].extend(range(j, len(gives)))
    return groups


def _literal(asked: Sizes, reads: Sizes, allow_zero: bool) -> Sizes | None:
    """Return what the Reshape gives as it is; ``None`` where it is impossible."""
    sizes = list(asked)
    for axis, size in enumerate(asked):
        if size == 0 and not allow_zero and axis < len(reads):  # ONNX: 0 is the input's size there
            sizes[axis] = reads[axis]
    total, known = math.prod(reads), math.prod(size for size in sizes if size != -1)
    if -1 in sizes and known and total % known == 0:  # ONNX: −1 takes up the rest
        sizes[sizes.index(-1)] = total // known
    return tuple(sizes) if math.prod(sizes) == total else None


def _product(sizes: Sequence[int], axes: Sequence[int]) -> int:
    return math.prod(sizes[axis] for axis in axes)


def _sizes_free_as_zero(value: ir.Value) -> Sizes:
    return tuple(size or 0 for size in shape_of(value))
