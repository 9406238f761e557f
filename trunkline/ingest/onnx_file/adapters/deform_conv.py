"""DeformConv (Dai et al. 2017, Eq. 2; with a mask, Zhu et al. 2019, Eq. 1), as GridSample and Conv.

All taps of a window are sampled side by side: a map of kH·H' by kW·W' pixels, one window after the other. A
convolution whose stride is its kernel then weighs them, so that the weights stay those of a convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.graph.passes.editor import Editor
from trunkline.ingest.onnx_file.adapters.decompose import become, sizes_of, step, store_ints, store_number
from trunkline.ingest.onnx_file.adapters.registry import since, unsupported_form
from trunkline.ingest.onnx_file.passes.explicit_attributes import LARGEST_WINDOW
from trunkline.text import shape_text

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Sizes of a deformable convolution; everything spatial is (rows, columns).

    Attributes:
        groups: The number of offset groups.
        channels: How many channels each offset group has.
        kernel: How many taps a window has.
        size: The size of the image.
        strides: The distance between windows, in pixels.
        dilations: The distance between the taps of a window, in pixels.
        pads: How far the first window starts before the first pixel.
        out: The number of windows.
    """

    groups: int
    channels: int
    kernel: Pair
    size: Pair
    strides: Pair
    dilations: Pair
    pads: Pair
    out: Pair

    @property
    def sampled(self) -> tuple[int, int]:
        """Rows and columns of the map of all taps."""
        return self.out[0] * self.kernel[0], self.out[1] * self.kernel[1]


@since(19, "DeformConv")
def deform_conv(node: ir.Node, editor: Editor) -> None:
    """Sample every offset group, multiply by the mask, and convolve."""
    plan = _plan(node)
    image, weight, offset, bias, mask = (*node.inputs, None, None)[:5]
    assert image is not None
    assert weight is not None
    assert offset is not None  # the plan has looked at all three
    grid = _grid(node, editor, plan, offset)
    scales = None if mask is None else _side_by_side(node, editor, plan, mask, ())
    group = attribute(node, "group", 1)
    parts = [_sampled(node, editor, plan, image, grid, scales, index) for index in range(plan.groups)]
    taps = parts[0] if len(parts) == 1 else step(node, editor, "Concat", parts, axis=1)
    inputs = [taps, weight, *([] if bias is None else [bias])]
    become(node, "Conv", inputs, kernel_shape=list(plan.kernel), strides=list(plan.kernel), group=group)


