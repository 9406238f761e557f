"""Tell a network that gives out feature maps, as a backbone exported for the purpose does, from a detector."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.computed_weights import has_parameters, image_inputs_of
from trunkline.graph.graph import attribute
from trunkline.graph.maps.ends import settled
from trunkline.graph.maps.feature_map import FeatureMap, Maps
from trunkline.graph.maps.trunk import trunk_of


def given_maps(maps: Maps) -> tuple[FeatureMap, ...]:
    """Return the outputs, the finest first, of a network that gives out several feature maps and nothing else.

    Each has a size of its own. Those of a detector are predictions, not features: 1x1 convolutions to as many channels
    at every scale, behind a path from the coarse to the fine.
    """
    outputs = maps.graph.outputs
    found = [settled(maps[value], maps) for value in outputs if value in maps]
    if len(outputs) < 2 or len(found) < len(outputs) or len({item.size for item in found}) < len(found):
        return ()
    if any(item.stride is None for item in found) or _are_predictions(found, maps):
        return ()
    return tuple(sorted(found, key=lambda item: -item.size))


def _are_predictions(found: list[FeatureMap], maps: Maps) -> bool:
    if len({item.channels for item in found}) > 1 or not all(map(_is_predicted, found)):
        return False
    on_trunk = {item.value for item in trunk_of(maps)}
    return not all(item.value in on_trunk for item in found)


def _is_predicted(found: FeatureMap) -> bool:
    """Whether all that a map consists of are 1x1 convolutions with a bias, and functions without weights of them."""
    waiting = [found.value]
    while waiting:
        node = waiting.pop().producer()
        if node is None or (has_parameters(node) and not _is_pointwise_with_bias(node)):
            return False
        waiting += [] if node.op_type == "Conv" else image_inputs_of(node)
    return True


def _is_pointwise_with_bias(node: ir.Node) -> bool:
    return node.op_type == "Conv" and attribute(node, "kernel_shape") == [1, 1] and len(node.inputs) > 2
