"""BatchNorm, with the Scale layer it absorbed."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.layers.affine import fits_batch_norm, scale_after, scale_weights
from trunkline.ingest.prototxt.layers.initial import ONE, ZERO, filler
from trunkline.ingest.prototxt.layers.layer import Layer, Translator


def batch_norm(layer: Layer) -> ir.Value:
    """BatchNorm → BatchNormalization.

    The statistics are ``<BatchNorm layer>.mean`` and ``.var``. Scale and shift are ``.scale`` and ``.bias`` of
    the same layer, unless a Scale layer was absorbed: then they are that layer's ``.weight`` and ``.bias``, so
    a weight is always named after the layer that holds it in a Caffe file. Where the file has neither they are
    the constants 1 and 0.
    """
    channels = (layer.shape() or (1,))[0]  # Caffe gives an input of one axis one channel
    layer.refuse_partly_shared(3)  # mean, variance and the factor that divides both: one cannot change alone
    attributes, own = _settings(layer)
    follower = layer.scale
    # A norm with a scale of its own, or a Scale of another shape than one factor a channel, leaves two layers.
    merges = follower is not None and not own and fits_batch_norm(layer, follower)
    if follower is not None and merges:
        scale, bias = scale_weights(layer, follower, channels)
        follower.fields.finish()
    elif own:
        scale, bias = _own_affine(layer, channels)
    else:
        scale, bias = _no_affine(layer, channels)
    mean = layer.weight("mean", (channels,), ZERO, blob=0)
    operands = [layer.inputs[0], scale, bias, mean, layer.weight("var", (channels,), ONE, blob=1)]
    if follower is None or merges:
        return layer.node("BatchNormalization", operands, attributes)
    result = scale_after(layer, follower, layer.step("norm", "BatchNormalization", operands, attributes))
    follower.fields.finish()
    return result


def _own_affine(layer: Layer, channels: int) -> tuple[ir.Value, ir.Value]:
    """Declare the layer's own scale and shift; a fork with ``scale_bias`` stores them after the statistics."""
    fields = layer.fields.block("batch_norm_param")
    start, offset = filler(fields, "scale_filler", ONE), filler(fields, "bias_filler", ZERO)
    # WiredBlob 2 is the factor that Caffe divides its statistics by, no weight of the Graph.
    return layer.weight("scale", (channels,), start, blob=3), layer.weight("bias", (channels,), offset, blob=4)


def _no_affine(layer: Layer, channels: int) -> tuple[ir.Value, ir.Value]:
    """Store scale 1 and shift 0, which never train; with a note where no Scale layer follows either."""
    if layer.scale is None:
        layer.site.report.note(f"{layer.text} has no scale and shift: it only normalises")
    scale = layer.constant("scale", np.ones(channels, np.float32))
    return scale, layer.constant("bias", np.zeros(channels, np.float32))


def _settings(layer: Layer) -> tuple[dict[str, float | int], bool]:
    """Read the fields of all dialects; return the attributes, and whether the layer has its own scale and shift.

    ONNX's momentum is the part of the old statistics that stays: AutoMTL's ``momentum`` (as torch's) is the
    new part. Caffe's fraction stays with the statistics too, but Caffe corrects for the start and ONNX does
    not; its default 0.999 would need thousands of steps, so only a written fraction is used.
    """
    fields = layer.fields.block("batch_norm_param")
    fields.ignore("update_global_stats")  # whether training with fixed statistics goes on collecting them
    fields.ignore("icnet")  # whether the Synopsys fork saves memory
    if layer.scale is not None and fields.has("filler"):
        layer.site.report.note("filler of BatchNorm was left out: the Scale layer after it says how its factor starts")
    if not fields.flag("add_eps_before_sqrt", True):
        message = f"{layer.text} adds eps after the square root, as only the Synopsys fork can"
        raise layer.layer_error(message, "add_eps_before_sqrt", "only sqrt(variance + eps) is supported", fields)
    momentum = 1 - fields.number("momentum", 0.1)  # torch's default
    if fields.has("moving_average_fraction"):
        momentum = fields.number("moving_average_fraction", momentum)
    epsilon = fields.number("eps", 1e-5)
    if epsilon < 0 or not 0 <= momentum <= 1:
        raise layer.layer_error(f"{layer.text} has eps {epsilon:g} and momentum {momentum:g}", within=fields)
    if not fields.flag("track_running_stats", True):
        message = f"{layer.text} keeps no running statistics: its result would depend on the batch"
        raise layer.layer_error(message, "track_running_stats", "set it to true", fields)
    if fields.has("use_global_stats"):
        _note_global(layer, fields.flag("use_global_stats", True))
    if fields.has("scale_bias") and layer.dialect.affine_batch_norm:
        message = f"{layer.text} has NVIDIA's scale_bias, in a file that is otherwise in AutoMTL's dialect"
        raise layer.layer_error(message, "scale_bias", "add use_global_stats: true if the file is Caffe's", fields)
    # AutoMTL's norm has a scale and a shift, unless the field is false or a Scale layer brings them.
    affine = fields.flag("affine", layer.dialect.affine_batch_norm and layer.scale is None)
    own = fields.flag("scale_bias", False) or affine
    return {"epsilon": epsilon, "momentum": momentum, "training_mode": 0}, own


def _note_global(layer: Layer, frozen: bool) -> None:
    how = "deployed; BatchNorm trains like any other here" if frozen else "trained; running statistics deploy it here"
    layer.site.report.note(f"use_global_stats: {str(frozen).lower()} is how the file was {how}")


LAYERS = {"BatchNorm": Translator(batch_norm)}
