"""Which program a file was written for: Caffe, or the fork of its schema that AutoMTL reads.

The two write the same words for different networks. In Caffe a BatchNorm only normalises, its scale and shift
being a Scale layer, and pooling rounds up; in AutoMTL's fork (``proto/pytorch.proto`` of its release) a
BatchNorm has its own scale and shift, and pooling rounds down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trunkline.ingest.prototxt.network.net import LayerText
from trunkline.ingest.prototxt.text.fields import Fields
from trunkline.ingest.prototxt.text.report import FileReport

FORK_FIELDS = ("track_running_stats", "affine", "momentum")
_CAFFE_FIELDS = ("use_global_stats", "moving_average_fraction", "scale_bias", "scale_filler", "bias_filler")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the two dialects disagree on.

    Attributes:
        name: The program that the file was written for.
        affine_batch_norm: Whether a BatchNorm has a scale and a shift of its own unless it gives ``affine: false``.
        pooling_rounds_up: Whether a pooling that does not give its rounding rounds up.
    """

    name: str
    affine_batch_norm: bool
    pooling_rounds_up: bool


CAFFE = Dialect("Caffe", affine_batch_norm=False, pooling_rounds_up=True)
AUTOMTL = Dialect("AutoMTL", affine_batch_norm=True, pooling_rounds_up=False)


def detect(layers: Sequence[LayerText], report: FileReport) -> Dialect:
    """Return the dialect of a file, seen from its BatchNorm layers; AutoMTL's is noted.

    1. A field of the fork decides.
    2. Without one, a file with BatchNorm layers but neither a Scale layer nor a field that only Caffe has can only
       mean affine normalisation, so it is AutoMTL's.
    3. Any other file is Caffe's.
    """
    batch_norms = [layer for layer in layers if layer.type == "BatchNorm"]
    norms = [layer.fields.block("batch_norm_param") for layer in batch_norms]
    fork = _given(norms, FORK_FIELDS)
    caffe = bool(_given(norms, _CAFFE_FIELDS))
    # Files for Caffe give a BatchNorm param blocks with lr_mult 0, so that the solver leaves the statistics alone.
    caffe = caffe or any(layer.fields.has("param") for layer in batch_norms)
    scaled = any(layer.type == "Scale" for layer in layers)
    if not fork and (not norms or caffe or scaled):  # rule 3
        return CAFFE
    reason = f"BatchNorm has {fork[0]}" if fork else "BatchNorm without any Scale layer"
    report.note(f"AutoMTL dialect ({reason}): BatchNorm has its own scale and shift, pooling rounds down by default")
    return AUTOMTL


def _given(norms: Sequence[Fields], names: Sequence[str]) -> list[str]:
    """Return those of the fields that any BatchNorm has."""
    return [name for name in names if any(norm.has(name) for norm in norms)]
