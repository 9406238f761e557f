"""What a kind of join is: it makes a Graph fragment that reads values of several columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from trunkline.fragments.map_size import Size
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph

Inputs = Mapping[int, Size]
"""Sizes of the values that a join reads, by number of the read. One that is left out has no entry, and counts as zeros:
a search that turned it off multiplied it by 0."""


class JoinSettings(BaseModel):
    """What a plan may say about a join of a kind; each kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JoinKind(ABC):
    """Makes the fragment of a join. A kind is a file of this folder, found by scanning it.

    Attributes:
        name: Name of the kind in plans.
        Settings: Model of the settings that a plan may give such a join.

    A kind that adds up what it reads:

    >>> class Total(JoinKind):
    ...     name = "total"
    ...
    ...     def make(self, inputs, settings):
    ...         builder, values = reading(self.name, inputs)
    ...         return builder.finish([builder.node("Sum", list(values.values()), name="sum")])
    >>> fragment = Total().make({0: (8, 4, 4), 1: (8, 4, 4)}, Total.Settings())
    >>> [value.name for value in fragment.model.graph.inputs]
    ['x0', 'x1']
    """

    name: ClassVar[str]
    Settings: ClassVar[type[JoinSettings]] = JoinSettings

    @abstractmethod
    def make(self, inputs: Inputs, settings: Any) -> Graph:
        """Return a Graph with an input ``[N, C, h, w]`` for each value that is read, in order, and one output.

        Args:
            inputs: Sizes of the values. Weights of a read are named by its number, so that leaving out another one does
                not change what they are called.
            settings: An instance of :attr:`Settings`.

        Raises:
            InvalidConfig: Values of these sizes cannot be joined so, or the settings do not fit them.
        """

    def shares(self, weights: Mapping[str, NDArray[np.float32]]) -> dict[int, float]:
        """Return how much of each read the result has, by its number, where a kind weighs reads by numbers.

        Args:
            weights: What is stored for such a join, by the fragment's names.
        """
        return {}


def reading(name: str, inputs: Inputs) -> tuple[GraphBuilder, dict[int, ir.Value]]:
    """Return a builder for a fragment, and its inputs by number of the read."""
    builder = GraphBuilder(name)
    return builder, {number: builder.image(f"x{number}", size) for number, size in inputs.items()}
