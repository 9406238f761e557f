"""Wired layers → nodes of a Graph, reporting every layer that cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.ingest.prototxt.layers import DROPPED, TRANSLATORS
from trunkline.ingest.prototxt.layers.layer import Layer, LayerFaultError, Site
from trunkline.ingest.prototxt.net import LayerText
from trunkline.ingest.prototxt.report import Report
from trunkline.ingest.prototxt.wiring import Blob, Wired

Values = dict[Blob, ir.Value]


def refuse_unknown_types(layers: Sequence[LayerText], report: Report) -> None:
    """Report every layer whose type has no translator."""
    supported = sorted({*TRANSLATORS, *DROPPED, "Input"})
    for layer in layers:
        if layer.type not in TRANSLATORS:
            at = layer.fields.where("type")
            advice = report.suggest(layer.type, supported, "replace it, or rewrite it with supported layers")
            report.unsupported(f"{layer} is not supported", at, advice, supported)


def translate(layers: Sequence[Wired], values: Values, site: Site) -> None:
    """Emit the nodes of all layers, in the order of the file, adding what they write to ``values``.

    A layer that reads what an earlier fault left without a value is passed over: its faults would only be
    consequences.
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
        wired.text.fields.finish()
        if site.report.count == known:
            values.update(zip(wired.tops, results, strict=True))


def _results(layer: Layer) -> Sequence[ir.Value]:
    translator = TRANSLATORS[layer.text.type]
    _check_count(layer, "bottom", len(layer.inputs), translator.bottoms)
    _check_count(layer, "top", layer.top_count, translator.tops)
    result = translator.translate(layer)
    return [result] if isinstance(result, ir.Value) else result


def _check_count(layer: Layer, what: str, found: int, allowed: tuple[int, int | None]) -> None:
    lowest, highest = allowed
    if found >= lowest and (highest is None or found <= highest):
        return
    expected = (
        f"{lowest}" if lowest == highest else f"{lowest} or more" if highest is None else f"{lowest} to {highest}"
    )
    raise layer.fault(f"{layer.text} has {found} {what}s; expected {expected}", what)
