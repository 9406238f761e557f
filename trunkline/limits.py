"""What a model file may ask for, counted before anything is allocated for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trunkline.errors import InvalidModel, Problem
from trunkline.text import shape_text


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds for an untrusted file; on the command line ``--allow NAME=VALUE``.

    Attributes:
        file_bytes: Size of an ONNX file, a caffemodel, a safetensors file, or one external data file.
        text_bytes: Size of a prototxt.
        tokens: Names, values and punctuation marks of a prototxt, comments not counted; fields of a caffemodel.
        depth: Blocks inside blocks; real prototxts need 4.
        nodes: Nodes in the graph; layers of a caffemodel.
        rank: Axes of one tensor.
        size: Any one number of a prototxt that becomes a tensor size: channels, height, kernel, padding.
        tensor_elements: Numbers in one tensor: a weight, or what a node gives for one image.
        total_elements: Numbers in all stored tensors together.
        folded_elements: Numbers in one tensor that is computed while reading.
        macs: Multiply-accumulates for one image.
    """

    file_bytes: int = 4 * 2**30
    text_bytes: int = 16 * 2**20
    tokens: int = 1_000_000
    depth: int = 100
    nodes: int = 100_000
    rank: int = 16
    size: int = 1_000_000
    tensor_elements: int = 2**31
    total_elements: int = 2**31
    folded_elements: int = 2**25
    macs: int = 10**14

    def problem(self, name: str, shape: Sequence[int]) -> Problem | None:
        """Return what is wrong with a tensor called ``name`` of this shape, if anything is."""
        if len(shape) > self.rank:
            text = f"tensor of {len(shape)} axes; at most {self.rank} are read"
            return Problem(text, place=name, advice=how_to_raise("rank", len(shape)))
        if any(size < 0 for size in shape):
            return Problem(f"tensor of shape {shape_text(shape, 8)}; a size cannot be negative", place=name)
        if math.prod(shape) > self.tensor_elements:
            return Problem(
                f"tensor of shape {shape_text(shape, 8)} holds more than {self.tensor_elements:,} numbers",
                place=name,
                advice=how_to_raise("tensor_elements", math.prod(shape)),
            )
        return None


DEFAULT_LIMITS = Limits()


def how_to_raise(name: str, needed: int | None = None) -> str:
    """Return the advice to raise the limit ``name`` to what the file needs, where that is known."""
    return f"if you trust the file, allow it: --allow {name}={'VALUE' if needed is None else needed}"


class Budget:
    """Adds up the tensors a file asks to have stored."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._elements = 0

    def charge(self, name: str, shape: Sequence[int]) -> None:
        """Count a tensor of this shape, before it is made.

        Raises:
            InvalidModel: It is too big, or all tensors together are.
        """
        problem = self.limits.problem(name, shape)
        if problem is not None:
            raise InvalidModel(problem)
        self._elements += math.prod(shape)
        if self._elements > self.limits.total_elements:
            raise InvalidModel(
                f"the stored tensors up to here hold more than {self.limits.total_elements:,} numbers",
                place=name,
                advice=how_to_raise("total_elements"),
            )
