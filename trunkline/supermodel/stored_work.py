"""What a space may come to store: each weight, and under which options which of its instances is used."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from trunkline.graph.computed_weights import computes_weight, stored_inputs_of
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.roles import is_parameter, size_of
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.supermodel.workload import Needs, keys_of

Uses = NDArray[np.bool_]
"""Which tasks use something under which keys of a unit: ``[T, keys]``."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Parameters that are stored together, or not at all.

    Attributes:
        size: Number of parameters; negative where it takes back what other parts count twice.
        uses: By unit, under which choices of the unit they are used there; they are stored if any unit uses them.
        always: Whether they are stored in any case: what belongs to no unit runs whatever is chosen.
    """

    size: float
    uses: Mapping[int, Uses]
    always: bool = False


def stored_work(space: Space, heads: Mapping[str, Graph]) -> list[Stored]:
    """Return everything that a tied space may store of its backbone and skips, as parts of one kind.

    A tensor that views narrow is stored as wide as the widest view that any task takes. So it counts as several parts,
    one between each width and the next, each stored where any task takes a view at least as wide. One that is cut along
    several axes is stored whole where views along two of them are taken.
    """
    maker = _StoredMaker(space, heads)
    return _by_use([*maker.weights(), *maker.projections()])


class _Part(NamedTuple):
    """What a node reads of a tensor.

    Attributes:
        axis: Along which it is cut; ``None`` where it is read whole.
        share: Share of the tensor.
    """

    axis: int | None
    share: float


_WHOLE = _Part(None, 1.0)


class _StoredMaker:
    """Goes through the weights of a backbone and its skips, and asks under which options each is used."""

    def __init__(self, space: Space, heads: Mapping[str, Graph]) -> None:
        self.space = space
        self.keys = keys_of(space)
        self.needs = Needs(space, heads)

    def weights(self) -> Iterator[Stored]:
        """Yield the backbone's parameters; who reads a computed weight uses what it is computed from."""
        readers: dict[ir.Value, list[str]] = {}
        for node in self.space.backbone.graph.nodes:
            if computes_weight(node) or not self.needs.of(name_of(node)):
                continue  # what no head reads is not lowered, and not stored
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
            for task in self.needs.of(self.space.table.names[index]):
                uses = self._empty(index)
                for key, option in enumerate(self.keys[index]):
                    uses[task, key] = option.skip
                yield Stored(float(np.prod(skip.weight_shape)), {index: uses})

    def _instances(self, names: Sequence[str], free: bool) -> list[int]:
        """Return the instances that any task may take where these nodes read a weight."""
        found: set[int | None] = {0} if free else set()
        for name in names:
            for task in self.needs.of(name):
                found.update(self._instance(name, option, task) for option in self._options(name))
        return sorted(instance for instance in found if instance is not None)

    def _bands(self, value: ir.Value, names: Sequence[str], instance: int, *, always: bool) -> Iterator[Stored]:
        """Yield an instance of a tensor, part by part of the widths that views may take of it.

        Of n axes along which views cut it, a part is not stored if the tensor is read along one of them at most, and
        there less wide. These n cases overlap where nothing of it is read: P(not stored) = Σ_a P(case a) − (n − 1)·P(no
        read).
        """
        parts = {part for name in names for option in self._options(name) for part in self._parts(value, name, option)}
        cut = sorted({part.axis for part in parts if part.axis is not None})
        axes: Sequence[int | None] = cut or [None]
        narrower = 0.0
        for width in sorted({1.0, *(part.share for part in parts)}):
            size = size_of(value) * (width - narrower)
            for axis in axes:
                enough = {part for part in parts if part.axis != axis or part.share >= width}
                yield Stored(size, self._uses(value, names, instance, enough), always)
            if len(axes) > 1:
                yield Stored(size * (1 - len(axes)), self._uses(value, names, instance, parts), always)
            narrower = width

    def _uses(
        self, value: ir.Value, names: Sequence[str], instance: int, enough: Collection[_Part]
    ) -> Mapping[int, Uses]:
        """Return, by unit, under which of its choices a node reads one of these parts of an instance of a tensor."""
        uses: dict[int, Uses] = {}
        for name in names:
            unit = self.space.table.of_node.get(name)
            if unit is None:
                continue
            # Two nodes of a unit may read one weight; the unit chooses once for both.
            found = uses.setdefault(unit, self._empty(unit))
            for key, option in enumerate(self.keys[unit]):
                reads = not self._parts(value, name, option).isdisjoint(enough)
                for task in self.needs.of(name):
                    found[task, key] |= reads and self._instance(name, option, task) == instance
        return uses

    def _instance(self, name: str, option: Option, task: int) -> int | None:
        """Return the instance that a task takes at a node, ``None`` where the node does not run."""
        if not self.needs.runs(name, option):
            return None
        if self.needs.is_per_task(name):
            return 1 + task
        # What stays where a unit is skipped, a follower or its shortcut, has the shared weights.
        return 0 if option.skip else option.instance

    def _parts(self, value: ir.Value, name: str, option: Option) -> set[_Part]:
        """Return what an option reads of a tensor where a node runs it."""
        unit = self.space.table.of_node.get(name)
        if option.channels == 1.0 or unit is None:
            return {_WHOLE}
        span = self.space.backbone.span(self.space.table.units[unit])
        if span is None or name not in span.cuts:
            return {_WHOLE}
        found: set[_Part] = set()
        for position, item in enumerate(self.space.backbone.nodes[name].inputs):
            if item is value:
                axis = span.cuts[name].get(position)
                found.add(_WHOLE if axis is None else _Part(axis, span.width(option.channels) / span.channels))
        return found or {_WHOLE}

    def _options(self, name: str) -> tuple[Option, ...]:
        unit = self.space.table.of_node.get(name)
        return () if unit is None else self.keys[unit]

    def _empty(self, unit: int) -> Uses:
        return np.zeros((len(self.space.tasks), len(self.keys[unit])), dtype=np.bool_)


def _by_use(parts: Sequence[Stored]) -> list[Stored]:
    """Return parts that are used in the same way as one: a convolution's kernel, and what its normalisation stores."""
    groups: dict[object, Stored] = {}
    for part in parts:
        # Arrays cannot be keys, their bytes can; tables of one unit have one shape.
        key = part.always, tuple((unit, table.tobytes()) for unit, table in sorted(part.uses.items()))
        known = groups.get(key)
        groups[key] = part if known is None else replace(known, size=known.size + part.size)
    return list(groups.values())
