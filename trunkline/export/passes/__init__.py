"""Passes that make a trained Graph small and quick without changing what it computes.

They are passes like all others (:mod:`trunkline.graph.passes.base`); here is only what is about delivery.
:func:`optimise` runs them on a copy. Their order matters: weights are stored once, so that equal nodes are seen to be
equal, *before* folding gives every convolution weights of its own; runtimes fold first and lose the reuse.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.export.passes.batchnorm import FoldBatchNorm
from trunkline.export.passes.batchnorm_pairs import NotFolded, find_pairs
from trunkline.export.passes.branches import FuseBranches
from trunkline.export.passes.constants import FoldConstants
from trunkline.export.passes.deduplicate import Deduplicate
from trunkline.export.passes.padding import NamePaddedAxes
from trunkline.export.passes.siblings import FuseSiblings
from trunkline.export.passes.value_numbering import NumberValues
from trunkline.graph.graph import Graph
from trunkline.graph.passes.base import Pass, run_passes
from trunkline.graph.passes.eliminate_identity import EliminateIdentity
from trunkline.graph.passes.remove_dead import RemoveDead

REUSE: tuple[Pass, ...] = (RemoveDead(), EliminateIdentity(inference=True), Deduplicate(), NumberValues())
"""Bit-exact: every output is the same to the last bit."""
SIDE_BY_SIDE: tuple[Pass, ...] = (FuseSiblings(), FuseBranches())
"""Horizontal fusion: fewer and larger nodes for the same work. Whether that is quicker depends on the device."""

__all__ = [
    "REUSE",
    "SIDE_BY_SIDE",
    "Deduplicate",
    "FoldBatchNorm",
    "FoldConstants",
    "FuseBranches",
    "FuseSiblings",
    "NamePaddedAxes",
    "NotFolded",
    "NumberValues",
    "not_folded",
    "optimise",
]


def optimise(graph: Graph, *, fold: bool = True, reuse: bool = True, fuse: bool = False) -> Graph:
    """Return an equivalent Graph in which everything equal is stored and computed once.

    Args:
        graph: Any Graph; it is not changed.
        fold: Store what weights are computed to, and fold BatchNormalization into convolutions. Each rounds weights
            once and so is exact to about 1e-7 relative, not to the bit.
        reuse: Merge what is equal. Off for a file that will be trained again: weights that only *start* equal, such
            as fresh biases, would be tied for good.
        fuse: Put parallel convolutions of tasks side by side, after folding. Sums may then be added up in another
            order, so it is exact to rounding.
    """
    result = graph.copy()
    folding: tuple[Pass, ...] = (FoldConstants(), FoldBatchNorm()) if fold else ()
    fusing = SIDE_BY_SIDE if fuse else ()
    run_passes(result.model.graph, [*(REUSE if reuse else ()), *folding, NamePaddedAxes(), RemoveDead(), *fusing])
    return result


def not_folded(graph: ir.Graph) -> tuple[NotFolded, ...]:
    """Return every BatchNormalization that folding leaves in ``graph``, each with the reason."""
    return tuple(find_pairs(graph).refused)
