"""Tell a network that gives out feature maps, as a backbone exported for the purpose does, from a detector."""

from __future__ import annotations

from trunkline.graph.computed_weights import has_parameters, image_inputs_of
from trunkline.graph.layers import is_pointwise
from trunkline.graph.maps.ends import settled
from trunkline.graph.maps.feature_map import FeatureMap, Maps
from trunkline.graph.maps.trunk import trunk_of


def given_maps(maps: Maps) -> tuple[FeatureMap, ...]:
    """Return the outputs, the finest first, of a network that gives out several feature maps and nothing else.

    1. All outputs are maps, and there are several.
    2. Each has a size of its own: a network of several tasks gives several maps of one size.
    3. They are no predictions of a detector: 1x1 convolutions to as many channels at every scale, behind a path from
       the coarse to the fine.
    """
    outputs = maps.graph.outputs
    found = [settled(maps[value], maps) for value in outputs if value in maps]
    if len(outputs) < 2 or len(found) < len(outputs):  # rule 1
        return ()
    sizes = {item.size for item in found}
    if len(sizes) < len(found) or any(item.stride is None for item in found):  # rule 2
        return ()
    if _are_predictions(found, maps):  # rule 3
        return ()
    return tuple(sorted(found, key=lambda item: -item.size))


def _are_predictions(found: list[FeatureMap], maps: Maps) -> bool:
    if len({item.channels for item in found}) > 1 or not all(map(_is_predicted, found)):
        return False
    # On the trunk, nothing coarser came before: then no path leads back from the coarse to the fine.
    on_trunk = {item.value for item in trunk_of(maps)}
    return not all(item.value in on_trunk for item in found)


def _is_predicted(found: FeatureMap) -> bool:
    """Whether all that a map consists of are 1x1 convolutions with a bias, and functions without weights of them."""
    waiting = [found.value]
    while waiting:
        node = waiting.pop().producer()
        if node is None:
            return False
        is_predictor = is_pointwise(node) and len(node.inputs) > 2
        if has_parameters(node) and not is_predictor:
            return False
        if node.op_type != "Conv":
            waiting += image_inputs_of(node)
    return True
