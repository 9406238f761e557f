"""Normalisation of one image by itself: LRN, Normalize and MVN."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.graph import Attribute
from trunkline.ingest.prototxt.layers.formula import FormulaStep, affine_steps, chain, lead, reduction
from trunkline.ingest.prototxt.layers.initial import ONE, filler
from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.text.fields import Fields


def lrn(layer: Layer) -> ir.Value:
    """LRN: x / (k + alpha · mean of the squares around it)^beta, across or within channels.

    The mean is over the window whether or not it lies inside the image (Krizhevsky et al. 2012, section 3.3, with
    alpha divided by the window's size).
    """
    fields = layer.fields.block("lrn_param")
    layer.image()
    size = fields.integer("local_size", 5, minimum=1)
    if size % 2 == 0:
        raise layer.layer_error(f"{layer.text} has an even local_size", "local_size", "it must be odd", fields)
    region = fields.choice("norm_region", ("ACROSS_CHANNELS", "WITHIN_CHANNEL"), "ACROSS_CHANNELS")
    alpha, beta, k = fields.number("alpha", 1.0), fields.number("beta", 0.75), fields.number("k", 1.0)
    if alpha <= 0 or beta <= 0:
        message = f"{layer.text} has alpha {alpha:g} and beta {beta:g}"
        raise layer.layer_error(message, "alpha" if alpha <= 0 else "beta", "both must be positive", fields)
    if region == "WITHIN_CHANNEL":
        return _within_channel(layer, fields, size, alpha, beta)
    return layer.node("LRN", layer.inputs, {"size": size, "alpha": alpha, "beta": beta, "bias": k})


def normalize(layer: Layer) -> ir.Value:
    """Normalize: x / √(sum of squares + eps), times a learned scale (Liu et al. 2015, section 3.3).

    The sum is over the channels, or over the whole image with ``across_spatial``. The scale is
    ``<layer>.weight``, ``[C, 1, 1]``, or one number with ``channel_shared``.
    """
    if not layer.fields.has("norm_param"):
        message = f"{layer.text} has no norm_param, and forks of Caffe disagree on what it then computes"
        advice = "add norm_param { across_spatial: … channel_shared: … }, as SSD has it"
        raise layer.layer_error(message, advice=advice)
    fields = layer.fields.block("norm_param")
    start, epsilon = filler(fields, "scale_filler", ONE), fields.number("eps", 1e-10)
    if epsilon < 0:
        raise layer.layer_error(f"{layer.text} has eps {epsilon:g}", "eps", "it must not be negative", fields)
    rank = _rank(layer)
    axes = range(1, rank) if fields.flag("across_spatial", True) else [1]
    shape = [1] * (rank - 1)
    if not fields.flag("channel_shared", True):
        shape[0] = layer.shape()[0]
    value = layer.inputs[0]
    total = [FormulaStep("Mul", value), reduction(layer, "ReduceSum", axes, keepdims=True)]
    root = [*affine_steps(layer, 1.0, epsilon), FormulaStep("Sqrt")]
    # The Synopsys fork reads add_eps_before_sqrt only where it sums over whole images.
    if not fields.flag("add_eps_before_sqrt", True) and len(axes) > 1:
        root.reverse()
    norm = lead(layer, value, [*total, *root])
    return chain(
        layer, value, [FormulaStep("Div", norm), FormulaStep("Mul", layer.weight("weight", shape, start, blob=0))]
    )


def mvn(layer: Layer) -> ir.Value:
    """MVN: x less its mean, over (standard deviation + eps), per channel or, with ``across_channels``, per image."""
    fields = layer.fields.block("mvn_param")
    epsilon = fields.number("eps", 1e-9)
    if epsilon < 0:
        raise layer.layer_error(f"{layer.text} has eps {epsilon:g}", "eps", "it must not be negative", fields)
    rank = _rank(layer)
    axes = range(1 if fields.flag("across_channels", False) else 2, rank)
    if not axes:
        raise layer.layer_error(
            f"{layer.text} has one number per channel, its own mean", "across_channels", within=fields
        )
    mean = reduction(layer, "ReduceMean", axes, keepdims=True)
    value = layer.inputs[0]
    centre = lead(layer, value, [mean])
    if not fields.flag("normalize_variance", True):
        return layer.node("Sub", [value, centre])
    centred = layer.step("centred", "Sub", [value, centre])
    # Caffe adds eps to the standard deviation, the Synopsys fork on request to the variance.
    root = [FormulaStep("Sqrt"), *affine_steps(layer, 1.0, epsilon)]
    if fields.flag("add_eps_before_sqrt", False):
        root.reverse()
    deviation = lead(layer, centred, [FormulaStep("Mul", centred), mean, *root])
    return layer.node("Div", [centred, deviation])


def _within_channel(layer: Layer, fields: Fields, size: int, alpha: float, beta: float) -> ir.Value:
    """Emit LRN over size x size neighbourhoods; Caffe has 1 in place of k here."""
    if fields.number("k", 1.0) != 1:
        layer.site.report.note("LRN within channels takes 1 for k, whatever the file gives, as in Caffe")
    value, pad = layer.inputs[0], size // 2
    window: dict[str, Attribute] = {"kernel_shape": [size, size], "strides": [1, 1], "pads": [pad] * 4}
    # The padding counts, as in Caffe's own AVE pooling: every mean is over size x size numbers.
    mean = FormulaStep("AveragePool", attributes={**window, "count_include_pad": 1, "ceil_mode": 0})
    power = FormulaStep("Pow", layer.number("beta", beta))
    base = lead(layer, value, [FormulaStep("Mul", value), mean, *affine_steps(layer, alpha, 1.0), power])
    return layer.node("Div", [value, base])


def _rank(layer: Layer) -> int:
    """Return the number of axes, batch included; one that has nothing but a batch is refused."""
    if not layer.shape():
        raise layer.layer_error(f"{layer.text} needs an input with channels, found {layer.written()}")
    return len(layer.shape()) + 1


LAYERS = {"LRN": Translator(lrn), "Normalize": Translator(normalize), "MVN": Translator(mvn)}
