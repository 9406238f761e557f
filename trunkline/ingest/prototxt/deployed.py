"""Which layers the deployed network has: those that an image reaches and that no label is needed for."""

from __future__ import annotations

from trunkline.ingest.prototxt.layers import DROPPED
from trunkline.ingest.prototxt.network.inputs import is_source
from trunkline.ingest.prototxt.network.net import LayerText, Net
from trunkline.ingest.prototxt.text.report import FileReport
from trunkline.text import quoted

SILENCE = "Silence"
"""The layer that makes its bottoms no outputs. It stays until it is known what leads to it alone."""

_NEEDS = "it needs"
_LOSS_ENDINGS = ("Loss", "LossLayer", "Accuracy", "AccuracyLayer")
"""Every fork has losses of its own; their names show that they are such, and they end the network as Caffe's do."""


def deployed(net: Net, labels: frozenset[str], report: FileReport) -> list[LayerText]:
    """Leave out what became an input, what measures a result, and what reads labels.

    Args:
        net: The file, layers of other phases left out.
        labels: Blobs that exist only where there is training data.
        report: Where every layer that is left out is noted.
    """
    kept: list[LayerText] = []
    dropped: dict[str, LayerText] = {}
    labels_here = set(labels)
    for layer in net.layers:
        if is_source(layer):
            continue
        reason = _reason(layer, labels_here)
        tops = [name for name, _ in layer.tops]
        if reason:
            report.note(f"{layer} was dropped: {reason}")
            if layer.type == SILENCE:
                kept.append(layer)
            # What is computed from labels exists in training alone, as they do; what reads a dropped result is a fault.
            if reason.startswith(_NEEDS):
                labels_here.update(tops)
            else:
                dropped.update(dict.fromkeys(tops, layer))
            continue
        _refuse_readers(layer, dropped, report)
        labels_here.difference_update(tops)  # a blob that the deployed network writes is no label any more
        kept.append(layer)
    if all(layer.type == SILENCE for layer in kept):
        if not report.count:
            report.error("the file declares no layer that computes", net.fields.at, "add layer { … } blocks")
        return []
    return kept


def _reason(layer: LayerText, labels: set[str]) -> str:
    """Return why a layer has no part in the deployed network, or an empty string where it has one."""
    if layer.type in DROPPED:
        return DROPPED[layer.type]
    if layer.type.endswith(_LOSS_ENDINGS):
        return "it measures a result"
    for name, _ in layer.bottoms:
        if name in labels:
            return f"{_NEEDS} {quoted(name)}, which only training data has"
    # A Python layer has no type that shows what it is; Caffe itself knows a loss among them by its loss_weight.
    if layer.type == "Python" and any(layer.fields.numbers("loss_weight")):
        return "it is a loss"
    return ""


def _refuse_readers(layer: LayerText, dropped: dict[str, LayerText], report: FileReport) -> None:
    """Report a layer that reads a loss or a class number: it would be lost without a word."""
    for name, at in layer.bottoms:
        if name in dropped:
            message = f"{layer} reads blob {quoted(name)}, but {dropped[name]} has no part in the deployed network"
            report.error(message, at, "remove the two layers, or cut the network before them with --features")
    for name, _ in layer.tops:  # later readers mean this layer's blob
        dropped.pop(name, None)
