"""Fields and words of Caffe's forks that are not read, with what they mean there.

The error for one gives this meaning instead of a guess. The layer types of forks are in ``layers/refused.py``. Sources:
the schema of the Synopsys fork (``src/caffe/proto/caffe.proto`` of synopsys-caffe) with its layers, and that of C3D.
"""

from __future__ import annotations

from collections.abc import Mapping

_WHOLE_NUMBERS = "it computes with rounded whole numbers in the Synopsys fork: give the float net"
_VOLUME = "it is the third axis of a volume or video, and only images are supported"

FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("input_scale", "output_scale", "weight_scale", "bias_scale"), _WHOLE_NUMBERS),
    **dict.fromkeys(("input_zero_point", "output_zero_point", "weight_zero_point", "bias_zero_point"), _WHOLE_NUMBERS),
    **dict.fromkeys(("per_channel_scale_weight", "quantize_method", "saturate", "signed_saturate"), _WHOLE_NUMBERS),
    **dict.fromkeys(("kernel_d", "stride_d", "pad_d", "kernel_depth", "stride_depth", "pad_depth"), _VOLUME),
    **dict.fromkeys(("temporal_stride", "temporal_pad", "output_depth", "scale_depth"), _VOLUME),
    "full_zoom_factor": "the Synopsys fork zooms to size x factor by it, where zoom_factor keeps the corners",
    "output_shift_instead_division": "the Synopsys fork shifts the sum of a window instead of dividing it",
    "pixelshuffler": "the Synopsys fork moves channels into height and width by it: write Reshape and Permute",
}
"""Field → its meaning, as advice."""

WORDS: Mapping[str, str] = {
    "DIV": "the Synopsys fork divides by it: PROD with a Power layer of power: -1 says the same",
    "MIN": "the Synopsys fork takes the smaller number: -max(-a, -b) says the same, with Power layers and MAX",
}
"""Word of an enum → its meaning, as advice."""


def meaning_of(name: str) -> str:
    """Return what a fork means by a field or word that is not read, or an empty string."""
    return FIELDS.get(name) or WORDS.get(name) or ""
