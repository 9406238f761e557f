"""Value numbering: a computation that is requested twice is one computation.

A cell is ``(operation, weights, input values)``. Equal cells are one cell. Executed work follows cells; stored
parameters follow distinct weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.origin import Leading, Origin


@dataclass(frozen=True, slots=True)
class BackboneNode:
    """Run a node of the backbone.

    Attributes:
        name: Name of the node.
        groups: Channel groups of a depthwise convolution that a view narrows; 0 to run the node as it is.
    """

    name: str
    groups: int = 0


@dataclass(frozen=True, slots=True)
class SkippedUnit:
    """Run what stands in for unit number ``unit``."""

    unit: int


@dataclass(frozen=True, slots=True)
class FragmentNode:
    """Run a node of a head or of a join.

    Attributes:
        part: ``head`` or ``join``.
        owner: Task of the head, or owner of the join's weights.
        name: Name of the node in the fragment.
    """

    part: str
    owner: str
    name: str


@dataclass(frozen=True, slots=True)
class MixedValues:
    """Add up values, each times the weight of an option of an open choice.

    Attributes:
        choice: The open choice.
        options: Number of the option that each input stands for. An option that none stands for adds nothing.
    """

    choice: ChoiceId
    options: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MixedSource:
    """A way to run a node, and the options that amount to it.

    Attributes:
        options: Numbers of the options; their probabilities add up.
        weights: How many of the cell's weights belong to it.
        inputs: How many of the cell's inputs, behind the node's data, belong to it: its computed weights.
        skip: Whether it is the skip: the skip's own result in place of a unit's first node, the input in place of a
            later one.
    """

    options: tuple[int, ...]
    weights: int = 0
    inputs: int = 0
    skip: bool = False


@dataclass(frozen=True, slots=True)
class MixedNode:
    """Run the backbone's node ``name`` with its weights mixed over the options of an open choice.

    Attributes:
        name: Name of the node.
        choice: The open choice at its unit.
        sources: What the options amount to, in the order of the cell's weights.
    """

    name: str
    choice: ChoiceId
    sources: tuple[MixedSource, ...]


Operation = BackboneNode | SkippedUnit | FragmentNode | MixedValues | MixedNode


@dataclass(frozen=True, slots=True)
class Ref:
    """A computed value: output number ``index`` of cell number ``cell``; cell -1 is the image."""

    cell: int
    index: int = 0


IMAGE = Ref(-1)


@dataclass(frozen=True, slots=True)
class Cell:
    """One computation of the multi-task model.

    Attributes:
        operation: What is computed; equal operations with equal inputs give equal values.
        weights: Origins of the stored inputs, in input order.
        inputs: Values that are read, in the order of the node's computed inputs.
    """

    operation: Operation
    weights: tuple[Origin | Leading, ...]
    inputs: tuple[Ref, ...]


class Numbering:
    """Hash-consing store of cells, in an order in which they can run.

    Two tasks that run one instance on one input ask for one cell; it is there twice only if their inputs differ:

    >>> numbering = Numbering()
    >>> first = numbering.ask(BackboneNode("conv1"), (), (IMAGE,))
    >>> again = numbering.ask(BackboneNode("conv1"), (), (IMAGE,))
    >>> behind = numbering.ask(BackboneNode("conv2"), (), (first,))
    >>> first == again, len(numbering.cells)
    (True, 2)
    >>> numbering.served({"depth": behind, "seg": first})
    [('depth', 'seg'), ('depth',)]
    """

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self._known: dict[Cell, int] = {}

    def ask(self, operation: Operation, weights: tuple[Origin | Leading, ...], inputs: tuple[Ref, ...]) -> Ref:
        """Return the value of a computation, adding a cell only if it is new."""
        cell = Cell(operation, weights, inputs)
        index = self._known.setdefault(cell, len(self.cells))
        if index == len(self.cells):
            self.cells.append(cell)
        return Ref(index)

    def served(self, outputs: Mapping[str, Ref]) -> list[tuple[str, ...]]:
        """Return the tasks whose output needs each cell, in the order of ``outputs``; a dead cell serves none."""
        reached: list[set[str]] = [set() for _ in self.cells]
        for task, ref in outputs.items():
            if ref.cell >= 0:
                reached[ref.cell].add(task)
        # A cell is requested after what it reads, so one pass from the last to the first reaches everything.
        for index in range(len(self.cells) - 1, -1, -1):
            for ref in self.cells[index].inputs:
                if ref.cell >= 0:
                    reached[ref.cell] |= reached[index]
        order = list(outputs).index
        return [tuple(sorted(tasks, key=order)) for tasks in reached]
