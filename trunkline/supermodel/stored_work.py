"""What a space may come to store: each weight, and under which options which of its instances is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from trunkline.graph.computed_weights import computes_weight, stored_inputs_of
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.roles import is_parameter, size_of
from trunkline.sharing.space import Option, Space
from trunkline.supermodel.workload import Needs, keys_of

Uses = NDArray[np.bool_]
"""Which tasks use something under which keys of a unit: ``[T, keys]``."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Numbers that are stored together, or not at all.

    Attributes:
        size: How many.
        uses: By unit, under which choices it is used there.
        always: Whether they are stored in any case.
    """

    size: float
    uses: Mapping[int, Uses]
    always: bool = False


def stored_work(space: Space, heads: Mapping[str, Graph]) -> list[Stored]:
    """Return everything that a tied space may store of its backbone and skips, as alike parts.

    Of a tensor that views narrow, the part up to each width is one entry: the widest view that a task takes is what is
    stored, so a part is there where any task takes a view as wide.
    """
    maker = _StoredMaker(space, heads)
    return _merged([*maker.weights(), *maker.projections()])


class _StoredMaker:
    def __init__(self, space: Space, heads: Mapping[str, Graph]) -> None:
        self.space = space
        self.keys = keys_of(space)
        self.view = Needs(space, heads)

    def weights(self) -> Iterator[Stored]:
        """Yield the backbone's parameters; who reads a computed weight uses what it is computed from."""
        readers: dict[ir.Value, list[str]] = {}
        for node in self.space.backbone.graph.nodes:
            if computes_weight(node) or not self.view.of(name_of(node)):
                continue
            for value in filter(is_parameter, stored_inputs_of(node)):
                readers.setdefault(value, []).append(name_of(node))
        for value, names in readers.items():
            free = any(name not in self.space.table.of_node for name in names)
            for instance in self._instances(names, free):
                yield from self._bands(value, names, instance, always=free and instance == 0)

    def projections(self) -> Iterator[Stored]:
        """Yield the weights of skips: a task that skips has its own."""
        for index, skip in enumerate(self.space.table.skips):
            if skip is None or not skip.weight_shape:
                continue
            needed = self.view.of(self.space.table.names[index])
            for task in needed:
                uses = self._empty(index)
                for key, option in enumerate(self.keys[index]):
                    uses[task, key] = option.skip
                yield Stored(float(np.prod(skip.weight_shape)), {index: uses})

    def _instances(self, names: Sequence[str], free: bool) -> list[int]:
        found = {0} if free else set()
        for name in names:
            unit = self.space.table.of_node.get(name)
            for task in self.view.of(name) if unit is not None else ():
                for option in self.keys[unit] if unit is not None else ():
                    instance = self._instance(name, option, task)
                    if instance is not None:
                        found.add(instance)
        return sorted(found)

    def _bands(self, value: ir.Value, names: Sequence[str], instance: int, *, always: bool) -> Iterator[Stored]:
        """Yield an instance of a tensor, part by part of the widths that views may take of it."""
        widths = sorted({self._width(value, name, option) for name in names for option in self._options(name)} | {1.0})
        narrower = 0.0
        for width in widths:
            uses: dict[int, Uses] = {}
            for name in names:
                unit = self.space.table.of_node.get(name)
                if unit is not None:
                    found = self._uses(value, name, unit, instance, width)
                    uses[unit] = uses[unit] | found if unit in uses else found
            yield Stored(size_of(value) * (width - narrower), uses, always)
            narrower = width

    def _uses(self, value: ir.Value, name: str, unit: int, instance: int, width: float) -> Uses:
        uses = self._empty(unit)
        for task in self.view.of(name):
            for key, option in enumerate(self.keys[unit]):
                wide_enough = self._width(value, name, option) >= width
                uses[task, key] = wide_enough and self._instance(name, option, task) == instance
        return uses

    def _instance(self, name: str, option: Option, task: int) -> int | None:
        """A unit's nodes vanish where it is skipped; a follower stays, and takes the shared instance there."""
        if option.skip and name in self.view.core:
            return None
        if self.view.is_per_task(name):
            return 1 + task
        return 0 if option.skip else option.instance

    def _width(self, value: ir.Value, name: str, option: Option) -> float:
        """Return the share of a tensor that an option reads."""
        unit = self.space.table.of_node.get(name)
        if option.channels == 1.0 or unit is None:
            return 1.0
        span = self.space.backbone.span(self.space.table.units[unit])
        if span is None or name not in span.cuts:
            return 1.0
        node = self.space.backbone.nodes[name]
        positions = [index for index, item in enumerate(node.inputs) if item is value]
        cut = any(span.cuts[name].get(position) is not None for position in positions)
        return span.width(option.channels) / span.channels if cut else 1.0

    def _options(self, name: str) -> tuple[Option, ...]:
        unit = self.space.table.of_node.get(name)
        return () if unit is None else self.keys[unit]

    def _empty(self, unit: int) -> Uses:
        return np.zeros((len(self.space.tasks), len(self.keys[unit])), dtype=np.bool_)


def _merged(parts: Sequence[Stored]) -> list[Stored]:
    """Return parts that are used alike as one: a convolution's kernel, and what its normalisation stores."""
    groups: dict[object, Stored] = {}
    for part in parts:
        key = part.always, tuple((unit, table.tobytes()) for unit, table in sorted(part.uses.items()))
        known = groups.get(key)
        groups[key] = part if known is None else replace(known, size=known.size + part.size)
    return list(groups.values())
