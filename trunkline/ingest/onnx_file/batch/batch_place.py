"""Where the batch is in a value of a file: in an axis of its own, or merged into one with what is before and behind it.

A file may compute on ``[N·P, L, C]``: every window of every image at once. The Graph keeps ``[N, P, L, C]`` then. Both
hold the same numbers in the same order, and an operator that looks at other axes only computes the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

Sizes = Sequence[int]


@dataclass(frozen=True, slots=True)
class BatchAxis:
    """The axis of a file's value that holds the batch, as ``before · N · behind`` numbers.

    Attributes:
        axis: Which axis of the file's value it is.
        before: How many numbers of it are before the batch. If there are several, the Graph has an axis of them.
        behind: How many are behind the batch. If there are several, the Graph has an axis of them too.
    """

    axis: int
    before: int = 1
    behind: int = 1

    @property
    def extra(self) -> int:
        """How many axes the Graph has more than the file."""
        return (self.before > 1) + (self.behind > 1)

    @property
    def place(self) -> int:
        """Where N is in the Graph."""
        return self.axis + (self.before > 1)

    def at(self, axis: int) -> BatchAxis:
        """Return the same merged axis at another place of the file's shape."""
        return replace(self, axis=axis)

    def other(self, axis: int) -> int:
        """Return where another axis of the file is in the Graph."""
        return axis if axis < self.axis else axis + self.extra

    def order(self, perm: Sequence[int]) -> list[int]:
        """Return a permutation of the file's axes as one of the Graph's."""
        places: list[int] = []
        for axis in perm:
            if axis == self.axis:  # what the file has merged moves together
                places += range(self.axis, self.axis + self.extra + 1)
            else:
                places.append(self.other(axis))
        return places

    def apart(self, sizes: Sizes, batch: int) -> list[int]:
        """Return sizes of a file's value as the Graph has them, with ``batch`` in the place of N."""
        before = [self.before] if self.before > 1 else []
        behind = [self.behind] if self.behind > 1 else []
        return [*sizes[: self.axis], *before, batch, *behind, *sizes[self.axis + 1 :]]

    def ones(self, sizes: Sizes) -> list[int]:
        """Return sizes of a file's value with ones in the place of N and of what is merged with it."""
        return [*sizes[: self.axis], *[1] * (self.extra + 1), *sizes[self.axis + 1 :]]

    def joined(self, shape: Sequence[int | None], batch: int) -> list[int]:
        """Return the sizes that the file's value has, of a shape of the Graph, for ``batch`` images."""
        sizes = [batch if size is None else size for size in shape]
        end = self.axis + self.extra + 1
        return [*sizes[: self.axis], math.prod(sizes[self.axis : end]), *sizes[end:]]


def places(sizes: Sizes, batch: int, ahead: int) -> Iterator[BatchAxis]:
    """Yield where the batch can be in a Reshape's result, with ``ahead`` numbers of each image before it at its input.

    A Reshape keeps the order of the numbers, so as many are before it in the result: those of the axes in front of its
    own, times the part of its own axis that lies before it. For one image there may be several such places.

    >>> [(place.axis, place.before, place.behind) for place in places([97 * 4, 8], batch=97, ahead=1)]
    [(0, 1, 4)]
    """
    in_front = 1
    for axis, size in enumerate(sizes):
        before, rest = divmod(ahead, in_front)
        if rest == 0 and size % (before * batch) == 0:
            yield BatchAxis(axis, before, size // (before * batch))
        in_front *= size
        if in_front > ahead:
            return
