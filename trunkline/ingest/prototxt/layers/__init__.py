"""The translators, one file a family. ``TRANSLATORS`` maps a layer type to what emits its nodes."""

from __future__ import annotations

from trunkline.ingest.prototxt.layers import (
    activation,
    affine,
    convolution,
    dense,
    join,
    normalisation,
    pooling,
    rearrange,
)
from trunkline.ingest.prototxt.layers.layer import Translator

TRANSLATORS: dict[str, Translator] = {
    **activation.LAYERS,
    **affine.LAYERS,
    **convolution.LAYERS,
    **dense.LAYERS,
    **join.LAYERS,
    **normalisation.LAYERS,
    **pooling.LAYERS,
    **rearrange.LAYERS,
}

DROPPED = frozenset(
    {
        "Accuracy",
        "ContrastiveLoss",
        "EuclideanLoss",
        "HDF5Output",
        "HingeLoss",
        "InfogainLoss",
        "MultinomialLogisticLoss",
        "SigmoidCrossEntropyLoss",
        "Silence",
        "SmoothL1Loss",
        "SoftmaxWithLoss",
    }
)
"""Layers that measure or discard a result; the deployed network ends before them."""

__all__ = ["DROPPED", "TRANSLATORS", "Translator"]
