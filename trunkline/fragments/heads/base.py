"""What a kind of head is: it makes a Graph fragment that turns feature maps into a task's prediction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from trunkline.fragments.map_size import Size
from trunkline.graph.graph import Graph


class HeadKind(ABC):
    """Makes heads. A kind is a file of this folder, found by scanning it.

    Attributes:
        name: Name of the kind in pipeline files.
        reads_all: Whether it reads all feature maps of a backbone, instead of the last one alone.

    A kind that takes channels for classes:

    >>> from trunkline.fragments.layers import convolution
    >>> from trunkline.graph.builder import GraphBuilder
    >>> class PointHead(HeadKind):
    ...     name = "point"
    ...
    ...     def make(self, maps, channels, stride):
    ...         builder = GraphBuilder(self.name)
    ...         features = builder.image("features", maps[-1])
    ...         return builder.finish([convolution(builder, features, "prediction", channels)])
    >>> [node.op_type for node in PointHead().make([(16, 8, 8)], 3, 8).nodes]
    ['Conv']
    """

    name: ClassVar[str]
    reads_all: ClassVar[bool] = False

    @abstractmethod
    def make(self, maps: Sequence[Size], channels: int, stride: int) -> Graph:
        """Return a Graph with an input ``[N, C, h, w]`` for each map that it reads, and one output.

        Args:
            maps: Sizes of the feature maps that it reads, the finest first; one unless it reads all.
            channels: Output channels K of the prediction, ``[N, K, h', w']`` or ``[N, K]``.
            stride: Output stride of the last map: pixels of the image between two of its positions.

        Raises:
            InvalidConfig: It cannot be made for these maps.
        """
