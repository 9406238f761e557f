"""Parameters by the papers' rule: weights of the backbone's convolutions alone.

AutoMTL's published counts (Zhang et al. 2022, Table 1, by the notebook of its release) count every copy of a
convolution's weight that some task uses once, and neither BatchNormalization, nor projections of skips, nor heads. What
a model really stores is :attr:`trunkline.sharing.lowering.executed_cost.ExecutedCost.total`.
"""

from __future__ import annotations

from trunkline.graph.roles import size_of
from trunkline.sharing.lowering.lower import Lowered
from trunkline.sharing.origin import BackboneWeight, Leading


def paper_parameters(lowered: Lowered) -> int:
    """Return the number of weights that the papers' rule counts in a multi-task model.

    >>> from trunkline.ingest.read import read
    >>> from trunkline.sharing.layouts.plans import all_shared, independent
    >>> from trunkline.sharing.lowering.lower import lower
    >>> tiny = read("zoo:tiny")
    >>> one = paper_parameters(lower(all_shared(tiny, ["a", "b"]), tiny, {}))
    >>> paper_parameters(lower(independent(tiny, ["a", "b"]), tiny, {})) == 2 * one
    True
    """
    stored = lowered.graph.initializers
    counted = 0
    for name, origin in lowered.origin.items():
        weight = origin.weight if isinstance(origin, Leading) else origin
        # Biases, and all of a BatchNormalization, are vectors.
        is_vector = len(stored[name].shape or ()) < 2
        if isinstance(weight, BackboneWeight) and not is_vector:
            counted += size_of(stored[name])
    return counted
