"""What the options of a unit cost: what each of them runs alone, and what several of them run in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import onnx_ir as ir

from trunkline.graph.computed_weights import has_parameters
from trunkline.graph.graph import inputs_of
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
            shortcut beside it is one computation, whatever the width, and where a skip keeps it, with the skip too.
    """

    own: tuple[float, ...]
    common: Mapping[tuple[int, ...], float]


class _Run(NamedTuple):
    """How an option runs a node, the unit's input being equal; equal runs are one computation.

    Attributes:
        instance: Number of the weight instance; ``None`` where nothing before the node in its unit has weights.
        channels: Share of the inner map on which the node depends; 1 where it depends on none of it.
    """

    instance: int | None
    channels: float


def option_costs(
    space: Space, unit: Unit, options: Sequence[Option], costs: Mapping[str, float], skip_cost: float
) -> OptionCosts:
    """Return what the options of a unit cost.

    Args:
        space: Of the unit.
        unit: Whose nodes are run.
        options: As any task has them.
        costs: What a node costs each time it runs, by name.
        skip_cost: What the skip costs beside the unit's own nodes that it keeps.
    """
    own = [skip_cost if option.skip else 0.0 for option in options]
    common: dict[tuple[int, ...], float] = {}
    span, plain = _span(space, unit, options), _before_weights(space, unit)
    for name in unit.nodes:
        cost = costs.get(name, 0.0)
        if not cost:
            continue
        for run, numbers in _runs(space, options, span, name, plain=name in plain).items():
            paid = cost * _share(span, name, run.channels)
            if len(numbers) == 1:
                own[numbers[0]] += paid
            else:
                common[numbers] = common.get(numbers, 0.0) + paid
    return OptionCosts(tuple(own), common)


def _runs(
    space: Space, options: Sequence[Option], span: ViewSpan | None, name: str, *, plain: bool
) -> dict[_Run, tuple[int, ...]]:
    """Return each way to run a node of a unit, with the options that run it so."""
    skip = space.table.skips[space.table.of_node[name]]
    kept = () if skip is None else skip.kept
    depends = span is not None and (name in span.cuts or name in span.behind)
    found: dict[_Run, tuple[int, ...]] = {}
    for number, option in enumerate(options):
        if option.skip and name not in kept:
            continue
        # What a skip keeps has the weights of instance 0.
        instance = 0 if option.skip else option.instance
        run = _Run(None if plain else instance, option.channels if depends else 1.0)
        found[run] = (*found.get(run, ()), number)
    return found


def _before_weights(space: Space, unit: Unit) -> set[str]:
    """Return the nodes of a unit that compute the same whatever its instance, such as a pooling that comes first."""
    found: set[str] = set()
    weighted: set[ir.Value] = set()
    for name in unit.nodes:
        node = space.backbone.nodes[name]
        # A normalisation has statistics of its instance, even if nothing of it trains.
        own = has_parameters(node) or node.op_type == "BatchNormalization"
        if own or not weighted.isdisjoint(inputs_of(node)):
            weighted.update(node.outputs)
        else:
            found.add(name)
    return found


def _share(span: ViewSpan | None, name: str, channels: float) -> float:
    """Return the share of a node's cost that a view pays: around the inner map as much as it has channels."""
    if span is None or name not in span.cuts:
        return 1.0
    return span.width(channels) / span.channels


def _span(space: Space, unit: Unit, options: Sequence[Option]) -> ViewSpan | None:
    narrowed = any(option.channels != 1.0 for option in options)
    return space.backbone.span(unit) if narrowed else None
