"""Look behind a map that is narrowed for the layers behind it, which is no end of a stage.

A DenseNet narrows what a dense block has made by a 1x1 convolution, and averages it right away (Huang et al. 2017,
section 3). A cell of NASNet (Zoph et al. 2018, appendix A) narrows what it reads, and several branches go down from
there. Both activate before the convolution and not behind it. Heads read what was made before.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.axes.follow import FUNCTIONS
from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.graph import attribute
from trunkline.graph.layers import is_pointwise
from trunkline.graph.maps.feature_map import FeatureMap, Maps
from trunkline.graph.walks import before, first_readers

_NORMALISING = frozenset({"BatchNormalization"})
_PASSING = FUNCTIONS | _NORMALISING
_AVERAGE = "AveragePool"


def before_narrowing(found: FeatureMap, maps: Maps) -> FeatureMap:
    """Return the map that a transition or a cell has narrowed to ``found``; else ``found``."""
    narrowed = before(found.value, FUNCTIONS)
    if narrowed is not found.value and len(narrowed.consumers()) == 1:
        return found  # the convolution's own activation: it ends a stage, as in DLA and VoVNet
    node = before(narrowed, _NORMALISING).producer()
    if node is None or not is_pointwise(node):
        return found
    if not _only_goes_down(narrowed):
        return found
    # The activation before the convolution belongs to the transition: what was made is before that too.
    source = maps.get(before(image_inputs_of(node)[0], _PASSING))
    if source is None or source.turn is not None:
        return found
    is_narrowed = source.channels > found.channels and source.size == found.size
    return source if is_narrowed else found


def _only_goes_down(value: ir.Value) -> bool:
    """Whether all that reads a map has a stride: an average, or several layers."""
    # TensorFlow's exporters write the padding of a strided layer as a node of its own.
    readers = first_readers(value, lambda node: node.op_type in FUNCTIONS or node.op_type == "Pad")
    if not readers or any(max(attribute(reader, "strides", [1])) < 2 for reader in readers):
        return False
    # A single convolution with a stride is the first of the next stage, and what it reads ends the one before.
    return len(readers) > 1 or readers[0].op_type == _AVERAGE
