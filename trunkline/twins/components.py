"""Components: the parts of a multi-task model that no common weight joins.

N independent models in one Graph are N components, a fully shared model is one, and a searched plan is anything
between. Training must not couple components: each is a model that could have been trained alone.
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
        """The tasks' names joined by ``+``, a character that no task name holds."""
        return "+".join(self.tasks)


def components_of(reads: Mapping[str, Collection[str]]) -> tuple[Component, ...]:
    """Return the components of a model, in the order of their first tasks.

    Args:
        reads: By task, the names of the weights and statistics that its output is computed from.

    >>> reads = {"depth": ["trunk", "a"], "edges": ["b"], "normals": ["trunk", "c"]}
    >>> [component.name for component in components_of(reads)]
    ['depth+normals', 'edges']
    """
    order, found = list(reads), list[Component]()
    for task, names in reads.items():
        # One task may read from several components that had nothing in common before: all of them become one.
        joined = [part for part in found if not part.weights.isdisjoint(names)]
        tasks, weights = [task], set(names)
        for part in joined:
            tasks += part.tasks
            weights |= part.weights
        apart = [part for part in found if part not in joined]
        found = [*apart, Component(tuple(sorted(tasks, key=order.index)), frozenset(weights))]
    return tuple(sorted(found, key=lambda part: order.index(part.tasks[0])))
