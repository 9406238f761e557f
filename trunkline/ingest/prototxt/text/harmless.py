"""Fields that cannot change what a trained network computes, with the reason. They may stand in any block.

A field in neither this list nor a translator's own is an error, because it might.
"""

from __future__ import annotations

from collections.abc import Mapping

_DEVICE = "how the original program spreads the work over its device"
_RATE = "how fast a weight moved when the file was trained"
_GRADIENT = "which gradients the original program computes"
_REPORT = "what the original program prints"
_SHARING = "how strictly shapes of shared weights are compared; here always strictly"

HARMLESS: Mapping[str, str] = {
    "backward_math": _DEVICE,
    "backward_type": _DEVICE,
    "blob_share_mode": _SHARING,
    "blobs_lr": _RATE,
    "conv_algos_override": _DEVICE,
    "debug_info": _REPORT,
    "dis_mode": _GRADIENT,
    "decay_mult": _RATE,
    "bn_stats_batch_size": "over how many images the original program collects statistics",
    "default_backward_math": _DEVICE,
    "default_backward_type": _DEVICE,
    "default_conv_algos_override": _DEVICE,
    "default_cudnn_math_override": _DEVICE,
    "default_forward_math": _DEVICE,
    "default_forward_type": _DEVICE,
    "engine": _DEVICE,
    "force_backward": _GRADIENT,
    "force_nd_im2col": _DEVICE,
    "forward_math": _DEVICE,
    "forward_type": _DEVICE,
    "gen_mode": _GRADIENT,
    "global_grad_scale": _GRADIENT,
    "global_grad_scale_adaptive": _GRADIENT,
    "inplace": "whether a result overwrites its input",
    "loss_param": "which labels a loss leaves out",
    "loss_weight": "how much a loss counts",
    "lr_mult": _RATE,
    "mem_param": "how the original program saves memory",
    "phase": "the phase the whole file is for; the include and exclude rules of layers decide",
    "propagate_down": _GRADIENT,
    "share_mode": _SHARING,
    "stable_prod_grad": _GRADIENT,
    "strict_dim": "whether images of one batch may differ in size",
    "visualize": _REPORT,
    "weight_decay": _RATE,
    "weight_fixed": _GRADIENT,
}

_PREFIXES = ("cudnn_",)


def is_harmless(name: str) -> bool:
    """Whether a field of this name may be left unread."""
    return name in HARMLESS or name.startswith(_PREFIXES)
