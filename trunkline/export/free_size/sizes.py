"""The image sizes at which a network is asked whether, and how, it follows its image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trunkline.graph.graph import Graph, shape_of

Size = tuple[int, int]
"""Height and width in pixels."""

MOST_STRIDE = 64
"""The coarsest step that sizes are asked in: a map of a coarser stride is taken as one of this."""
_GROWTH, _SHRINKAGE = 1.25, 0.75


def size_of(graph: Graph) -> Size:
    """Return the image size that a Graph is for."""
    shape = shape_of(graph.input)
    return int(shape[2] or 0), int(shape[3] or 0)


def text_of(size: Size) -> str:
    """Return a size as people write it.

    >>> text_of((64, 96))
    '64x96'
    """
    return f"{size[0]}x{size[1]}"


def coarsest_stride(graph: Graph) -> int:
    """Return a power of two, no smaller than the stride of the coarsest map, and at most :data:`MOST_STRIDE`.

    How a network rounds its maps' sizes repeats after so many pixels.
    """
    height, coarsest = size_of(graph)[0], 1
    for node in graph.nodes:
        shape = shape_of(node.outputs[0])
        # A map of one pixel is the mean of an image, which has no stride.
        if len(shape) == 4 and shape[2] is not None and shape[2] > 1:
            coarsest = max(coarsest, round(height / shape[2]))
    stride = 1
    while stride < min(coarsest, MOST_STRIDE):
        stride *= 2
    return stride


def multiples(given: Size, stride: int) -> Iterator[int]:
    """Yield the powers of two up to ``stride`` that divide both sides of ``given``, the smallest first.

    >>> list(multiples((48, 96), 32))
    [1, 2, 4, 8, 16]
    """
    multiple = 1
    while multiple <= stride and given[0] % multiple == given[1] % multiple == 0:
        yield multiple
        multiple *= 2


@dataclass(frozen=True, slots=True)
class Asked:
    """Sizes to ask at.

    Attributes:
        larger: Two, of other shapes; at both the network must be readable.
        smaller: Some, of which the first one is taken at which it is readable: a window may be larger than a small map.
    """

    larger: tuple[Size, Size]
    smaller: tuple[Size, ...]


def sizes_to_ask(given: Size, multiple: int, stride: int) -> Asked:
    """Return sizes that are multiples of ``multiple``, and that every layer rounds in both ways.

    A layer of stride 2 sees even and odd sizes. Whole strides are even at all of them; one ``multiple`` above is odd
    wherever sizes are rounded up, one below wherever they are rounded down, and three and five where layers differ.

    >>> sizes_to_ask((64, 96), 1, 4)
    Asked(larger=((81, 121), (80, 98)), smaller=((47, 71), (63, 95)))
    """
    height, width = (_above(side * _GROWTH, stride) for side in given)
    first = (height + multiple, width + _rest(5 * multiple, stride))
    # The second one is higher than the first, and hardly wider than the given one.
    second = (height + stride if multiple == stride else height, _above(given[1], stride) + _rest(2 * multiple, stride))
    down = []
    for share in (_SHRINKAGE, 1.0):
        below = [int(side * share) // stride * stride - stride for side in given]
        size = (below[0] + stride - multiple, below[1] + _rest(3 * multiple, stride))
        if min(size) > 0 and size != given:
            down.append(size)
    return Asked((first, second), tuple(dict.fromkeys(down)))


def sizes_in_a_stride(given: Size, multiple: int, stride: int) -> list[Size]:
    """Return a size for every way of rounding that multiples of ``multiple`` meet; heights rise while widths fall.

    >>> sizes_in_a_stride((64, 96), 2, 4)
    [(64, 100), (66, 98)]
    """
    height, width = _above(given[0], stride), _above(given[1], stride) + stride
    return [(height + step, width - step) for step in range(0, stride, multiple)]


def _above(side: float, stride: int) -> int:
    return -int(-side // stride) * stride


def _rest(pixels: int, stride: int) -> int:
    """Return what is left of ``pixels`` behind whole strides."""
    return pixels % stride
