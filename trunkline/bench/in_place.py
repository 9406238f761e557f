"""What units take where they stand: the time of each block, as what the network until its end takes more.

A unit that runs alone is not what it is among others: a runtime fuses activations and additions into it, and keeps maps
in a form of its own from one layer to the next. So the network until the end of each block is measured as a whole. The
differences add up to the whole network's time, and a block's share is divided among its units by what they take alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from trunkline.graph.features import cut_graph
from trunkline.graph.graph import Graph
from trunkline.sharing.backbone import Backbone

Times = Mapping[str, float]


def networks_until(backbone: Backbone) -> Iterator[tuple[str, Graph]]:
    """Yield, by each block's name, the network from the image to its end."""
    for block in backbone.table("block").units:
        yield block.name, cut_graph(backbone.graph, [block.output])


def block_times(until: Times) -> dict[str, float]:
    """Return what each block takes, from what the networks until their ends take, in order.

    More of a network cannot take less: where noise says so, the block takes no time.

    >>> block_times({"stem": 2.0, "middle": 1.9, "end": 3.0})
    {'stem': 2.0, 'middle': 0.0, 'end': 1.0}
    """
    ends = [0.0, *itertools.accumulate(until.values(), max)]
    return {name: after - before for name, (before, after) in zip(until, itertools.pairwise(ends), strict=True)}


def factors_in_place(backbone: Backbone, alone: Times, until: Times) -> dict[str, float]:
    """Return by how much a unit's or node's time alone is to be multiplied, so that each block's add up to its time.

    Args:
        backbone: The backbone.
        alone: Milliseconds of each unit and each node of no unit, by its name.
        until: Milliseconds of the network until each block, in order.
    """
    factors: dict[str, float] = {}
    taken = block_times(until)
    for block in backbone.table("block").units:
        inside = [node for node in block.nodes if node in alone]
        together = sum(alone[node] for node in inside)
        # Nothing to divide by: all of its units were as quick as a model that does nothing.
        factors |= dict.fromkeys(inside, taken[block.name] / together if together else 1.0)
    return factors
