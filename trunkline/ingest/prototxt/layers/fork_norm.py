"""BN, the batch normalisation of SegNet's and of PSPNet's fork of Caffe, which share its name and little else.

Sources: the ``BNLayer`` of SegNet (Badrinarayanan et al.: scale and shift, no running statistics), and those of PSPNet
(Zhao et al.: scale, shift, mean and variance, in this order), whose first release has ``var_eps``, ``decay`` and
``moving_average``, the second ``slope_filler``, ``momentum`` and ``eps``.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.fillers import Filler
from trunkline.ingest.prototxt.layers.affine import per_channel
from trunkline.ingest.prototxt.layers.formula import FormulaStep, chain
from trunkline.ingest.prototxt.layers.initial import ONE, ZERO, filler
from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.text.fields import Fields

_FIRST_PSPNET = ("decay", "moving_average", "use_history_in_test", "var_eps")
_SEGNET = ("bn_mode", "scale_filler", "shift_filler")
_SEGNET_EPSILON = 1e-9


def fork_norm(layer: Layer) -> ir.Value:
    """BN → BatchNormalization; SegNet's ``INFERENCE`` → Mul, Add. The fields tell the fork."""
    fields = layer.fields.block("bn_param")
    # PSPNet's first release comes before SegNet: it has scale_filler and shift_filler too.
    if any(map(fields.has, _FIRST_PSPNET)):
        return _first_pspnet(layer, fields)
    if any(map(fields.has, _SEGNET)):
        return _segnet(layer, fields)
    starts = filler(fields, "slope_filler", ONE), filler(fields, "bias_filler", ZERO)
    _note_frozen(layer, fields)
    return _norm(layer, fields, starts, fields.number("eps", 1e-5), fields.number("momentum", 0.9))


def _first_pspnet(layer: Layer, fields: Fields) -> ir.Value:
    """Read the fields of PSPNet's first release, whose ``decay`` is 1 − momentum: the weight of the new batch."""
    starts = filler(fields, "scale_filler", ONE), filler(fields, "shift_filler", ZERO)
    if fields.integer("axis", 1) != 1:
        raise layer.layer_error(f"{layer.text} must normalise axis 1", "axis", within=fields)
    if not (fields.flag("moving_average", False) or fields.flag("use_history_in_test", False)):
        _note_batch(layer)
    _note_frozen(layer, fields)
    return _norm(layer, fields, starts, fields.number("var_eps", 1e-10), 1 - fields.number("decay", 0.05))


def _segnet(layer: Layer, fields: Fields) -> ir.Value:
    """Read SegNet's fields. ``LEARN`` normalises by the batch; ``INFERENCE`` has folded that into scale · x + shift."""
    starts = filler(fields, "scale_filler", ONE), filler(fields, "shift_filler", ZERO)
    if fields.choice("bn_mode", ("LEARN", "INFERENCE"), "LEARN") == "LEARN":
        # A SegNet file keeps no mean and variance: they start as 0 and 1, and are collected in training here.
        _note_batch(layer)
        return _norm(layer, fields, starts, _SEGNET_EPSILON, 0.9)
    shape = per_channel(layer.shape())
    scale, shift = layer.weight("scale", shape, starts[0], blob=0), layer.weight("bias", shape, starts[1], blob=1)
    return chain(layer, layer.inputs[0], [FormulaStep("Mul", scale), FormulaStep("Add", shift)])


def _norm(layer: Layer, fields: Fields, starts: tuple[Filler, Filler], epsilon: float, momentum: float) -> ir.Value:
    if epsilon < 0 or not 0 <= momentum <= 1:
        raise layer.layer_error(f"{layer.text} has eps {epsilon:g} and momentum {momentum:g}", within=fields)
    channels = (layer.shape() or (1,))[:1]
    # The order of the blobs in PSPNet's fork; SegNet's has the first two.
    roles = zip(("scale", "bias", "mean", "var"), (*starts, ZERO, ONE), strict=True)
    weights = [layer.weight(role, channels, start, blob=blob) for blob, (role, start) in enumerate(roles)]
    attributes = {"epsilon": epsilon, "momentum": momentum, "training_mode": 0}
    return layer.node("BatchNormalization", [layer.inputs[0], *weights], attributes)


def _note_batch(layer: Layer) -> None:
    layer.site.report.note("BN normalises by the batch in this file; it is deployed with running statistics here")


def _note_frozen(layer: Layer, fields: Fields) -> None:
    if fields.flag("frozen", False):
        layer.site.report.note("frozen is how the file was deployed; BN trains like any other here")


LAYERS = {"BN": Translator(fork_norm), "BNData": Translator(fork_norm)}
