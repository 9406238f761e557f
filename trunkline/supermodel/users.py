"""Who may use a weight or a choice: the tasks whose outputs are computed from it while choices are open."""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.sharing.lowering.numbering import Cell, MixedNode, MixedValues, Numbering, Ref
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.origin import Origin
from trunkline.supermodel.origin_store import whole_origin

Users = Mapping[Origin | ChoiceId, frozenset[str]]
"""Tasks by what they may use."""


def users_of(numbering: Numbering, outputs: Mapping[str, Ref]) -> Users:
    """Return the users of everything that some cell reads.

    Args:
        numbering: The cells of a walk over a space.
        outputs: The value that is each task's output.
    """
    found: dict[Origin | ChoiceId, set[str]] = {}
    for cell, tasks in zip(numbering.cells, numbering.served(outputs), strict=True):
        for item in _read_by(cell):
            found.setdefault(item, set()).update(tasks)
    return {item: frozenset(tasks) for item, tasks in found.items()}


def _read_by(cell: Cell) -> list[Origin | ChoiceId]:
    read: list[Origin | ChoiceId] = [whole_origin(weight) for weight in cell.weights]
    if isinstance(cell.operation, MixedNode | MixedValues):
        read.append(cell.operation.choice)
    return read
