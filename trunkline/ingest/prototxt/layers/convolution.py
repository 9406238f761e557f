"""Convolution and Deconvolution, with their depthwise spellings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from trunkline.ingest.prototxt.layers.initial import MSRA, ZERO, bilinear, filler, is_bilinear
from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.layers.spatial import CaffeWindow, refuse_large, window
from trunkline.ingest.prototxt.text.fields import Fields


def convolution(layer: Layer) -> ir.Value:
    """Convolution → Conv; weight ``[num_output, C / group, kh, kw]``."""
    fields = layer.fields.block("convolution_param")
    channels, count = layer.image()[0], num_output(layer, fields)
    group = _group(layer, fields, channels, count)
    shape = window(layer, fields)
    refuse_large(layer, shape)
    weight = _weight(layer, fields, (count, channels // group, *shape.kernel))
    return layer.node("Conv", [layer.inputs[0], weight, *_bias(layer, fields, count)], _attributes(shape, group))


def depthwise(layer: Layer) -> ir.Value:
    """DepthwiseConvolution of several forks: a Convolution whose group is the channel count.

    The fork that writes ConvolutionDepthwise gives every channel one filter; the others give it one or more.
    """
    fields = layer.fields.block("convolution_param")
    channels, count = layer.image()[0], num_output(layer, fields)
    one_filter_each = layer.text.type == "ConvolutionDepthwise"
    fits = count == channels if one_filter_each else count % channels == 0
    if not fits:
        message = f"{layer.text}: num_output {count} does not go with {channels} channels"
        raise layer.layer_error(message, "num_output", "it must be the number of channels", fields)
    if fields.integer("group", channels, minimum=1) != channels:
        message = f"{layer.text} has group {fields.string('group')} and {channels} channels"
        raise layer.layer_error(message, "group", "a depthwise layer has one group a channel: remove group", fields)
    shape = window(layer, fields)
    _refuse_unusual(layer, fields)
    refuse_large(layer, shape)
    weight = _weight(layer, fields, (count, 1, *shape.kernel))
    return layer.node("Conv", [layer.inputs[0], weight, *_bias(layer, fields, count)], _attributes(shape, channels))


def deconvolution(layer: Layer) -> ir.Value:
    """Deconvolution → ConvTranspose; weight ``[C, num_output / group, kh, kw]``."""
    fields = layer.fields.block("convolution_param")
    channels, count = layer.image()[0], num_output(layer, fields)
    group = _group(layer, fields, channels, count)
    shape = window(layer, fields)
    weight = _weight(layer, fields, (channels, count // group, *shape.kernel))
    if shape.padding.is_same:
        raise layer.layer_error(
            f"{layer.text} has pad_type 1, which only says how to pad an input", "pad_type", within=fields
        )
    # Its output has stride · (n − 1) + extent − padding pixels, which must be one at least.
    axes = zip(layer.image()[1:], shape.extent, shape.padding.total, shape.stride, strict=True)
    if any(stride * (size - 1) + extent <= total for size, extent, total, stride in axes):
        raise layer.layer_error(f"{layer.text}: {shape.padding} leaves nothing of its output", "pad", within=fields)
    inputs = [layer.inputs[0], weight, *_bias(layer, fields, count)]
    return layer.node("ConvTranspose", inputs, _attributes(shape, group))


def num_output(layer: Layer, fields: Fields) -> int:
    """Return the required ``num_output``, at least 1."""
    if not fields.has("num_output"):
        raise layer.missing_field_error(fields, "num_output", "add the number of output channels")
    return fields.integer("num_output", 1, minimum=1)


def _group(layer: Layer, fields: Fields, channels: int, count: int) -> int:
    """Return the number of groups, which must divide the channels of input and output."""
    group = fields.integer("group", 1, minimum=1)
    _refuse_unusual(layer, fields)
    if channels % group:
        message = f"{layer.text}: {channels} input channels cannot be split into {group} groups"
        raise layer.layer_error(message, "group", within=fields)
    if count % group:
        message = f"{layer.text}: num_output {count} cannot be split into {group} groups"
        raise layer.layer_error(message, "num_output", "make it a multiple of group", fields)
    return group


def _refuse_unusual(layer: Layer, fields: Fields) -> None:
    fields.ignore("engine", "force_nd_im2col")  # they choose among implementations of one result
    if fields.integer("axis", 1, minimum=-8) not in (1, -3):
        raise layer.layer_error(f"{layer.text} must have its channels on axis 1", "axis", within=fields)


def _bias(layer: Layer, fields: Fields, count: int) -> Sequence[ir.Value]:
    start = filler(fields, "bias_filler", ZERO)  # read first: it may be left over beside bias_term: false
    if not fields.flag("bias_term", True):
        return []
    return [layer.weight("bias", (count,), start, blob=1)]


def _weight(layer: Layer, fields: Fields, shape: tuple[int, ...]) -> ir.Value:
    if not is_bilinear(fields):
        return layer.weight("weight", shape, filler(fields, "weight_filler", MSRA), blob=0)
    if shape[2] != shape[3]:
        raise layer.layer_error(
            f"{layer.text}: a bilinear filler needs a square kernel", "weight_filler", within=fields
        )
    builder = layer.site.builder
    # No kind of Filler describes these kernels, so the numbers themselves are stored.
    return layer.stored("weight", shape, lambda name: builder.tensor(name, bilinear(shape)), blob=0)


def _attributes(shape: CaffeWindow, group: int) -> Mapping[str, int | Sequence[int]]:
    return {
        "kernel_shape": shape.kernel,
        "strides": shape.stride,
        "pads": shape.padding.pads,
        "dilations": shape.dilation,
        "group": group,
    }


def _for_each(translate: Callable[[Layer], ir.Value]) -> Translator:
    """Return the translator of a layer that does the same to each of its bottoms, with one set of weights."""

    def translate_all(layer: Layer) -> Sequence[ir.Value]:
        if layer.top_count != len(layer.inputs):
            message = f"{layer.text} has {len(layer.inputs)} bottoms, but {layer.top_count} tops"
            raise layer.layer_error(message, "top", "give each bottom a top")
        return [translate(layer.part(index)) for index in range(layer.top_count)]

    return Translator(translate_all, bottoms=(1, None), tops=(1, None))


LAYERS = {
    "Convolution": _for_each(convolution),
    "ConvolutionDepthwise": _for_each(depthwise),
    "DepthwiseConv": _for_each(depthwise),
    "DepthwiseConvolution": _for_each(depthwise),
    "Deconvolution": _for_each(deconvolution),
}
