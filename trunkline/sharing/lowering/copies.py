"""Which copy of a weight a column or a join reads, where every input has a copy of its own."""

from __future__ import annotations

from collections.abc import Container

from trunkline.sharing.lowering.numbering import Ref
from trunkline.sharing.origin import Origin

Inputs = tuple[Ref, ...]
"""What a node reads that depends on the image."""


class Copies:
    """Hands out copies of weights, each under the name of the first to request it: the task of a column, or a join.

    A node never reads one copy for the different inputs of two askers. Nodes that share a weight in the backbone's file
    go on sharing it within a column, as far as that allows.
    """

    def __init__(self) -> None:
        self._of_inputs: dict[tuple[Origin, str], dict[Inputs, str]] = {}
        self._of_asker: dict[tuple[Origin, str], str] = {}

    def copy(self, weight: Origin, *, node: str, inputs: Inputs, asker: str) -> str:
        """Return the copy of a weight that ``node`` reads for ``inputs``.

        Args:
            weight: What it is a copy of, without a column or a join.
            node: Name of the node.
            inputs: The node's inputs. Askers with equal ones share a copy, named after the first of them.
            asker: The task or the join that asks; all ask in the same order at every node.
        """
        # By node too: another node may read the same weight for inputs of its own.
        copies = self._of_inputs.setdefault((weight, node), {})
        if inputs not in copies:
            copies[inputs] = self._new(weight, asker, taken=copies.values())
        self._of_asker.setdefault((weight, asker), copies[inputs])
        return copies[inputs]

    def _new(self, weight: Origin, asker: str, *, taken: Container[str]) -> str:
        # Who has a copy already goes on with it, so that a weight tied in the backbone's file stays tied; unless this
        # node reads that copy for other inputs, of an earlier asker.
        held = self._of_asker.get((weight, asker), asker)
        return asker if held in taken else held
