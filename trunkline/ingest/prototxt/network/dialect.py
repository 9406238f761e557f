"""Which program a file was written for: Caffe, or the fork of its schema that AutoMTL reads.

The two write the same words for different networks. In Caffe a BatchNorm only normalises, its scale and shift
being a Scale layer, and pooling rounds up; in AutoMTL's fork (``proto/pytorch.proto`` of its release) a
BatchNorm has its own scale and shift, and pooling rounds down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trunkline.ingest.prototxt.network.net import LayerText
from trunkline.ingest.prototxt.text.report import FileReport

FORK_FIELDS = ("track_running_stats", "affine", "momentum")
_CAFFE_FIELDS = ("use_global_stats", "moving_average_fraction", "scale_bias", "scale_filler", "bias_filler")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the two dialects disagree on."""

    name: str
    affine_batch_norm: bool
    pooling_rounds_up: bool


CAFFE = Dialect("Caffe", affine_batch_norm=False, pooling_rounds_up=True)
AUTOMTL = Dialect("AutoMTL", affine_batch_norm=True, pooling_rounds_up=False)


def detect(layers: Sequence[LayerText], report: FileReport) -> Dialect:
    """Tell the dialect of a file from its BatchNorm layers, and note the AutoMTL one.

    A field of the fork decides. Without one, a file with BatchNorm layers but neither a Scale layer nor a
    Caffe-only field can only mean affine normalisation. ``param`` blocks in a BatchNorm are Caffe's too: they
    keep its solver from the statistics.
    """
    batch_norms = [layer for layer in layers if layer.type == "BatchNorm"]
    norms = [layer.fields.block("batch_norm_param") for layer in batch_norms]
    fork = [name for name in FORK_FIELDS if any(norm.has(name) for norm in norms)]
    caffe = any(norm.has(name) for norm in norms for name in _CAFFE_FIELDS)
    caffe = caffe or any(layer.fields.has("param") for layer in batch_norms)
    scaled = any(layer.type == "Scale" for layer in layers)
    if not fork and (not norms or caffe or scaled):
        return CAFFE
    reason = f"BatchNorm has {fork[0]}" if fork else "BatchNorm without any Scale layer"
    report.note(f"AutoMTL dialect ({reason}): BatchNorm has its own scale and shift, pooling rounds down by default")
    return AUTOMTL
