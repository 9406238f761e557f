"""The operators with weights that a unit may be, and their skips: what one option computes by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.graph.computed_weights import depends_on_image
from trunkline.graph.graph import attribute, shape_of
from trunkline.sharing.skip import Skip


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a linear operator reads its input: everything about it but the weights.

    Attributes:
        kind: ``conv``, ``transposed`` or ``linear``.
        stride: Per spatial axis, as ``dilation``.
        pads: Padding before and after each spatial axis, ``(h0, w0, h1, w1)`` as ONNX orders it.
        dilation: Distance of a kernel's taps; 1 where they are neighbours.
        groups: Number of channel groups.
        output_padding: Per spatial axis, what a transposed convolution adds behind its output.
        transposed_weight: Whether a linear weight is stored ``[out, in]``.
    """

    kind: str = "conv"
    stride: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    output_padding: tuple[int, ...] = (0, 0)
    transposed_weight: bool = True

    @property
    def symmetric(self) -> bool:
        """Whether both ends of each axis have the same padding: torch's kernels take one number an axis."""
        axes = len(self.pads) // 2
        return self.pads[:axes] == self.pads[axes:]

    @property
    def arguments(self) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
        """What torch's general convolution and its backward take after their tensors."""
        transposed = self.kind == "transposed"
        output_padding = list(self.output_padding)
        return list(self.stride), list(self.padding), list(self.dilation), transposed, output_padding, self.groups

    @property
    def padding(self) -> tuple[int, ...]:
        """The padding that the kernel does: all of it, or none where :func:`pad` does it beforehand."""
        axes = len(self.pads) // 2
        return self.pads[:axes] if self.symmetric else (0,) * axes


def geometry_of(node: ir.Node) -> Geometry | None:
    """Return the geometry of a unit's operator, or ``None`` where weights cannot be mixed for it."""
    if node.op_type in ("Conv", "ConvTranspose"):
        return _convolution(node)
    weight = node.inputs[1]
    if weight is None or depends_on_image(weight):
        return None
    if node.op_type == "Gemm":
        return _gemm(node)
    if node.op_type == "MatMul" and len(shape_of(weight)) == 2:
        return Geometry("linear", transposed_weight=False)
    return None


def _gemm(node: ir.Node) -> Geometry | None:
    scaled = attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0
    if scaled or attribute(node, "transA", 0):
        return None  # rare enough that its outputs are mixed instead
    return Geometry("linear", transposed_weight=bool(attribute(node, "transB", 0)))


def _convolution(node: ir.Node) -> Geometry | None:
    weight = node.inputs[1]
    assert weight is not None
    axes = len(shape_of(weight)) - 2
    geometry = Geometry(
        kind="conv" if node.op_type == "Conv" else "transposed",
        stride=tuple(attribute(node, "strides", [1] * axes)),
        pads=tuple(attribute(node, "pads", [0] * 2 * axes)),
        dilation=tuple(attribute(node, "dilations", [1] * axes)),
        groups=int(attribute(node, "group", 1)),
        output_padding=tuple(attribute(node, "output_padding", [0] * axes)),
    )
    if geometry.kind == "transposed" and not geometry.symmetric:
        return None  # its padding crops the output, which padding the input cannot do
    return geometry


def apply_linear(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Apply the operator: ``[N, C, H, W]`` → ``[N, K, H', W']``, or ``[N, C]`` → ``[N, K]``."""
    return apply_padded(pad(x, geometry), weight, bias, geometry)


def pad(x: Tensor, geometry: Geometry) -> Tensor:
    """Return ``x`` with the padding that torch's kernels cannot do."""
    if geometry.symmetric or geometry.kind != "conv":
        return x
    axes = len(geometry.pads) // 2
    amounts: list[int] = []
    for axis in reversed(range(axes)):  # F.pad takes the last axis first, and both its ends together
        amounts += [geometry.pads[axis], geometry.pads[axis + axes]]
    return F.pad(x, amounts)


def apply_padded(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Apply the operator to an input that :func:`pad` returned."""
    # Under autocast x and the kernel are cast by the caller; the bias was mixed beside them in float32.
    bias = None if bias is None else bias.to(x.dtype)
    if geometry.kind != "linear":
        return torch.convolution(x, weight, bias, *geometry.arguments)
    matrix = weight if geometry.transposed_weight else weight.t()
    if bias is None or bias.shape == matrix.shape[:1]:
        return F.linear(x, matrix, bias)
    return F.linear(x, matrix) + bias  # a Gemm's may have any shape that spreads over the product


def input_gradient(x: Tensor, weight: Tensor, grad: Tensor, geometry: Geometry) -> Tensor:
    """Return the gradient of :func:`apply_padded` for its input; of ``x`` only the shape counts."""
    if geometry.kind == "linear":
        return grad @ (weight if geometry.transposed_weight else weight.t())
    found: Tensor = _convolution_backward(grad, x, weight, geometry, (True, False, False))[0]
    return found


def weight_gradients(
    x: Tensor, weight: Tensor, grad: Tensor, geometry: Geometry, bias_shape: torch.Size | None
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of :func:`apply_padded` for weight and bias; of ``weight`` only the shape counts.

    ``bias_shape`` is ``None`` where there is no bias.
    """
    if geometry.kind == "linear":
        rows, columns = grad.flatten(0, -2), x.flatten(0, -2)
        found = rows.t() @ columns if geometry.transposed_weight else columns.t() @ rows
        return found, None if bias_shape is None else grad.sum_to_size(bias_shape)
    # torch picks its kernel by the types of all three, and under autocast the weight still has its own.
    like = weight if weight.dtype == x.dtype else torch.empty_like(weight, dtype=x.dtype)
    _, found, bias = _convolution_backward(grad, x, like, geometry, (False, True, bias_shape is not None))
    return found, None if bias_shape is None else bias


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, mask: tuple[bool, bool, bool]
) -> tuple[Any, Any, Any]:
    bias = [grad.shape[1]] if mask[2] else None
    found: tuple[Any, Any, Any] = torch.ops.aten.convolution_backward(
        grad, x, weight, bias, *geometry.arguments, list(mask)
    )
    return found


def apply_skip(skip: Skip, x: Tensor, projection: Tensor | None) -> Tensor:
    """Return what a task that skips the unit gets from ``x``, ``[N, C, H, W]`` → ``[N, K, H', W']``.

    Without a projection it is ``x`` itself or a view of it.
    """
    if skip.is_identity:
        return x
    (top, left), (down, right), (height, width) = skip.offset, skip.stride, skip.size
    x = x[:, :, top : top + down * (height - 1) + 1 : down, left : left + right * (width - 1) + 1 : right]
    return x if projection is None else F.conv2d(x, projection, groups=skip.groups)
