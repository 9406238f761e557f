"""Passes that make a trained Graph small and quick without changing what it computes.

A pass takes a Graph that is the caller's to change, edits it in place and returns how many things it changed.
:func:`optimise` runs all of them on a copy. Their order matters: weights are stored once, so that equal nodes are
seen to be equal, *before* folding gives every convolution weights of its own; runtimes fold first and lose the reuse.
"""

from __future__ import annotations

from collections.abc import Callable

from trunkline.export.passes.batchnorm import fold_batchnorm
from trunkline.export.passes.dead_code import remove_dead_code
from trunkline.export.passes.deduplicate import deduplicate
from trunkline.export.passes.noops import drop_noops
from trunkline.export.passes.padding import name_padded_axes
from trunkline.export.passes.stored import fold_stored
from trunkline.export.passes.value_numbering import number_values
from trunkline.graph.graph import Graph

Pass = Callable[[Graph], int]

REUSE: tuple[Pass, ...] = (remove_dead_code, drop_noops, deduplicate, number_values)
"""Bit-exact: every output is the same to the last bit."""

__all__ = [
    "REUSE",
    "Pass",
    "deduplicate",
    "drop_noops",
    "fold_batchnorm",
    "fold_stored",
    "name_padded_axes",
    "number_values",
    "optimise",
]


def optimise(graph: Graph, *, fold: bool = True, reuse: bool = True) -> Graph:
    """Return an equivalent Graph in which everything equal is stored and computed once.

    Args:
        graph: Any Graph; it is not changed.
        fold: Store what weights are computed to, and fold BatchNormalization into convolutions. Each rounds weights
            once and so is exact to about 1e-7 relative, not to the bit.
        reuse: Merge what is equal. Off for a file that will be trained again: weights that only *start* equal, such
            as fresh biases, would be tied for good.
    """
    result = graph.copy()
    folding: tuple[Pass, ...] = (fold_stored, fold_batchnorm) if fold else ()
    for run in (*(REUSE if reuse else ()), *folding, name_padded_axes, remove_dead_code):
        run(result)
    return result
