"""Wired layers → nodes of a Graph, reporting every layer that cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import onnx_ir as ir

from trunkline.ingest.prototxt.layers import DROPPED, REFUSED, TRANSLATORS
from trunkline.ingest.prototxt.layers.layer import Layer
from trunkline.ingest.prototxt.layers.site import LayerFaultError, Site
from trunkline.ingest.prototxt.needed import readable_features
from trunkline.ingest.prototxt.network.net import LayerText
from trunkline.ingest.prototxt.network.wiring import Wired, WiredBlob
from trunkline.ingest.prototxt.text.report import FileReport
from trunkline.text import quoted

Values = dict[WiredBlob, ir.Value]


_OTHERWISE = "replace it, rewrite it with supported layers, or cut the network before it with --features"


def refuse_misplaced(layers: Sequence[Wired], inputs: Sequence[str], report: FileReport) -> None:
    """Report every layer that has no place in the network: its blobs do not exist, or its type has no translator."""
    for wired in layers:
        for fault in wired.faults:
            known = (name for layer in reversed(layers) for name, _ in layer.text.tops)
            guess = report.suggest_blob(fault.misspelt, chain(inputs, known)) if fault.misspelt else ""
            report.error(fault.message, fault.at, guess or fault.advice)
        if wired.text.type not in TRANSLATORS:
            _refuse_type(wired.text, report)
    report.readable(readable_features(layers, TRANSLATORS))


def _refuse_type(layer: LayerText, report: FileReport) -> None:
    supported = sorted({*TRANSLATORS, *DROPPED, "Input"})
    advice = REFUSED.get(layer.type) or report.suggest(layer.type, supported, _OTHERWISE)
    report.add_unsupported(f"{layer} is not supported", layer.fields.where("type"), advice, supported)


def translate(layers: Sequence[Wired], values: Values, site: Site) -> None:
    """Emit the nodes of all layers, in the order of the file, adding what they write to ``values``.

    A layer that reads what an earlier fault left without a value is skipped: its faults would only be consequences.
    """
    for wired in layers:
        inputs = [values[blob] for blob in wired.bottoms if blob is not None and blob in values]
        translator = TRANSLATORS.get(wired.text.type)
        if translator is None or len(inputs) < len(wired.bottoms):
            continue
        known = site.report.count
        try:
            results = _results(Layer(wired, inputs, site))
        except LayerFaultError as fault:
            site.report.error(fault.message, fault.at, fault.advice)
            continue
        # After the translator, which has read every field that it knows.
        wired.text.fields.finish()
        if site.report.count == known:
            values.update(zip(wired.tops, results, strict=False))  # no value for a mask that nothing reads


def _results(layer: Layer) -> Sequence[ir.Value]:
    """Translate one layer and return the values of its tops."""
    translator = TRANSLATORS[layer.text.type]
    _check_count(layer, "bottom", len(layer.inputs), translator.bottoms)
    _check_count(layer, "top", layer.top_count, translator.tops)
    if not translator.reads_masks:
        _refuse_masks(layer)
    result = translator.translate(layer)
    return [result] if isinstance(result, ir.Value) else result


def _refuse_masks(layer: Layer) -> None:
    for index, value in enumerate(layer.inputs):
        if value.dtype != ir.DataType.FLOAT:
            name = quoted(layer.text.bottoms[index][0])
            message = f"{layer.text} reads {name}, a mask: positions, not features"
            raise layer.layer_error(message, "bottom", "only Upsample and Unpooling read masks")


def _check_count(layer: Layer, what: str, found: int, allowed: tuple[int, int | None]) -> None:
    lowest, highest = allowed
    if found >= lowest and (highest is None or found <= highest):
        return
    expected = f"{lowest} to {highest}"
    if highest is None:
        expected = f"{lowest} or more"
    elif lowest == highest:
        expected = f"{lowest}"
    raise layer.layer_error(f"{layer.text} has {found} {what}s; expected {expected}", what)
