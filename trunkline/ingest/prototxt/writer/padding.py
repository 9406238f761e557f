"""The padding of a window: Caffe's where both ends of an axis are equal, else the Synopsys fork's four sides."""

from __future__ import annotations

from trunkline.ingest.prototxt.layers.padding_of import SIDES
from trunkline.ingest.prototxt.writer.emitter import Emitter
from trunkline.ingest.prototxt.writer.net import Setting

Pads = tuple[int, int, int, int]
"""Rows above, columns on the left, rows below, columns on the right."""


def is_symmetric(pads: Pads) -> bool:
    """Whether both ends of each axis are padded equally, which Caffe itself can write."""
    return pads[:2] == pads[2:]


def pad_settings(to: Emitter, pads: Pads) -> dict[str, Setting]:
    """Return the fields of a padding, with a note where only a fork has them."""
    if not is_symmetric(pads):
        to.note("pad_l, pad_r, pad_t and pad_b were written, which the Synopsys fork of Caffe has")
        return dict(zip(SIDES, pads, strict=True))
    if pads[0] != pads[1]:
        return {"pad_h": pads[0], "pad_w": pads[1]}
    return {"pad": pads[0]} if pads[0] else {}
