"""BatchNorm (with the Scale layer it absorbed) and LRN."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.ingest.prototxt.layers.affine import scale_weights
from trunkline.ingest.prototxt.layers.initial import ONE, ZERO
from trunkline.ingest.prototxt.layers.layer import Layer, Translator


def batch_norm(layer: Layer) -> ir.Value:
    """BatchNorm → BatchNormalization.

    The statistics are ``<BatchNorm layer>.mean`` and ``.var``. Scale and shift are ``.scale`` and ``.bias`` of
    the same layer, unless a Scale layer was absorbed: then they are that layer's ``.weight`` and ``.bias``, so
    a weight is always named after the layer that holds it in a Caffe file.
    """
    channels = (layer.shape() or (1,))[0]
    layer.refuse_param_names()
    attributes = _settings(layer)
    if layer.scale is not None:
        scale, bias = scale_weights(layer, layer.scale, channels)
    else:
        scale = layer.weight("scale", (channels,), ONE)
        bias = layer.weight("bias", (channels,), ZERO)
    mean, var = layer.weight("mean", (channels,), ZERO), layer.weight("var", (channels,), ONE)
    return layer.node("BatchNormalization", [layer.inputs[0], scale, bias, mean, var], attributes)


def lrn(layer: Layer) -> ir.Value:
    """LRN across channels → LRN; both divide alpha by the window size."""
    fields = layer.fields.block("lrn_param")
    fields.ignore("engine")
    layer.image()
    size = fields.integer("local_size", 5, minimum=1)
    if size % 2 == 0:
        raise layer.fault(f"{layer.text} has an even local_size", "local_size", "it must be odd", fields)
    if fields.choice("norm_region", ("ACROSS_CHANNELS", "WITHIN_CHANNEL"), "ACROSS_CHANNELS") == "WITHIN_CHANNEL":
        raise layer.fault(f"{layer.text} within channels is not supported", "norm_region", within=fields)
    alpha, beta, k = fields.number("alpha", 1.0), fields.number("beta", 0.75), fields.number("k", 1.0)
    if alpha <= 0 or beta <= 0:
        message = f"{layer.text} has alpha {alpha:g} and beta {beta:g}"
        raise layer.fault(message, "alpha" if alpha <= 0 else "beta", "both must be positive", fields)
    return layer.node("LRN", layer.inputs, {"size": size, "alpha": alpha, "beta": beta, "bias": k})


def _settings(layer: Layer) -> dict[str, float | int]:
    """Read the fields of both dialects.

    ONNX's momentum is the part of the old statistics that stays: AutoMTL's ``momentum`` (as torch's) is the
    new part. Caffe's fraction stays with the statistics too, but Caffe corrects for the start and ONNX does
    not; its default 0.999 would need thousands of steps, so only a written fraction is used.
    """
    fields = layer.fields.block("batch_norm_param")
    fields.ignore("engine", "use_global_stats")
    momentum = 1 - fields.number("momentum", 0.1)
    if fields.has("moving_average_fraction"):
        momentum = fields.number("moving_average_fraction", momentum)
    epsilon = fields.number("eps", 1e-5)
    if epsilon < 0 or not 0 <= momentum <= 1:
        raise layer.fault(f"{layer.text} has eps {epsilon:g} and momentum {momentum:g}", within=fields)
    if not fields.flag("track_running_stats", True):
        message = f"{layer.text} keeps no running statistics: its result would depend on the batch"
        raise layer.fault(message, "track_running_stats", "set it to true", fields)
    if fields.flag("use_global_stats", False):
        layer.site.report.note("use_global_stats is how the file was deployed; BatchNorm trains like any other here")
    affine = fields.flag("affine", layer.dialect.affine_batch_norm)
    if not affine and layer.scale is None:
        layer.site.report.note(f"{layer.text} has no scale and shift; they were added as 1 and 0, and will train")
    return {"epsilon": epsilon, "momentum": momentum, "training_mode": 0}


LAYERS = {"BatchNorm": Translator(batch_norm), "LRN": Translator(lrn)}
