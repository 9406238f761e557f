"""Turn ``auto_pad`` and ``output_shape`` into padding by numbers, which depends on the image size.

Formulas: ONNX operator definitions of Conv, ConvTranspose and the poolings.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.graph.passes.editor import pop, put
from trunkline.text import quoted

_KINDS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def resolve_auto_pad(node: ir.Node) -> None:
    """Replace ``auto_pad`` (and ConvTranspose's ``output_shape``) of a window by ``pads``.

    Raises:
        InvalidModel: An unknown kind of padding, or an output shape out of reach.
    """
    kind = pop(node, "auto_pad", "NOTSET")
    if kind not in _KINDS:
        raise InvalidModel(f"auto_pad {quoted(str(kind))}; expected one of {', '.join(_KINDS)}", place=name_of(node))
    if node.op_type == "ConvTranspose" and (kind.startswith("SAME") or "output_shape" in node.attributes):
        # By ONNX's text, a given output shape overrules the pads.
        _resolve_transposed(node, kind)
    elif kind.startswith("SAME"):
        _set_pads(node, _same_totals(node), upper=kind == "SAME_UPPER")
    elif kind == "VALID" or "pads" not in node.attributes:
        put(node, "pads", [0] * 2 * len(_spatial(node)))


def _same_totals(node: ir.Node) -> list[int]:
    """Per axis: output ⌈in / stride⌉, so padding (out − 1)·stride + dilated kernel − in, not below 0."""
    totals = []
    for size, stride, kernel in zip(_spatial(node), attribute(node, "strides"), _dilated(node), strict=True):
        if stride < 1:
            raise InvalidModel(f"{node.op_type}: stride {stride}; at least 1 was expected", place=name_of(node))
        windows = -(-size // stride)
        totals.append(max(0, (windows - 1) * stride + kernel - size))
    return totals


def _resolve_transposed(node: ir.Node, kind: str) -> None:
    """Per axis: stride·(in − 1) + output padding + dilated kernel − out."""
    strides = attribute(node, "strides")
    extra = attribute(node, "output_padding") or [0] * len(strides)
    wanted = pop(node, "output_shape", [size * stride for size, stride in zip(_spatial(node), strides, strict=True)])
    # Of a whole shape, with batch and channels, only the spatial sizes count.
    spatial = list(wanted)[-len(strides) :]
    rows = zip(_spatial(node), strides, extra, _dilated(node), spatial, strict=True)
    totals = [stride * (size - 1) + more + kernel - out for size, stride, more, kernel, out in rows]
    # Where the windows do not reach the wanted size, the rest is output padding: pads must not be negative.
    put(node, "output_padding", [more + max(0, -total) for more, total in zip(extra, totals, strict=True)])
    _set_pads(node, [max(0, total) for total in totals], upper=kind == "SAME_UPPER")


def _set_pads(node: ir.Node, totals: list[int], *, upper: bool) -> None:
    """Halve the padding; of an odd number, SAME_UPPER has the larger half at the end, SAME_LOWER at the beginning."""
    begins = [total // 2 if upper else total - total // 2 for total in totals]
    put(node, "pads", begins + [total - begin for total, begin in zip(totals, begins, strict=True)])


def _spatial(node: ir.Node) -> list[int]:
    data = node.inputs[0]
    assert data is not None
    return [size or 0 for size in shape_of(data)[2:]]


def _dilated(node: ir.Node) -> list[int]:
    kernel = attribute(node, "kernel_shape")
    dilations = attribute(node, "dilations") or [1] * len(kernel)
    return [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
