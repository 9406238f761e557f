"""Convolution, its depthwise fork, and Deconvolution: windows that are multiplied, or scattered."""

from __future__ import annotations

import numpy as np

from caffe_reference.net import Layer, Param, Senseless
from caffe_reference.sides import sides

DEPTHWISE = ("ConvolutionDepthwise", "DepthwiseConvolution")


def _pair(p: Param, name: str, short: str, default: int) -> tuple[int, int]:
    """``name`` once, or twice as height and width, or ``short_h`` and ``short_w``."""
    if p.has(f"{short}_h"):
        return p.one(f"{short}_h", 0), p.one(f"{short}_w", 0)
    sizes = p.many(name) or [default]
    return sizes[0], sizes[-1]


def geometry(layer: Layer) -> tuple[Param, tuple, tuple, tuple]:
    """The settings, then kernel, stride and dilation as (height, width)."""
    p = layer.param("convolution_param")
    dilation = _pair(p, "dilation", "dilation", 1)
    if p.has("hole") or p.has("hole_h"):  # DeepLab's name, from before Caffe had dilation
        dilation = _pair(p, "hole", "hole", 1)
    return p, _pair(p, "kernel_size", "kernel", 0), _pair(p, "stride", "stride", 1), dilation


def _groups(layer: Layer, channels: int) -> tuple[int, int]:
    p = layer.param("convolution_param")
    """Number of outputs, and of groups."""
    if layer.type in DEPTHWISE:
        return channels, channels
    return p.one("num_output", 0), p.one("group", 1)


def convolve(layer, bottoms, weights):
    """Each window times each kernel, group by group."""
    p, kernel, stride, dilation = geometry(layer)
    tops = []
    for x in bottoms:
        n, c, h, w = x.shape
        outputs, group = _groups(layer, c)
        extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        (above, below), (left_of, right_of) = sides(p, (h, w), kernel, stride, dilation)
        full = (h + above + below, w + left_of + right_of)
        sizes = [(f - e) // t + 1 for f, e, t in zip(full, extent, stride, strict=True)]
        if min(sizes) < 1:
            raise Senseless("the kernel is larger than its padded input")
        padded = np.zeros((n, c, *full))
        padded[:, :, above : above + h, left_of : left_of + w] = x
        kernels = weights["weight"].reshape(group, outputs // group, c // group, *kernel)
        y = np.zeros((n, outputs, *sizes))
        for i in range(sizes[0]):
            for j in range(sizes[1]):
                top, left = i * stride[0], j * stride[1]
                cells = padded[:, :, top : top + extent[0] : dilation[0], left : left + extent[1] : dilation[1]]
                cells = cells.reshape(n, group, c // group, *kernel)
                y[:, :, i, j] = np.einsum("ngcij,gocij->ngo", cells, kernels).reshape(n, outputs)
        tops.append(y + weights["bias"].reshape(1, -1, 1, 1) if "bias" in weights else y)
    return tops


def deconvolve(layer, bottoms, weights):
    """Each number times its kernel, added up where the kernels overlap; then the padding is cut off."""
    p, kernel, stride, dilation = geometry(layer)
    tops = []
    for x in bottoms:
        n, c, h, w = x.shape
        outputs, group = _groups(layer, c)
        extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        full = [t * (s - 1) + e for s, t, e in zip((h, w), stride, extent, strict=True)]
        if p.has("pad_type"):
            raise Senseless("only an input can be padded to SAME")
        ends = sides(p, (h, w), kernel, stride)
        sizes = [f - sum(q) for f, q in zip(full, ends, strict=True)]
        if min(sizes) < 1:
            raise Senseless("the padding is larger than the output")
        kernels = weights["weight"].reshape(group, c // group, outputs // group, *kernel)
        y = np.zeros((n, outputs, *full))
        for i in range(h):
            for j in range(w):
                cells = x[:, :, i, j].reshape(n, group, c // group)
                patch = np.einsum("ngc,gcokl->ngokl", cells, kernels).reshape(n, outputs, *kernel)
                top, left = i * stride[0], j * stride[1]
                y[:, :, top : top + extent[0] : dilation[0], left : left + extent[1] : dilation[1]] += patch
        y = y[:, :, ends[0][0] : ends[0][0] + sizes[0], ends[1][0] : ends[1][0] + sizes[1]]
        tops.append(y + weights["bias"].reshape(1, -1, 1, 1) if "bias" in weights else y)
    return tops


def _blobs(layer, shapes):
    p, kernel, *_ = geometry(layer)
    channels = shapes[0][1]
    outputs, group = _groups(layer, channels)
    if channels % group or outputs % group:
        raise Senseless("the groups do not divide the channels")
    # Caffe's Deconvolution is a convolution run backwards: its kernels are stored from the other side.
    first, second = (channels, outputs) if layer.type == "Deconvolution" else (outputs, channels)
    blobs = {"weight": (first, second // group, *kernel)}
    return {**blobs, "bias": (outputs,)} if p.one("bias_term", True) else blobs


FORWARD = {"Convolution": convolve, **dict.fromkeys(DEPTHWISE, convolve), "Deconvolution": deconvolve}
BLOBS = dict.fromkeys(FORWARD, _blobs)
