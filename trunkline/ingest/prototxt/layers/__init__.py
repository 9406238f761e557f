"""The translators, one file a family. ``TRANSLATORS`` maps a layer type to what emits its nodes."""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.ingest.prototxt.layers import (
    activation,
    affine,
    arithmetic,
    auto_crop,
    convolution,
    crop,
    dense,
    fork_norm,
    interp,
    join,
    normalisation,
    pad,
    pooling,
    rearrange,
    reduction,
    response,
    tensorflow_resize,
    upsample,
)
from trunkline.ingest.prototxt.layers.layer import Translator
from trunkline.ingest.prototxt.layers.refused import REFUSED

TRANSLATORS: dict[str, Translator] = {
    **activation.LAYERS,
    **affine.LAYERS,
    **arithmetic.LAYERS,
    **auto_crop.LAYERS,
    **convolution.LAYERS,
    **crop.LAYERS,
    **dense.LAYERS,
    **fork_norm.LAYERS,
    **interp.LAYERS,
    **join.LAYERS,
    **normalisation.LAYERS,
    **pad.LAYERS,
    **pooling.LAYERS,
    **rearrange.LAYERS,
    **reduction.LAYERS,
    **response.LAYERS,
    **tensorflow_resize.LAYERS,
    **upsample.LAYERS,
}

_MEASURES, _WRITES = "it measures a result", "it only passes a result on"

# Types that end in Loss or Accuracy are dropped whatever their name; those listed here are in docs/prototxt.md too.
DROPPED: Mapping[str, str] = {
    **dict.fromkeys(("Accuracy", "DetectionEvaluate", "SegAccuracy"), _MEASURES),
    **dict.fromkeys(("CenterLoss", "ContrastiveLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss"), _MEASURES),
    **dict.fromkeys(("MultiBoxLoss", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss"), _MEASURES),
    **dict.fromkeys(("SmoothL1Loss", "SoftmaxWithLoss"), _MEASURES),
    **dict.fromkeys(("HDF5Output", "MatWrite", "Silence"), _WRITES),
    "ArgMax": "it turns scores into class numbers, which no gradient passes; the scores are the output",
}
"""Layers that measure, discard or round a result, with the reason; the deployed network ends before them."""

__all__ = ["DROPPED", "REFUSED", "TRANSLATORS", "Translator"]