def _plan(node: ir.Node) -> _Plan:
    """Return the sizes of ``node``, having checked that its inputs fit them."""
    if any(value is None or value.shape is None for value in node.inputs[:3]) or len(node.inputs) < 3:
        raise InvalidModel("DeformConv: an image, a weight and offsets were expected", place=name_of(node))
    sizes, weight = sizes_of(node), node.inputs[1]
    assert weight is not None
    kernel = [size or 1 for size in shape_of(weight)[2:]]
    if len(sizes) != 4 or len(kernel) != 2:
        raise unsupported_form(node, f"{len(sizes) - 2} spatial axes", "two are supported")
    groups = attribute(node, "offset_group", 1)
    if groups < 1 or sizes[1] % groups:
        raise InvalidModel(f"DeformConv: {groups} offset groups do not divide {sizes[1]} channels", place=name_of(node))
    strides, dilations = _numbers(node, "strides", [1, 1]), _numbers(node, "dilations", [1, 1])
    pads = _numbers(node, "pads", [0] * 4, least=0)
    extents = [dilation * (k - 1) + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    out = [(sizes[2 + i] + pads[i] + pads[2 + i] - extents[i]) // strides[i] + 1 for i in range(2)]
    for index, taps in ((2, 2), (4, 1)):  # an offset is a row and a column, a mask one number
        value = node.inputs[index] if index < len(node.inputs) else None
        wanted = (sizes[0], groups * kernel[0] * kernel[1] * taps, *out)
        if value is not None and shape_of(value) != wanted:
            text = f"DeformConv: input {index} is {shape_text(shape_of(value))}; {shape_text(wanted)} was expected"
            raise InvalidModel(text, place=name_of(node))
    pairs = ((pair[0], pair[1]) for pair in (kernel, sizes[2:], strides, dilations, pads[:2], out))
    return _Plan(groups, sizes[1] // groups, *pairs)


def _numbers(node: ir.Node, name: str, default: list[int], least: int = 1) -> list[int]:
    numbers = list(attribute(node, name, default))
    if len(numbers) != len(default) or not all(least <= size <= LARGEST_WINDOW for size in numbers):
        text = f"DeformConv: {name} {numbers}; {len(default)} numbers from {least} to {LARGEST_WINDOW:,} were expected"
        raise InvalidModel(text, place=name_of(node))
    return numbers


def _grid(node: ir.Node, editor: Editor, plan: _Plan, offset: ir.Value) -> ir.Value:
    """Return where to sample, ``[N, groups, rows, columns, 2]`` as GridSample counts: x and y, edges at -1 and 1."""
    moved = _side_by_side(node, editor, plan, offset, (2,))
    # DeformConv has the row first, GridSample the column; and GridSample measures the image as 2 long.
    swapped = step(node, editor, "Gather", [moved, store_ints(node, editor, "swap", [1, 0])], axis=-1)
    pixel = store_number(node, editor, "pixel", [2 / plan.size[1], 2 / plan.size[0]])
    scaled = step(node, editor, "Mul", [swapped, pixel])
    return step(node, editor, "Add", [scaled, store_number(node, editor, "taps", _undeformed(plan))])


def _undeformed(plan: _Plan) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return where each tap is without offsets, ``[rows, columns, 2]``."""
    lines = []
    for axis in range(2):
        windows = np.arange(plan.out[axis])[:, None] * plan.strides[axis] - plan.pads[axis]
        taps = np.arange(plan.kernel[axis])[None, :] * plan.dilations[axis]
        # With align_corners=0, pixel i has its middle at (2 i + 1) / size − 1.
        lines.append((2 * (windows + taps).ravel() + 1) / plan.size[axis] - 1)
    rows, columns = np.meshgrid(*lines, indexing="ij")
    return np.stack([columns, rows], axis=-1)


def _side_by_side(node: ir.Node, editor: Editor, plan: _Plan, value: ir.Value, last: tuple[int, ...]) -> ir.Value:
    """Turn ``[N, groups · kH · kW · last, H', W']`` into ``[N, groups, H' · kH, W' · kW, last]``."""
    name = "offset" if last else "mask"
    apart = store_ints(node, editor, f"{name}.apart", [0, plan.groups, *plan.kernel, *last, *plan.out])
    parts = step(node, editor, "Reshape", [value, apart], allowzero=0)
    # [N, groups, kH, kW, (last,) H', W']: each pair of window and tap comes to lie on one axis.
    rows, columns = 4 + len(last), 5 + len(last)
    behind = [4] if last else []
    moved = step(node, editor, "Transpose", [parts], perm=[0, 1, rows, 2, columns, 3, *behind])
    shape = store_ints(node, editor, f"{name}.shape", [0, plan.groups, *plan.sampled, *last])
    return step(node, editor, "Reshape", [moved, shape], allowzero=0)


def _sampled(
    node: ir.Node,
    editor: Editor,
    plan: _Plan,
    image: ir.Value,
    grid: ir.Value,
    scales: ir.Value | None,
    index: int,
) -> ir.Value:
    """Return all taps of one offset group, ``[N, C / groups, rows, columns]``."""
    if plan.groups > 1:
        image = _slice(node, editor, image, f"image{index}", index * plan.channels, plan.channels)
    place = store_ints(node, editor, f"grid{index}.place", [0, *plan.sampled, 2])
    where = step(node, editor, "Reshape", [_slice(node, editor, grid, f"grid{index}", index), place], allowzero=0)
    taps = step(node, editor, "GridSample", [image, where], mode="bilinear", padding_mode="zeros", align_corners=0)
    if scales is None:
        return taps
    return step(node, editor, "Mul", [taps, _slice(node, editor, scales, f"mask{index}", index)])


def _slice(node: ir.Node, editor: Editor, value: ir.Value, name: str, first: int, count: int = 1) -> ir.Value:
    """Return ``count`` entries of the second axis."""
    start = store_ints(node, editor, f"{name}.from", [first])
    end = store_ints(node, editor, f"{name}.to", [first + count])
    return step(node, editor, "Slice", [value, start, end, store_ints(node, editor, f"{name}.axis", [1])])
