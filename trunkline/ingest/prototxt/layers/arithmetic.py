"""Power, Exp, Log and Clip: functions of one number whose constants the file gives. None of them trains."""

from __future__ import annotations

import math

import onnx_ir as ir

from trunkline.ingest.prototxt.layers.formula import FormulaStep, affine_steps, chain
from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.text.fields import Fields


def power(layer: Layer) -> ir.Value:
    """Power: (shift + scale · x) ^ power → Mul, Add, Pow, each only where it changes something."""
    fields = layer.fields.block("power_param")
    exponent, scale, shift = fields.number("power", 1.0), fields.number("scale", 1.0), fields.number("shift", 0.0)
    if scale * exponent == 0:
        # Caffe then writes one number everywhere; 0 · x keeps the batch axis and the shape.
        return chain(layer, layer.inputs[0], affine_steps(layer, 0.0, _constant_power(layer, fields, shift, exponent)))
    steps = affine_steps(layer, scale, shift)
    if exponent != 1:
        steps.append(FormulaStep("Pow", layer.number("power", exponent)))
    return chain(layer, layer.inputs[0], steps)


def exp(layer: Layer) -> ir.Value:
    """Exp: base ^ (shift + scale · x) → Exp of a multiple of x, times base ^ shift; base -1 means e."""
    fields = layer.fields.block("exp_param")
    logarithm = _log_of_base(layer, fields)
    scale, shift = fields.number("scale", 1.0), fields.number("shift", 0.0)
    try:
        factor = math.exp(logarithm * shift)
    except OverflowError:
        raise layer.layer_error(
            f"{layer.text} overflows: base to the power of {shift:g}", "shift", within=fields
        ) from None
    # The shift becomes a factor: base ^ (shift + scale · x) = exp(ln base · scale · x) · base ^ shift.
    inner = affine_steps(layer, logarithm * scale, 0.0)
    outer = [] if factor == 1 else [FormulaStep("Mul", layer.number("factor", factor))]
    return chain(layer, layer.inputs[0], [*inner, FormulaStep("Exp"), *outer])


def log(layer: Layer) -> ir.Value:
    """Log: the logarithm of shift + scale · x to a base → Log over the base's logarithm; base -1 means e."""
    fields = layer.fields.block("log_param")
    logarithm = _log_of_base(layer, fields)
    if logarithm == 0:
        raise layer.layer_error(f"{layer.text} has base 1, to which there is no logarithm", "base", within=fields)
    steps = affine_steps(layer, fields.number("scale", 1.0), fields.number("shift", 0.0))
    outer = [] if logarithm == 1 else [FormulaStep("Mul", layer.number("factor", 1 / logarithm))]
    return chain(layer, layer.inputs[0], [*steps, FormulaStep("Log"), *outer])


def clip(layer: Layer) -> ir.Value:
    """Clip → Clip between ``min`` and ``max``, which have no defaults."""
    fields = layer.fields.block("clip_param")
    for name in ("min", "max"):
        if not fields.has(name):
            raise layer.missing_field_error(fields, name, "add the bound")
    low, high = fields.number("min", 0.0), fields.number("max", 0.0)
    if low > high:
        raise layer.layer_error(
            f"{layer.text} clips from {low:g} to {high:g}", "min", "min must not exceed max", fields
        )
    return layer.node("Clip", [layer.inputs[0], layer.number("min", low), layer.number("max", high)])


def _constant_power(layer: Layer, fields: Fields, shift: float, exponent: float) -> float:
    """Return shift ^ exponent, the one number that a Power layer without x writes."""
    try:
        return math.pow(shift, exponent)
    except (ValueError, OverflowError):
        message = f"{layer.text} computes {shift:g} to the power of {exponent:g}, which is no number"
        raise layer.layer_error(message, "power", within=fields) from None


def _log_of_base(layer: Layer, fields: Fields) -> float:
    """Return the natural logarithm of the layer's base."""
    base = fields.number("base", -1.0)
    if base == -1:  # the default in Caffe's schema
        return 1.0
    if base <= 0:
        raise layer.layer_error(f"{layer.text} has base {base:g}", "base", "it must be positive, or -1 for e", fields)
    return math.log(base)


LAYERS = {
    "Power": Translator(power),
    "Exp": Translator(exp),
    "Log": Translator(log),
    "Clip": Translator(clip),
}
