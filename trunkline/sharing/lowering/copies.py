"""Which copy of a weight a column reads, where every input has a copy of its own."""

from __future__ import annotations

from collections.abc import Container

from trunkline.sharing.lowering.numbering import Ref

Inputs = tuple[Ref, ...]


class Copies:
    """Hands out copies of weights, each under the name of a task that reads it.

    A node never reads one copy for two different inputs. Nodes that share a weight in the backbone's file go on
    sharing it within a column, as far as that allows.
    """

    def __init__(self) -> None:
        self._of_inputs: dict[tuple[str, int, str], dict[Inputs, str]] = {}
        self._of_column: dict[tuple[str, int, str], str] = {}

    def copy(self, weight: str, instance: int, *, node: str, inputs: Inputs, task: str) -> str:
        """Return the copy of a weight's instance that ``node`` reads for ``inputs``; tasks ask in their order."""
        copies = self._of_inputs.setdefault((weight, instance, node), {})
        if inputs not in copies:
            copies[inputs] = self._new(weight, instance, task, taken=copies.values())
        self._of_column.setdefault((weight, instance, task), copies[inputs])
        return copies[inputs]

    def _new(self, weight: str, instance: int, task: str, *, taken: Container[str]) -> str:
        held = self._of_column.get((weight, instance, task), task)
        return task if held in taken else held
