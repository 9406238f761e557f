"""Matrix products, and sums of products in Einstein's notation."""

from __future__ import annotations

from functools import partial

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.graph.graph import attribute
from trunkline.twins import precise
from trunkline.twins.op import Op
from trunkline.twins.registry import register


@register("Gemm")
def gemm(node: ir.Node) -> Op:
    """Inputs A, B, optional C: ``alpha`` · A'B' + ``beta`` · C, where ' transposes under ``transA`` and ``transB``."""
    settings = {
        "alpha": attribute(node, "alpha", 1.0),
        "beta": attribute(node, "beta", 1.0),
        "transposed": (bool(attribute(node, "transA", 0)), bool(attribute(node, "transB", 0))),
    }
    return Op(partial(_gemm, **settings), casts=True)


@register("MatMul")
def matmul(node: ir.Node) -> Op:
    """Product over the last two axes; the axes before them broadcast."""
    return Op(_matmul, casts=True)


@register("Einsum")
def einsum(node: ir.Node) -> Op:
    """Any number of inputs, multiplied and summed by ``equation``."""
    return Op(partial(_einsum, equation=attribute(node, "equation").replace(" ", "")))


def _matmul(a: Tensor, b: Tensor) -> Tensor:
    return precise.matmul(a, b) if torch.float64 in (a.dtype, b.dtype) else torch.matmul(a, b)


def _einsum(*inputs: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *inputs)


def _gemm(
    a: Tensor, b: Tensor, c: Tensor | None = None, *, alpha: float, beta: float, transposed: tuple[bool, bool]
) -> Tensor:
    a = a.t() if transposed[0] else a
    # F.linear wants the weight as [outputs, inputs], which is B transposed.
    weight = b if transposed[1] else b.t()
    linear = precise.linear if a.dtype == torch.float64 else F.linear
    # F.linear adds a bias of one number an output, and nothing else that C may be: it broadcasts to the result.
    if alpha == 1.0 and beta == 1.0 and (c is None or c.shape == weight.shape[:1]):
        return linear(a, weight, c)
    product = alpha * linear(a, weight)
    return product if c is None else product + beta * c
