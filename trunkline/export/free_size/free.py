"""Whether a network can be written for images of any size, and the network that can be written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trunkline.errors import InvalidConfig, InvalidModel, Problem
from trunkline.export.free_size.readings import ADVICE, Readings
from trunkline.export.free_size.rewrite import rewritten
from trunkline.export.free_size.sizes import (
    Size,
    coarsest_stride,
    multiples,
    size_of,
    sizes_in_a_stride,
    sizes_to_ask,
    text_of,
)
from trunkline.export.free_size.sources import recipes_of
from trunkline.export.free_size.walk import check_sizes
from trunkline.graph.graph import Graph

FREE_SIZE_KEY = "trunkline.free_size"
"""On a file whose images may have any size: what is known of the sizes, as JSON."""

AtSize = Callable[[Size], Graph]
"""Gives the same network for images of another size, and raises InvalidModel or InvalidConfig where there is none."""


@dataclass(frozen=True, slots=True)
class FreeSize:
    """Sizes that a file with a free image size is for.

    Attributes:
        multiple: Height and width are multiples of this.
        sizes: Those at which the file was compared with the network of that size, the given one first.
    """

    multiple: int
    sizes: tuple[Size, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {"multiple": self.multiple, "sizes": [list(size) for size in self.sizes]}

    def to_metadata(self) -> dict[str, str]:
        """Return what the file says of itself."""
        return {FREE_SIZE_KEY: json.dumps(self.to_json())}

    def __str__(self) -> str:
        what = "any" if self.multiple == 1 else f"multiples of {self.multiple}"
        return f"{what}; compared at {', '.join(map(text_of, self.sizes))}"


@dataclass(frozen=True, slots=True)
class Freed:
    """A network with a free image size.

    Attributes:
        graph: What to write. It is in no canonical form: sizes that follow the image are not known.
        readings: The network at every size to compare at, the given one first.
        sizes: The same sizes, and what they are multiples of.
    """

    graph: Graph
    readings: Mapping[Size, Graph]
    sizes: FreeSize


def freed(graph: Graph, at_size: AtSize) -> Freed:
    """Return ``graph`` for images of any size, or of all multiples of the smallest number that it allows.

    The network is asked, not its operators: it is read at other sizes, and what is the same at all of them stays as it
    is. Numbers that are others must be sizes of values, which are then read when the file runs.

    Args:
        graph: The network at the given size.
        at_size: Gives the same network at another size.

    Raises:
        InvalidModel: The network allows no free size; the node that forbids it is named.
    """
    given, stride = size_of(graph), coarsest_stride(graph)
    refused: InvalidModel | None = None
    for multiple in multiples(given, stride):
        try:
            readings = Readings([graph, *_read_at(given, multiple, stride, at_size)])
            recipes = recipes_of(readings)
            check_sizes(readings, recipes, sizes_in_a_stride(given, multiple, stride))
            free = rewritten(readings, recipes)
            sizes = FreeSize(multiple, readings.sizes)
            return Freed(free, dict(zip(readings.sizes, readings.graphs, strict=True)), sizes)
        except InvalidModel as error:
            # The last one counts: a network may only refuse odd sizes, but one that refuses all multiples has a reason.
            refused = error
    assert refused is not None  # 1 divides every size
    raise refused


def _read_at(given: Size, multiple: int, stride: int, at_size: AtSize) -> list[Graph]:
    """Read the network at larger sizes, and at a smaller one where it can be read there."""
    asked = sizes_to_ask(given, multiple, stride)
    return [*(_at(size, at_size) for size in asked.larger), *_first_readable(asked.smaller, at_size)]


def _first_readable(sizes: Sequence[Size], at_size: AtSize) -> list[Graph]:
    for size in sizes:
        try:
            return [at_size(size)]
        except (InvalidModel, InvalidConfig):  # a window may be larger than a small map, or a map too small for a head
            continue
    return []


def _at(size: Size, at_size: AtSize) -> Graph:
    try:
        return at_size(size)
    except (InvalidModel, InvalidConfig) as error:
        problems = [_at_other_size(problem, size) for problem in error.problems]
        raise InvalidModel(problems) from error


def _at_other_size(problem: Problem, size: Size) -> Problem:
    text = f"the network is for one image size; for {text_of(size)}: {problem.message}"
    return Problem(text, problem.place, ADVICE, problem.excerpt, problem.column, problem.width, problem.line)
