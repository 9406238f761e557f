"""Joins between columns as small models of their own, which a runtime can be timed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trunkline.fragments.map_size import map_size
from trunkline.fragments.registry import make_join
from trunkline.graph.graph import Graph, shape_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join_check import fragments_of
from trunkline.sharing.open_join import OpenJoin


@dataclass(frozen=True, slots=True)
class JoinPart:
    """What several joins run that are equal but for whose maps they read.

    Attributes:
        names: Of these joins.
        reads: How many maps each of them may read.
        whole: The fragment that reads all of them.
        own: The fragment that reads its own column's map alone.
    """

    names: tuple[str, ...]
    reads: int
    whole: Graph
    own: Graph

    @property
    def name(self) -> str:
        """The first join's, which stands for all."""
        return self.names[0]


def join_parts(joins: Sequence[OpenJoin], backbone: Backbone) -> list[JoinPart]:
    """Return the parts of all joins with open reads, each with the joins that it is part of.

    Raises:
        InvalidConfig: A fragment cannot be made.
    """
    fragments = fragments_of(tuple(join.made_for for join in joins), backbone)
    found: dict[tuple[object, ...], JoinPart] = {}
    for join in (each.join for each in joins if each.choices):
        whole = fragments[join.weights_of]
        sizes = [map_size(shape_of(value)) for value in whole.model.graph.inputs]
        # Tasks' columns are of one backbone, so what stands at one site usually differs in nothing but the tasks.
        alike = (join.kind, repr(sorted(join.settings.items())), tuple(sizes))
        if alike in found:
            found[alike] = replace(found[alike], names=(*found[alike].names, join.name))
        else:
            own = make_join(join.kind, {0: sizes[0]}, join.settings)
            found[alike] = JoinPart((join.name,), len(join.reads), whole, own)
    return list(found.values())
