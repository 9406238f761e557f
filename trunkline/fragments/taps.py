"""Which of a backbone's feature maps (taps) a head reads: one reads the last, several read all of them, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.graph.graph import Graph, name_of
from trunkline.text import escaped, quoted

T = TypeVar("T")


def read_taps(head: Graph, taps: Sequence[T]) -> list[tuple[str, T]]:
    """Return the names of ``head``'s inputs, each with the tap it reads.

    Args:
        head: A Graph with an input for each of the last feature maps that it reads.
        taps: A value for each feature map of the backbone, the finest first.

    >>> from trunkline.graph.builder import GraphBuilder
    >>> builder = GraphBuilder("head")
    >>> coarse = builder.image("coarse", (8, 4, 4))
    >>> head = builder.finish([builder.node("Relu", [coarse], name="relu")])
    >>> read_taps(head, ["stride 8", "stride 16"])
    [('coarse', 'stride 16')]
    """
    names = [name_of(value) for value in head.model.graph.inputs]
    return list(zip(names, taps[-len(names) :], strict=True))


def check_heads(tasks: Sequence[str], heads: Mapping[str, Graph], backbone: Graph) -> None:
    """Refuse heads of unknown tasks, and heads that read other feature maps than the backbone has."""
    for task in heads:
        if task not in tasks:
            text = f"there is a head for {quoted(task)}, which is no task"
            raise InvalidConfig(text, advice=did_you_mean(task, tasks))
    for task, head in heads.items():
        reads, taps = len(head.model.graph.inputs), len(backbone.outputs)
        # Fewer are fine: a head reads the last maps.
        if reads > taps:
            text = f"the head of {quoted(task)} reads {reads} feature maps, {escaped(backbone.name)} has {taps}"
            raise InvalidConfig(text, advice="name as many with --features")
