"""Components: the parts of a multi-task model that no common weight joins.

N independent models in one Graph are N components, a fully shared model is one, and a searched plan is what it is.
Training must not couple components: each stands for a model that could have been trained alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Component:
    """Tasks that a chain of common weights joins.

    Attributes:
        tasks: Their names, in the model's order.
        weights: Names of all weights and running statistics that their outputs are computed from.
    """

    tasks: tuple[str, ...]
    weights: frozenset[str]

    @property
    def name(self) -> str:
        """The tasks, joined by ``+``; unlike task names themselves it may name a component of several."""
        return "+".join(self.tasks)


def components_of(reads: Mapping[str, Collection[str]]) -> tuple[Component, ...]:
    """Return the components of a model, in the order of their first tasks.

    Args:
        reads: By task, the names of the weights and statistics that its output is computed from.
    """
    order, found = list(reads), list[Component]()
    for task, names in reads.items():
        joined = [part for part in found if not part.weights.isdisjoint(names)]
        tasks = sorted([task, *(other for part in joined for other in part.tasks)], key=order.index)
        weights = frozenset(names).union(*(part.weights for part in joined))
        found = [*(part for part in found if part not in joined), Component(tuple(tasks), weights)]
    return tuple(sorted(found, key=lambda part: order.index(part.tasks[0])))
