"""Layers of Caffe and its forks that Trunkline refuses, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

_CUT = "cut the network before it with --features"
_DETECTION = f"it belongs to a detector's head: {_CUT}"
_BATCH = f"it picks images out of the batch: {_CUT}"
_MEMORY = "recurrent networks are not supported: give the convolutional part only"

_ROUNDED = "Ristretto rounds its numbers to few bits: write {} to read the float net"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("DetectionOutput", "PriorBox", "Proposal"), _DETECTION),
    **dict.fromkeys(("PSROIPooling", "ROIAlign", "ROIPooling"), _DETECTION),
    **dict.fromkeys(("Region", "RegionOutput", "YoloDetectionOutput", "Yolov3DetectionOutput"), _DETECTION),
    **dict.fromkeys(("BatchReindex", "Filter"), _BATCH),
    **dict.fromkeys(("LSTM", "LSTMUnit", "RNN", "Recurrent"), _MEMORY),
    "BatchRenorm": "it trains by another rule than BatchNorm: write BatchNorm and Scale if that is what you want",
    "Embed": "it looks words up, but the input must be an image",
    "GELU": "forks of Caffe disagree on its formula: write it with Power, TanH or Sigmoid, and Eltwise",
    "Im2col": "it copies windows side by side for a product that Convolution does itself: use Convolution",
    "Parameter": "a blob that does not depend on the image is not supported: use Scale or Bias with own weights",
    "ConvolutionRistretto": _ROUNDED.format("Convolution"),
    "DeconvolutionRistretto": _ROUNDED.format("Deconvolution"),
    "FcRistretto": _ROUNDED.format("InnerProduct"),
    "LRNRistretto": _ROUNDED.format("LRN"),
    "MirrorPad": "the Synopsys fork pads with what lies at the border, mirrored: Pad and Padding add a constant",
    "Python": "its code is not in the file: replace it by layers of Caffe",
    "SPP": "write the Pooling, Flatten and Concat layers that it stands for",
    "Threshold": f"no gradient passes it: {_CUT}, or use Sigmoid",
}
"""Layer type → advice."""
