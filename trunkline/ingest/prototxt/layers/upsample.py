"""Upsample and Unpooling: repetition, or a max pooling undone with its mask.

A Caffe mask holds, for every pooled number, the position of its maximum in the plane that was pooled, counted
row by row. ONNX's MaxPool gives the same positions counted over the whole tensor, and MaxUnpool takes them so;
the two always go together here, so the difference never shows.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import attribute, shape_of
from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.layers.pairs import Pair, pair
from trunkline.ingest.prototxt.layers.spatial import window
from trunkline.ingest.prototxt.text.fields import Fields

_MASK_ADVICE = 'give it the second top of a Pooling layer: bottom: "pool1_mask"'


def upsample(layer: Layer) -> ir.Value:
    """Upsample → MaxUnpool where it has a mask (SegNet), else Resize by repetition (YOLO)."""
    fields = layer.fields.block("upsample_param")
    _refuse_mask_alone(layer)
    if len(layer.inputs) == 1:
        return _repeat(layer, fields)
    return _unpool(layer, fields, _segnet_size(layer, fields))


def unpooling(layer: Layer) -> ir.Value:
    """Unpooling of DeconvNet → MaxUnpool. With a mask, its window has no influence; its size must be given.

    Another fork repeats the ``pooling_param`` of the pooling; the size is then what that pooling read.
    """
    _refuse_mask_alone(layer)
    if layer.fields.has("pooling_param") and len(layer.inputs) == 2:
        return _undo(layer, layer.fields.block("pooling_param"))
    fields = layer.fields.block("unpooling_param")
    if fields.choice("unpool", ("MAX", "AVE", "TILE"), "MAX") != "MAX" or len(layer.inputs) == 1:
        raise layer.layer_error(f"{layer.text} must be MAX and have a mask", "unpool", _MASK_ADVICE, fields)
    fields.ignore("kernel_size", "kernel_h", "kernel_w", "stride", "stride_h", "stride_w")
    if pair(layer, fields, "pad", ("pad_h", "pad_w"), default=0) != (0, 0):
        raise layer.layer_error(f"{layer.text} is padded, which is not defined", "pad", "remove pad", fields)
    size = pair(layer, fields, "unpool_size", ("unpool_h", "unpool_w"), default=0)
    if min(size) < 1:
        raise layer.missing_field_error(fields, "unpool_size", "add the height and width of its result")
    return _unpool(layer, fields, size)


def _refuse_mask_alone(layer: Layer) -> None:
    if layer.inputs[0].dtype != ir.DataType.FLOAT:
        raise layer.layer_error(f"{layer.text}: its first bottom is a mask", "bottom", "give the features first")


def _repeat(layer: Layer, fields: Fields) -> ir.Value:
    layer.image()
    # Beside a stride, the factor in Darknet, scale multiplies the numbers; without one, scale is the factor.
    name = "stride" if fields.has("stride") else "scale"
    for other in ("upsample_h", "upsample_w", "pad_out_h", "pad_out_w"):
        if fields.has(other) and fields.string(other) not in ("0", "false"):  # these are SegNet's, for masks
            message = f"{layer.text} without a mask repeats by a whole factor, but has {other}"
            raise layer.layer_error(message, other, "use scale, or add the mask", fields)
    factors = pair(layer, fields, name, ("scale_h", "scale_w"), default=0)
    if min(factors) < 1:
        raise layer.missing_field_error(fields, "scale", "add the factor it enlarges by")
    if name == "stride" and fields.number("scale", 1.0) != 1:
        raise layer.layer_error(f"{layer.text} multiplies by its scale", "scale", "use a Power layer for that", fields)
    scales = layer.constant("scales", np.array([1, 1, *factors], np.float32))
    settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return layer.node("Resize", [layer.inputs[0], None, scales], settings)


def _segnet_size(layer: Layer, fields: Fields) -> Pair:
    """Return ``upsample_h`` x ``upsample_w``, or the input times ``scale``, less one where ``pad_out`` is set."""
    _, height, width = layer.image()
    scale = pair(layer, fields, "scale", ("scale_h", "scale_w"), default=2)
    less = fields.flag("pad_out_h", False), fields.flag("pad_out_w", False)
    given = fields.integer("upsample_h", 0), fields.integer("upsample_w", 0)
    if min(given) > 0:
        return given
    if max(given) > 0:
        raise layer.layer_error(f"{layer.text} gives only one of upsample_h and upsample_w", within=fields)
    # pad_out undoes a pooling of an odd size, one row or column less; SegNet has it for factor 2 alone, too.
    for name, pad, factor in zip(("pad_out_h", "pad_out_w"), less, scale, strict=True):
        if pad and factor != 2:
            raise layer.layer_error(
                f"{layer.text} has {name} and scale {factor}", name, "it goes with scale: 2", fields
            )
    return height * scale[0] - int(less[0]), width * scale[1] - int(less[1])


def _unpool(layer: Layer, fields: Fields, size: Pair) -> ir.Value:
    """Put every number back where its maximum was; a taller result gets rows of zeros below, as in Caffe."""
    pool = _pooling_of(layer)
    read = pool.inputs[0]
    assert read is not None
    height, width = (shape_of(read)[axis] or 1 for axis in (2, 3))
    # A mask counts row by row, so another width would put the numbers elsewhere; more rows only add zeros.
    if size[1] != width or size[0] < height:
        message = f"{layer.text} makes {size[0]} x {size[1]} of a mask that points into {height} x {width}"
        raise layer.layer_error(message, advice=f"upsample_h: {height} upsample_w: {width}", within=fields)
    settings = _window(pool, layer.image()[1:], (height, width))
    if size[0] == height:
        return layer.node("MaxUnpool", layer.inputs, settings)
    value = layer.step("unpool", "MaxUnpool", layer.inputs, settings)
    pads = layer.constant("pads", np.array([0, 0, 0, 0, 0, 0, size[0] - height, 0], np.int64))
    return layer.node("Pad", [value, pads], {"mode": "constant"})


def _undo(layer: Layer, fields: Fields) -> ir.Value:
    """Undo the pooling that made the mask, whose window the layer repeats."""
    pool = _pooling_of(layer)
    given = window(layer, fields)
    begin = tuple(attribute(pool, "pads"))[:2]  # what is added at the end depends on the rounding, not on the file
    same_kernel = given.kernel == tuple(attribute(pool, "kernel_shape"))
    same_stride = given.stride == tuple(attribute(pool, "strides"))
    is_same = same_kernel and same_stride and given.padding.begin == begin
    if fields.choice("pool", ("MAX", "AVE"), "MAX") != "MAX" or not is_same:
        message = f"{layer.text} gives another window than the pooling that made its mask"
        raise layer.layer_error(message, advice="repeat kernel_size, stride and pad of the pooling", within=fields)
    read = pool.inputs[0]
    assert read is not None
    return _unpool(layer, fields, (shape_of(read)[2] or 1, shape_of(read)[3] or 1))


def _pooling_of(layer: Layer) -> ir.Node:
    pool = layer.inputs[1].producer()
    if pool is None or pool.op_type != "MaxPool" or layer.inputs[1].index() != 1:
        raise layer.layer_error(f"{layer.text}: its second bottom is no mask of a max pooling", "bottom", _MASK_ADVICE)
    if layer.shape(0) != layer.shape(1):
        message = f"{layer.text}: its input is {layer.written(0)}, but its mask {layer.written(1)}"
        raise layer.layer_error(message, "bottom", "both must have the size of the pooling's result")
    return pool


def _window(pool: ir.Node, pooled: Pair, size: Pair) -> dict[str, tuple[int, ...]]:
    """Return the window that makes MaxUnpool's result ``size``, whatever the batch.

    The window has no other meaning: values go to the places in the mask. The pooling's own stride is kept where a
    window of at least 1 fits it; a pooling that enlarged its padded input is undone by cutting both ends.
    """
    strides = tuple(attribute(pool, "strides"))
    kernel = _kernel(pooled, size, strides)
    if min(kernel) < 1:
        strides = (1, 1)
        kernel = _kernel(pooled, size, strides)
    # Pads of MaxUnpool cut its result, so a wider window with pads gives the same size.
    cut = tuple(max(0, 1 - width) for width in kernel)
    kernel = tuple(width + 2 * less for width, less in zip(kernel, cut, strict=True))
    return {"kernel_shape": kernel, "strides": strides, "pads": (*cut, *cut)}


def _kernel(pooled: Pair, size: Pair, strides: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(total - (count - 1) * step for total, count, step in zip(size, pooled, strides, strict=True))


LAYERS = {
    "Upsample": Translator(upsample, bottoms=(1, 2), reads_masks=True),
    "Unpooling": Translator(unpooling, bottoms=(1, 2), reads_masks=True),
}
