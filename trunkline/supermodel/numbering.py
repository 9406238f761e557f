"""Value numbering: a computation that is asked for twice is one computation.

A cell is ``(operation, weights, input values)``. Equal cells are one cell, with the set of tasks that it
serves. Executed work follows cells; stored parameters follow distinct weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BackboneNode:
    """Run the backbone's node ``name``."""

    name: str


@dataclass(frozen=True, slots=True)
class SkippedUnit:
    """Run what stands in for unit number ``unit``."""

    unit: int


@dataclass(frozen=True, slots=True)
class HeadNode:
    """Run node ``name`` of the head of ``task``."""

    task: str
    name: str


Operation = BackboneNode | SkippedUnit | HeadNode


@dataclass(frozen=True, slots=True)
class Ref:
    """A computed value: output ``index`` of cell ``cell``; cell -1 is the image."""

    cell: int
    index: int = 0


IMAGE = Ref(-1)


@dataclass(slots=True)
class Cell:
    """One computation of the multi-task model.

    Attributes:
        operation: What is computed; equal operations with equal inputs give equal values.
        weights: Names of the weight instances used, in input order.
        inputs: The values read.
        tasks: The tasks served, in the order they asked.
    """

    operation: Operation
    weights: tuple[str, ...]
    inputs: tuple[Ref, ...]
    tasks: list[str] = field(default_factory=list)


class Numbering:
    """Hash-consing store of cells, in an order in which they can run."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self._known: dict[tuple[Operation, tuple[str, ...], tuple[Ref, ...]], int] = {}

    def ask(self, operation: Operation, weights: tuple[str, ...], inputs: tuple[Ref, ...], task: str) -> Ref:
        """Return the value of a computation for ``task``, adding a cell only if it is new."""
        key = (operation, weights, inputs)
        index = self._known.get(key)
        if index is None:
            index = self._known[key] = len(self.cells)
            self.cells.append(Cell(operation, weights, inputs))
        if task not in self.cells[index].tasks:
            self.cells[index].tasks.append(task)
        return Ref(index)

    def live(self, outputs: dict[str, Ref]) -> set[int]:
        """Return the cells that some output needs, and forget tasks a cell does not reach."""
        served: list[set[str]] = [set() for _ in self.cells]
        for task, ref in outputs.items():
            if ref.cell >= 0:
                served[ref.cell].add(task)
        for index in range(len(self.cells) - 1, -1, -1):
            for ref in self.cells[index].inputs:
                if ref.cell >= 0:
                    served[ref.cell] |= served[index]
            self.cells[index].tasks = [task for task in outputs if task in served[index]]
        return {index for index, tasks in enumerate(served) if tasks}
