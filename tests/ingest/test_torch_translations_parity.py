"""Operators of torch that are written otherwise than torch's exporter does: pooling to a size, and writing in place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import Graph
from trunkline.ingest.read import read
from trunkline.twins.twin import Twin
from trunkline.verbs.inspect import inspect

Size = tuple[int | None, int | None]


class Behind(nn.Module):
    """Something done to the maps of a convolution, ``[N, 6, H, W]``, that may read the image too."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 6, 3, padding=1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x), x)


def check(module: nn.Module, height: int, width: int) -> Graph:
    torch.manual_seed(0)
    graph = read(module.eval(), torch.zeros(1, 3, height, width))
    twin, x = Twin(graph).eval(), torch.randn(3, 3, height, width)
    want, (have,) = module(x), twin(x).values()
    torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5 * float(want.detach().abs().max()))
    wish = torch.randn_like(want)
    (want * wish).sum().backward()
    (have * wish).sum().backward()
    for name, parameter in module.named_parameters():
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(twin.trainable()[name].grad, parameter.grad, rtol=1e-3, atol=1e-5 * scale)
    assert inspect(graph).stored.trainable == sum(p.numel() for p in module.parameters())
    return graph


def operators(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


SIZES: list[tuple[Size, tuple[int, int], list[str]]] = [
    ((6, 6), (6, 6), []),
    ((6, 6), (12, 18), ["AveragePool"]),
    ((7, 7), (14, 14), ["AveragePool"]),
    ((1, 2), (6, 6), ["AveragePool"]),
    ((6, 6), (8, 12), ["AveragePool", "MatMul"]),
    ((3, 5), (8, 7), ["MatMul", "MatMul"]),
    ((6, 6), (4, 3), ["MatMul", "MatMul"]),
    ((None, 4), (6, 6), ["MatMul"]),
    ((1, 1), (5, 7), ["GlobalAveragePool"]),
]


@pytest.mark.parity
@pytest.mark.parametrize(("size", "image", "expected"), SIZES)
def test_adaptive_average_pooling(size: Size, image: tuple[int, int], expected: list[str]) -> None:
    graph = check(Behind(lambda y, x: F.adaptive_avg_pool2d(y, size)), *image)
    assert operators(graph) == ["Conv", *expected]


@pytest.mark.parity
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 5), (5, 8), (9, 9)])
def test_adaptive_max_pooling(size: Size) -> None:
    check(Behind(lambda y, x: F.adaptive_max_pool2d(y, size)), 8, 8)


@pytest.mark.parity
def test_pyramid_pooling_is_read() -> None:
    """Zhao et al. 2017: bins of 1, 2, 3 and 6, resized to the map and put beside it."""

    def pyramid(y: Tensor, x: Tensor) -> Tensor:
        bins = [F.adaptive_avg_pool2d(y, size) for size in (1, 2, 3, 6)]
        return torch.cat([y, *(F.interpolate(b, size=y.shape[2:], mode="bilinear") for b in bins)], 1)

    check(Behind(pyramid), 10, 14)


@pytest.mark.abuse
def test_places_of_maxima_are_refused() -> None:
    class Places(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.adaptive_max_pool2d(x, 3, return_indices=True)[1]

    with pytest.raises(UnsupportedOp, match="return_indices"):
        read(Places(), torch.zeros(1, 3, 8, 8))


def in_place_sum(y: Tensor, x: Tensor) -> Tensor:
    """GhostNet's: the slice is all that is read again."""
    y = y[:, :4]
    y += 1.5 * x[:, :1]
    return y


def in_the_middle(y: Tensor, x: Tensor) -> Tensor:
    y = y.clone()
    y[:, 1:-1, 2:6] *= 2
    return y


def at_the_end(y: Tensor, x: Tensor) -> Tensor:
    y = y.clone()
    y[..., -3:] = x[:, :1, :, :3]
    return y * 2


def every_second(y: Tensor, x: Tensor) -> Tensor:
    y = y.clone()
    y[:, ::2] = x
    return y


def one_of_many(y: Tensor, x: Tensor) -> Tensor:
    y = y.clone()
    y[:, -1].add_(1)
    y[:, :, 0, :].mul_(2)
    return y


def everything(y: Tensor, x: Tensor) -> Tensor:
    y = y.clone()
    y[:] = x.repeat(1, 2, 1, 1) + y
    return y


def listed(y: Tensor, x: Tensor) -> Tensor:
    y = y.clone()
    y[:, [0, 2]] = x[:, :2]
    return y


WRITES = [in_place_sum, in_the_middle, at_the_end, every_second, one_of_many, everything, listed]


@pytest.mark.parity
@pytest.mark.parametrize("write", WRITES)
def test_writes_in_place(write: Callable[[Tensor, Tensor], Tensor]) -> None:
    check(Behind(write), 8, 8)


@pytest.mark.golden
def test_sum_in_place_leaves_no_detour() -> None:
    assert operators(check(Behind(in_place_sum), 8, 8)) == ["Conv", "Slice", "Slice", "Mul", "Add"]


@pytest.mark.abuse
def test_writing_to_one_image_is_refused() -> None:
    """It would mix images of a batch; the error gives that reason."""

    def first(y: Tensor, x: Tensor) -> Tensor:
        y = y.clone()
        y[0] = 0
        return y

    with pytest.raises(InvalidModel, match="it writes to one image of a batch"):
        read(Behind(first), torch.zeros(1, 3, 8, 8))
