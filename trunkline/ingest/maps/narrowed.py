"""Look behind the narrowed map of a transition layer (Huang et al. 2017, section 3), which is no end of a stage.

A DenseNet narrows what a dense block has made by a 1x1 convolution, and averages it right away: the next block needs
less. Heads read what the block made.
"""

from __future__ import annotations

from trunkline.ingest.axes.follow import FUNCTIONS
from trunkline.ingest.computed_weights import image_inputs_of
from trunkline.ingest.graph import attribute
from trunkline.ingest.maps.feature_map import FeatureMap, Maps


def before_narrowing(found: FeatureMap, maps: Maps) -> FeatureMap:
    """Return the map that a transition layer narrows, where ``found`` is its narrowed one; else ``found``."""
    readers = found.value.consumers()
    node = found.value.producer()
    is_averaged = bool(readers) and all(
        reader.op_type == "AveragePool" and max(attribute(reader, "strides", [1])) > 1 for reader in readers
    )
    if not is_averaged or node is None or node.op_type != "Conv" or attribute(node, "kernel_shape") != [1, 1]:
        return found
    (read,) = image_inputs_of(node)
    producer = read.producer()
    while producer is not None and producer.op_type in FUNCTIONS | {"BatchNormalization"}:
        (read,) = image_inputs_of(producer)
        producer = read.producer()
    source = maps.get(read)
    is_wider = source is not None and source.turn is None and source.channels > found.channels
    return source if source is not None and is_wider else found
