"""What a sum in Einstein's notation costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def einsum_macs(equation: str, shapes: Sequence[Sequence[int]]) -> int:
    """Return the multiply-accumulates of an Einsum that multiplies all its operands at every index.

    One operand has nothing to multiply. Where no index is summed away it is element-wise work or an outer product,
    which counts as zero like a Mul.

    Args:
        equation: As the node holds it, with or without ``->``; ``...`` stands for the axes that no letter names.
        shapes: Of the operands.
    """
    terms, arrow, result = equation.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    uses: Counter[str] = Counter()
    for term, shape in zip(terms.split(","), shapes, strict=True):
        letters = _letters(term, len(shape))
        uses.update(letters)
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))  # sizes of 1 broadcast
    unnamed = {letter for letter in sizes if letter.isdigit()}
    if arrow:
        kept = set(result) | (unnamed if "..." in result else set())
    else:
        # Without an arrow, ONNX keeps the letters that occur once, and the unnamed axes.
        kept = {letter for letter in uses if uses[letter] == 1} | unnamed
    if set(sizes) <= kept:
        return 0
    return math.prod(sizes.values()) * (len(shapes) - 1)


def _letters(term: str, rank: int) -> list[str]:
    """Return a letter for each axis; those behind ``...`` are numbered from the last, because they broadcast so."""
    before, _, after = term.partition("...")
    unnamed = rank - len(before) - len(after)
    return [*before, *map(str, range(unnamed - 1, -1, -1)), *after]
