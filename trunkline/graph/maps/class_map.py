"""Tell the map of a classifier that is a 1x1 convolution before the pooling, as in Network in Network and SqueezeNet.

Such a map holds a score for each class, and heads should read what it was made of.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.graph import attribute, name_of
from trunkline.graph.layers import is_layer, is_pointwise
from trunkline.graph.maps.feature_map import FeatureMap, Maps
from trunkline.graph.maps.reach import descendants
from trunkline.text import quoted

_ACTIVATIONS = frozenset({"Clip", "LeakyRelu", "PRelu", "Relu"})
_POOLING = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReduceMax", "ReduceMean"})
_REARRANGING = frozenset({"Flatten", "Reshape", "Resize", "Squeeze", "Transpose"})
_BEHIND = _POOLING | _REARRANGING | {"Dropout", "Identity", "LogSoftmax", "Softmax"}
"""Operators that may come between a classifier's map and the output, if only its place shows that it is one."""


def before_classifier(end: FeatureMap, maps: Maps) -> tuple[FeatureMap, str]:
    """Return the map that a 1x1 convolution used as classifier reads, where it makes ``end``; otherwise ``end``.

    The second is a note for the user where the file leaves it open, else empty.

    1. With weights after it, or as an output, the convolution is a layer like any other.
    2. A Dropout before it or a softmax after it is a sure sign of a classifier.
    3. A network exported for use has neither. There it is one if it has a bias and its scores are pooled as they are,
       or after a Relu.
    4. Where other convolutions are normalised and this one is not, that is sure too. Where none is (folded, or never
       there), the same file could end in features: then there is a note.
    """
    node = end.value.producer()
    while node is not None and node.op_type in _ACTIVATIONS:
        first = node.inputs[0]
        node = None if first is None else first.producer()
    if node is None or not is_pointwise(node) or attribute(node, "group", 1) != 1:
        return end, ""
    if end.turn is not None or end.value.is_graph_output():  # rule 1
        return end, ""
    behind = descendants(end.value)
    source = _before_dropout(node)
    if any(map(is_layer, behind)) or source not in maps:
        return end, ""
    has_dropout = source is not node.inputs[0]
    if has_dropout or any("Softmax" in item.op_type for item in behind):  # rule 2
        return maps[source], ""
    has_bias = len(node.inputs) > 2
    if not has_bias or not _is_pooled_plainly(end.value, node, behind):  # rule 3
        return end, ""
    note = "" if _normalises_convolutions(maps) else _doubt(node, end)  # rule 4
    return maps[source], note


def _before_dropout(node: ir.Node) -> ir.Value:
    source = node.inputs[0]
    assert source is not None
    before = source.producer()
    if before is None or before.op_type != "Dropout" or before.inputs[0] is None:
        return source
    return before.inputs[0]


def _is_pooled_plainly(end: ir.Value, node: ir.Node, behind: list[ir.Node]) -> bool:
    """Whether the pooled map is the only output, and is activated by a Relu at most."""
    last = end.producer()
    if last is not node:
        # SqueezeNet's scores go through a Relu. Other functions, as MobileNetV2's Clip, make features.
        is_relu = last is not None and last.op_type == "Relu" and last.inputs[0] is node.outputs[0]
        if not is_relu:
            return False
    outputs = [value for item in behind for value in item.outputs if value.is_graph_output()]
    return len(outputs) == 1 and all(item.op_type in _BEHIND for item in behind)


def _normalises_convolutions(maps: Maps) -> bool:
    """Whether any convolution is normalised still; where an exporter has folded one, it has folded all."""
    readers = (item for node in maps.graph.nodes if node.op_type == "Conv" for item in node.outputs[0].consumers())
    return any(item.op_type == "BatchNormalization" for item in readers)


def _doubt(node: ir.Node, end: FeatureMap) -> str:
    return (
        f"{quoted(name_of(node))}, a 1x1 convolution before the pooling, is taken for the classifier; "
        f"if it makes features, name them: --features {name_of(end.value)}"
    )
