"""Look behind a map that is narrowed for the layers behind it, which is no end of a stage.

A DenseNet narrows what a dense block has made by a 1x1 convolution, and averages it right away (Huang et al. 2017,
section 3). A cell of NASNet (Zoph et al. 2018, appendix A) narrows what it reads, and several branches go down from
there. Both activate before the convolution and not behind it. Heads read what was made before.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import onnx_ir as ir

from trunkline.graph.axes.follow import FUNCTIONS
from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.graph import attribute
from trunkline.graph.maps.feature_map import FeatureMap, Maps

_NORMALISING = frozenset({"BatchNormalization"})
_PASSING = FUNCTIONS | _NORMALISING
_AVERAGE = "AveragePool"


def before_narrowing(found: FeatureMap, maps: Maps) -> FeatureMap:
    """Return the map that a transition or a cell has narrowed to ``found``; else ``found``."""
    narrowed = _before(found.value, FUNCTIONS)
    if narrowed is not found.value and len(narrowed.consumers()) == 1:
        return found  # the convolution's own activation: it ends a stage, as in DLA and VoVNet
    node = _before(narrowed, _NORMALISING).producer()
    if node is None or node.op_type != "Conv" or attribute(node, "kernel_shape") != [1, 1]:
        return found
    if not _only_goes_down(narrowed):
        return found
    source = maps.get(_before(image_inputs_of(node)[0], _PASSING))
    is_wider = source is not None and source.turn is None and source.channels > found.channels
    return source if source is not None and is_wider and source.size == found.size else found


def _only_goes_down(value: ir.Value) -> bool:
    """Whether all that reads a map has a stride: an average, or several layers. One convolution is a stage's first."""
    readers = _readers(value)
    if not readers or any(max(attribute(reader, "strides", [1])) < 2 for reader in readers):
        return False
    return len(readers) > 1 or readers[0].op_type == _AVERAGE


def _readers(value: ir.Value) -> list[ir.Node]:
    """Return what reads ``value``, padded or behind a function or as it is."""
    found: list[ir.Node] = []
    seen: set[ir.Node] = set()
    waiting = [value]
    while waiting:
        readers = [node for node in waiting.pop().consumers() if node not in seen]
        # A PRelu has two inputs, so ways may meet again: in a hostile file at every node.
        seen.update(readers)
        passing = [node for node in readers if node.op_type in FUNCTIONS or node.op_type == "Pad"]
        waiting += [node.outputs[0] for node in passing]
        found += [node for node in readers if node not in passing]
    return found


def _before(value: ir.Value, operators: AbstractSet[str]) -> ir.Value:
    """Return what nodes of these operators make ``value`` of."""
    producer = value.producer()
    while producer is not None and producer.op_type in operators:
        read = image_inputs_of(producer)
        if len(read) != 1:
            return value  # a PRelu whose slope is computed from the image has two sources
        value = read[0]
        producer = value.producer()
    return value
