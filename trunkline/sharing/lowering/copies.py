"""Which copy of a weight a column reads, where every input has a copy of its own."""

from __future__ import annotations

from collections.abc import Container

from trunkline.sharing.lowering.numbering import Ref

Inputs = tuple[Ref, ...]
"""What a node reads that depends on the image."""


class Copies:
    """Hands out copies of weights, each under the name of a task that reads it.

    A node never reads one copy for two different inputs. Nodes that share a weight in the backbone's file go on
    sharing it within a column, as far as that allows.
    """

    def __init__(self) -> None:
        self._of_inputs: dict[tuple[str, int, str], dict[Inputs, str]] = {}
        self._of_column: dict[tuple[str, int, str], str] = {}

    def copy(self, weight: str, instance: int, *, node: str, inputs: Inputs, task: str) -> str:
        """Return the copy of a weight's instance that ``node`` reads for ``inputs``.

        Args:
            weight: Name of the weight.
            instance: Number of its instance.
            node: Name of the node.
            inputs: The node's inputs. Tasks with equal ones share a copy, named after the first that asks.
            task: Task that asks; tasks ask in output order.
        """
        # By node too: another node may read the same weight for inputs of its own.
        copies = self._of_inputs.setdefault((weight, instance, node), {})
        if inputs not in copies:
            copies[inputs] = self._new(weight, instance, task, taken=copies.values())
        self._of_column.setdefault((weight, instance, task), copies[inputs])
        return copies[inputs]

    def _new(self, weight: str, instance: int, task: str, *, taken: Container[str]) -> str:
        # A column that has a copy already goes on with it, so that a weight tied in the backbone's file stays tied;
        # unless this node reads that copy for other inputs, from an earlier task.
        held = self._of_column.get((weight, instance, task), task)
        return task if held in taken else held
