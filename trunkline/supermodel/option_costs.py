"""What the options of a unit cost: what each of them runs alone, and what views of one instance run in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.sharing.units import Unit
from trunkline.sharing.view import ViewSpan


@dataclass(frozen=True, slots=True)
class OptionCosts:
    """The costs of a unit's options.

    Attributes:
        own: By option, what tasks run that chose it and that no other option runs.
        common: By set of options, what all of them run in common. Views of one instance differ from the inner map on; a
            shortcut beside it is one computation, whatever the width.
    """

    own: tuple[float, ...]
    common: Mapping[tuple[int, ...], float]


def option_costs(
    space: Space, unit: Unit, options: Sequence[Option], costs: Mapping[str, float], skip_cost: float
) -> OptionCosts:
    """Return what the options of a unit cost.

    Args:
        space: Of the unit.
        unit: Whose nodes are run.
        options: As any task has them.
        costs: What a node costs each time it runs, by name.
        skip_cost: What the skip costs.
    """
    beside = _beside_inner_map(space, unit, options)
    cost_beside = sum(costs.get(name, 0.0) for name in beside)
    of_instance: dict[int, list[int]] = {}
    for number, option in enumerate(options):
        if not option.skip:
            of_instance.setdefault(option.instance, []).append(number)
    common = {tuple(views): cost_beside for views in of_instance.values() if len(views) > 1 and cost_beside}
    shared = set[int]().union(*common)
    own: list[float] = []
    for number, option in enumerate(options):
        cost = skip_cost if option.skip else _cost(space, unit, option, costs)
        # What is common to several options counts once, in its own column.
        own.append(cost - cost_beside if number in shared else cost)
    return OptionCosts(tuple(own), common)


def _cost(space: Space, unit: Unit, option: Option, costs: Mapping[str, float]) -> float:
    """Return what a unit costs at a width: nodes around the inner map cost in proportion to its channels."""
    span = _span(space, unit, [option])
    total = 0.0
    for name in unit.nodes:
        cost = costs.get(name, 0.0)
        if span is not None and name in span.cuts:
            cost = cost * span.width(option.channels) / span.channels
        total += cost
    return total


def _beside_inner_map(space: Space, unit: Unit, options: Sequence[Option]) -> list[str]:
    """Return the nodes of a unit that neither make, read nor follow its inner map; none where no view narrows it."""
    span = _span(space, unit, options)
    if span is None:
        return []
    return [name for name in unit.nodes if name not in span.cuts and name not in span.behind]


def _span(space: Space, unit: Unit, options: Sequence[Option]) -> ViewSpan | None:
    narrowed = any(option.channels != 1.0 for option in options)
    return space.backbone.span(unit) if narrowed else None
