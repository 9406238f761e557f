"""The joins of MTAN, attention and refinement: what onnxruntime computes of them, against their formulas in torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.fragments.map_size import Size
from trunkline.fragments.registry import make_join
from trunkline.graph.graph import Graph, shape_of
from trunkline.graph.roles import role_of

pytestmark = pytest.mark.golden

READS: dict[int, Size] = {0: (5, 4, 6), 1: (3, 4, 6), 2: (7, 4, 6)}
Weights = Mapping[str, Tensor]


def shaken(graph: Graph) -> Weights:
    """Gives every weight and statistic of a fragment other numbers, all of them possible, and returns them."""
    rng = np.random.default_rng(0)
    weights = {}
    for name, value in graph.initializers.items():
        if role_of(value) != "static":
            shift = 0.5 if name.endswith(("var", "scale")) else -0.5
            content = (rng.random(shape_of(value)) + shift).astype(np.float32)
            value.const_value = ir.Tensor(content, name=name)
            weights[name] = torch.from_numpy(content)
    return weights


def maps(sizes: Mapping[int, Size]) -> dict[int, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {number: torch.randn(2, *size, generator=generator) for number, size in sizes.items()}


def computed(graph: Graph, reads: Mapping[int, Tensor]) -> Tensor:
    session = ort.InferenceSession(ir.to_proto(graph.model).SerializeToString(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {f"x{number}": value.numpy() for number, value in reads.items()})
    return torch.from_numpy(result)


def normal(x: Tensor, weights: Weights, name: str) -> Tensor:
    mean, var, scale, bias = (weights[f"{name}.{key}"] for key in ("mean", "var", "scale", "bias"))
    return F.batch_norm(x, mean, var, scale, bias, eps=1e-5)


def layer(x: Tensor, weights: Weights, name: str, most: float | None, group: int = 1) -> Tensor:
    kernel = weights[f"{name}.weight"]
    x = normal(F.conv2d(x, kernel, padding=kernel.shape[-1] // 2, groups=group), weights, f"{name}.norm")
    return x if most is None else x.clamp(0, most)


def attention(reads: Mapping[int, Tensor], weights: Weights, most: float = torch.inf) -> Tensor:
    """The formula: x_0 · σ(BN(W_2 act(BN(W_1 [x_1, x_2, …]))))."""
    asked = torch.cat([value for number, value in reads.items() if number], 1)
    kernel = torch.cat([weights[f"hidden.weight{number}"] for number in reads if number], 1)
    hidden = normal(F.conv2d(asked, kernel), weights, "hidden.norm").clamp(0, most)
    return reads[0] * torch.sigmoid(layer(hidden, weights, "mask", None))


@pytest.mark.parametrize(("rectifier", "most"), [("relu", torch.inf), ("relu6", 6.0)])
@pytest.mark.parametrize("numbers", [(0, 1), (0, 2), (0, 1, 2)])
def test_attention_is_its_formula(numbers: tuple[int, ...], rectifier: str, most: float) -> None:
    """Maps of any channels; a mask for every channel and position of the first."""
    sizes = {number: READS[number] for number in numbers}
    fragment = make_join("attention", sizes, {"hidden": 4, "rectifier": rectifier})
    weights = shaken(fragment)
    reads = {number: 20 * value for number, value in maps(sizes).items()}
    expected = attention(reads, weights, most)
    assert (most == 6.0) == (not torch.equal(expected, attention(reads, weights)))  # the 6 is reached
    torch.testing.assert_close(computed(fragment, reads), expected, rtol=1e-4, atol=1e-4)


def test_a_left_out_read_counts_as_zeros() -> None:
    """And the other reads keep the names of their weights."""
    whole, part = (make_join("attention", sizes, {"hidden": 4}) for sizes in (READS, {0: READS[0], 2: READS[2]}))
    weights, reads = shaken(whole), maps(READS)
    for name, value in part.initializers.items():
        value.const_value = ir.Tensor(weights[name].numpy(), name=name)
    zeros = {**reads, 1: torch.zeros_like(reads[1])}
    assert not torch.allclose(computed(whole, reads), computed(whole, zeros), atol=1e-3)
    torch.testing.assert_close(computed(part, {0: reads[0], 2: reads[2]}), computed(whole, zeros))


@pytest.mark.parametrize(("start", "mask"), [(100.0, 1.0), (-200.0, 0.0)])
def test_a_far_start_is_a_constant_mask(start: float, mask: float) -> None:
    """Exactly 1 or 0, whatever is read."""
    reads = maps(READS)
    fragment = make_join("attention", READS, {"hidden": 4, "start": start})
    assert torch.equal(computed(fragment, reads), mask * reads[0])


def test_masks_start_around_one_half() -> None:
    reads = maps(READS)
    ratio = computed(make_join("attention", READS, {"hidden": 64}), reads) / reads[0]
    assert float(ratio.median()) == pytest.approx(0.5, abs=0.1)
    assert float(ratio.std()) > 0.05


def test_a_hidden_layer_starts_as_one_kernel() -> None:
    """By He's rule for all channels that it reads, however they come: variance 2/n with n = 3 + 7."""
    fragment = make_join("attention", {0: (5, 4, 6), 1: (3, 4, 6), 2: (7, 4, 6)}, {"hidden": 3000})
    for number in (1, 2):
        start = fragment.initializers[f"hidden.weight{number}"].const_value.numpy()
        assert float(start.std()) == pytest.approx((2 / 10) ** 0.5, rel=0.03)


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("sizes", "settings", "said"),
    [
        ({0: (5, 4, 6), 1: (5, 4, 5)}, {"hidden": 1}, r"reads.1: is \[N, 5, 4, 5\], and the first read \[N, 5, 4, 6\]"),
        ({0: (5, 4, 6)}, {"hidden": 1}, "reads: attention masks its first read by what the others say"),
        ({1: (5, 4, 6), 2: (5, 4, 6)}, {"hidden": 1}, "reads: attention masks its first read"),
        (READS, {"hidden": 0}, "settings.hidden"),
        (READS, {}, "settings.hidden"),
        (READS, {"hidden": 2, "rectifier": "gelu"}, "settings.rectifier"),
        (READS, {"hidden": 2, "start": float("nan")}, "settings.start"),
    ],
)
def test_attention_that_cannot_be(sizes: dict[int, Size], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        make_join("attention", sizes, settings)


def refined(x: Tensor, weights: Weights, form: str, separable: bool, most: float) -> Tensor:
    """The block by its text, without what brings it to another size."""

    def three(x: Tensor) -> Tensor:
        if separable:
            x = layer(x, weights, "conv.depth", most, group=x.shape[1])
        return layer(x, weights, "conv", most)

    if form == "plain":
        return three(x)
    inner = layer(three(layer(x, weights, "reduce", most)), weights, "expand", None)
    return (inner + layer(x, weights, "shortcut", None)).clamp(0, most)


@pytest.mark.parametrize(("rectifier", "most"), [("relu", torch.inf), ("relu6", 6.0)])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("form", ["plain", "bottleneck"])
def test_refinement_is_its_formula(form: str, separable: bool, rectifier: str, most: float) -> None:
    """A 3×3 convolution, or a bottleneck with a projection, and then a pooling by 2."""
    settings = {"channels": 8, "size": [3, 4], "form": form, "separable": separable, "rectifier": rectifier}
    fragment = make_join("refine", {0: (6, 6, 8)}, settings)
    weights, reads = shaken(fragment), maps({0: (6, 6, 8)})
    reads = {0: 9 * reads[0]}
    block = refined(reads[0], weights, form, separable, most)
    assert not torch.equal(block, block.clamp(0, 6)) or most == 6.0
    torch.testing.assert_close(computed(fragment, reads), F.max_pool2d(block, 2), rtol=1e-4, atol=1e-4)


def test_a_bottleneck_is_a_quarter_inside() -> None:
    """One channel at least."""
    for channels, inner in ((12, 3), (2, 1)):
        settings = {"channels": channels, "size": [4, 4], "form": "bottleneck"}
        stored = make_join("refine", {0: (6, 4, 4)}, settings).initializers
        assert shape_of(stored["conv.weight"]) == (inner, inner, 3, 3)
        assert shape_of(stored["shortcut.weight"]) == (channels, 6, 1, 1)


@pytest.mark.parametrize("old", range(1, 13))
def test_pooling_reaches_every_size(old: int) -> None:
    """Every position is in a window, and every window has one: no maximum is one of padding alone."""
    for new in range(1, old + 1):
        fragment = make_join("refine", {0: (1, old, old)}, {"channels": 1, "size": [new, old]})
        assert shape_of(fragment.outputs[0]) == (None, 1, new, old)
        pools = [node for node in fragment.nodes if node.op_type == "MaxPool"]
        assert len(pools) == (new != old)
        for pool in pools:
            found = {key: list(item.value) for key, item in pool.attributes.items() if key != "ceil_mode"}
            assert (found["kernel_shape"][1], found["strides"][1], found["pads"][1::2]) == (1, 1, [0, 0])
            extent, stride = found["kernel_shape"][0], found["strides"][0]
            windows = [set(range(start * stride, start * stride + extent)) for start in range(new)]
            assert all(window & set(range(old)) for window in windows)
            assert set(range(old)) <= set(itertools.chain.from_iterable(windows))


def test_halves_are_windows_of_two() -> None:
    """The paper's pooling, also where a side is odd."""
    for old, new in ((8, 4), (7, 4)):
        (pool,) = [
            node
            for node in make_join("refine", {0: (1, old, 8)}, {"channels": 1, "size": [new, 4]}).nodes
            if node.op_type == "MaxPool"
        ]
        assert list(pool.attributes["kernel_shape"].value) == list(pool.attributes["strides"].value) == [2, 2]


def test_a_finer_stage_is_resized_to() -> None:
    """Bilinearly; a side that is too large is pooled before."""
    fragment = make_join("refine", {0: (2, 4, 6)}, {"channels": 3, "size": [8, 3]})
    weights, reads = shaken(fragment), maps({0: (2, 4, 6)})
    block = F.max_pool2d(layer(reads[0], weights, "conv", torch.inf), (1, 2))
    expected = F.interpolate(block, (8, 3), mode="bilinear", align_corners=False)
    torch.testing.assert_close(computed(fragment, reads), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("sizes", "settings", "said"),
    [
        ({0: (5, 4, 6), 1: (5, 4, 6)}, {"channels": 4, "size": [2, 3]}, "reads: a refinement reads one map, not 2"),
        ({0: (5, 4, 6)}, {"channels": 0, "size": [2, 3]}, "settings.channels"),
        ({0: (5, 4, 6)}, {"channels": 4, "size": [2, 0]}, "settings.size"),
        ({0: (5, 4, 6)}, {"channels": 4, "size": [2]}, "settings.size"),
        ({0: (5, 4, 6)}, {"channels": 4, "size": [2, 3], "form": "bottelneck"}, "settings.form"),
    ],
)
def test_refinement_that_cannot_be(sizes: dict[int, Size], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        make_join("refine", sizes, settings)
