"""The sliding window of convolution and pooling: kernel, strides, and ONNX's several ways to pad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.graph import attribute
from trunkline.twins.op import unsupported_setting
from trunkline.twins.ops.common.static_inputs import rank_of


@dataclass(frozen=True, slots=True)
class Window:
    """A window over the spatial axes, outermost axis first.

    Attributes:
        begins: Padding before the first pixel of each axis; unused under ``SAME_*``.
        ends: Padding after the last pixel of each axis.
        auto_pad: ``NOTSET``, ``VALID``, ``SAME_UPPER`` or ``SAME_LOWER``.
        ceil_mode: Whether a last, incomplete window counts.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: bool = False

    @classmethod
    def of(cls, node: ir.Node, kernel: Sequence[int]) -> Window:
        """Read the window of a Conv, ConvTranspose or pooling node."""
        rank = len(kernel)
        auto_pad = attribute(node, "auto_pad", "NOTSET")
        no_pads = [0] * 2 * rank
        # ONNX: pads only count where auto_pad is NOTSET, though files may hold both.
        pads = attribute(node, "pads", no_pads) if auto_pad == "NOTSET" else no_pads
        return cls(
            kernel=tuple(kernel),
            strides=tuple(attribute(node, "strides", [1] * rank)),
            dilations=tuple(attribute(node, "dilations", [1] * rank)),
            begins=tuple(pads[:rank]),
            ends=tuple(pads[rank:]),
            auto_pad=auto_pad,
            ceil_mode=bool(attribute(node, "ceil_mode", 0)),
        )

    @classmethod
    def of_pooling(cls, node: ir.Node) -> Window:
        """Read the window of a pooling node.

        Raises:
            UnsupportedOp: The window's rank is not the image's, or padding is as wide as the window, so that
                a window could see nothing else.
        """
        kernel = attribute(node, "kernel_shape")
        if rank_of(node) != len(kernel) + 2:
            raise unsupported_setting(node, f"a window over {len(kernel)} of {rank_of(node) - 2} spatial axes")
        window = cls.of(node, kernel)
        both_sides = zip(window.begins + window.ends, window.extents * 2, strict=True)
        if any(pad >= extent for pad, extent in both_sides):
            advice = "pad the image before pooling, or widen the window"
            raise unsupported_setting(node, "padding as wide as its window", advice)
        return window

    @property
    def extents(self) -> tuple[int, ...]:
        """Pixels from the first to the last tap of the window."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def is_symmetric(self) -> bool:
        """Whether both sides of every axis are padded by the same number, whatever the image size."""
        return self.begins == self.ends and not self.auto_pad.startswith("SAME")

    def padding(self, sizes: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the padding before and after each axis for an image of these sizes."""
        if not self.auto_pad.startswith("SAME"):
            return list(self.begins), list(self.ends)
        # ONNX: under SAME_* the output has ceil(size / stride) pixels, and padding is what that lacks.
        totals = [
            max(0, (-(-size // stride) - 1) * stride + extent - size)
            for size, stride, extent in zip(sizes, self.strides, self.extents, strict=True)
        ]
        return split_padding(totals, self.auto_pad)

    def overhang(self, sizes: Sequence[int], begins: Sequence[int], ends: Sequence[int]) -> list[int]:
        """Return the pixels that ``ceil_mode`` windows need beyond the padded image, per axis.

        A window that would start inside the end padding is not counted, as onnxruntime and torch have it.
        """
        if not self.ceil_mode:
            return [0] * len(self.kernel)
        missing = []
        for axis, size in enumerate(sizes):
            stride, extent = self.strides[axis], self.extents[axis]
            padded = begins[axis] + size + ends[axis]
            last = -(-(padded - extent) // stride) * stride
            if last >= size + begins[axis]:
                last -= stride
            missing.append(max(0, last + extent - padded))
        return missing


def split_padding(totals: Sequence[int], auto_pad: str) -> tuple[list[int], list[int]]:
    """Divide each axis' padding between its two sides; an odd pixel goes behind under ``SAME_UPPER``, else before."""
    halves = [total // 2 for total in totals]
    rests = [total - half for total, half in zip(totals, halves, strict=True)]
    return (halves, rests) if auto_pad == "SAME_UPPER" else (rests, halves)


def torch_pads(begins: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Order padding as ``torch.nn.functional.pad`` wants it: last axis first, before and after in turn."""
    return [pad for pair in zip(reversed(begins), reversed(ends), strict=True) for pad in pair]
