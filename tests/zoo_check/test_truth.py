"""Golden: what torch is asked for, and the weights under which a wrong reading shows."""

from __future__ import annotations

import pytest
import torch
from tiny_export import SIZE, USED
from torch import Tensor, nn

from zoo_check.makers import tensors_of
from zoo_check.plan import Architecture
from zoo_check.truth import batchnorm_calls, maps_of, used_parameters
from zoo_check.weights import dependence, randomise

pytestmark = pytest.mark.golden

TINY = Architecture("torchvision", "tiny", "tiny", "cnn", size=SIZE)


def test_used_parameters_are_those_outputs_depend_on(tiny: nn.Module) -> None:
    """The frozen weight counts, and stays frozen; the layer that nothing reads does not count."""
    used = used_parameters(tiny, SIZE)
    assert sum(parameter.numel() for parameter in used.values()) == USED
    assert "unused.weight" not in used
    assert not used["stem.0.weight"].requires_grad


def test_batchnorm_is_counted_by_call(tiny: nn.Module) -> None:
    twice = nn.Sequential(tiny.stem, nn.Conv2d(8, 3, 1), nn.Upsample(scale_factor=4), tiny.stem)
    assert batchnorm_calls(tiny, SIZE) == 2
    assert batchnorm_calls(twice, SIZE) == 2


def test_randomised_weights_hide_nothing(tiny: nn.Module) -> None:
    randomise(tiny, SIZE)
    for name, parameter in tiny.named_parameters():
        assert parameter.unique().numel() == parameter.numel() or not parameter.requires_grad, name
    for norm in (tiny.stem[1], tiny.body[1]):
        assert norm.running_mean.abs().min() > 0
        assert not torch.allclose(norm.running_var, torch.ones_like(norm.running_var), atol=1e-3)
        assert (norm.momentum, norm.training) == (0.1, False)
    assert dependence(tiny, SIZE) > 1e-2


def test_no_dependence_where_images_do_not_matter() -> None:
    """Dependence is zero where the image does not matter."""

    class Blind(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            return image.mean((1, 2, 3)), torch.ones(len(image), 2)

    assert dependence(Blind(), SIZE) == 0.0


def test_no_dependence_where_numbers_are_infinite() -> None:
    """Dependence is zero where numbers are not finite."""
    assert dependence(nn.Sequential(nn.ReLU(), nn.Threshold(1e9, float("inf"))), SIZE) == 0.0


def test_maps_are_those_of_named_submodules(tiny: nn.Module) -> None:
    maps = maps_of(tiny, TINY.but(last="body", stages=("stem", "body")))
    assert (maps.known, maps.last, maps.pyramid) == (True, [12, 3, 4], ([8, 6, 8], [12, 3, 4]))


def test_maps_are_unknown_where_nobody_names_them(tiny: nn.Module) -> None:
    assert not maps_of(tiny, TINY).known


class _Timm(nn.Module):
    """Says where its stages are as timm's networks do; the last one has its channels last."""

    num_features = 12
    feature_info = (
        {"module": "stem", "num_chs": 8, "reduction": 4},
        {"module": "nowhere", "num_chs": 9, "reduction": 8},
    )

    def __init__(self, inner: nn.Module, *, tokens: bool) -> None:
        super().__init__()
        self.stem, self.body, self.tokens = inner.stem, inner.body, tokens
        self.blocks, self.head = nn.Identity(), nn.Identity()

    def forward_features(self, image: Tensor) -> Tensor:
        found = self.body(self.blocks(self.stem(image)))
        return found.flatten(2).mT if self.tokens else found.permute(0, 2, 3, 1)

    def forward_head(self, features: Tensor) -> Tensor:
        return self.head(features if self.tokens else features.permute(0, 3, 1, 2))

    def forward(self, image: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(image))


def test_channels_last_maps_become_channels_first(tiny: nn.Module) -> None:
    """Maps with channels last are told channels first."""
    maps = maps_of(_Timm(tiny, tokens=False), TINY.but(maker="timm"))
    assert (maps.last, maps.pyramid) == ([12, 3, 4], ([8, 6, 8], [12, 3, 4]))


def test_tokens_are_the_map_they_form(tiny: nn.Module) -> None:
    """A sequence of tokens is the map it stands for."""
    maps = maps_of(_Timm(tiny, tokens=True), TINY.but(maker="timm"))
    assert (maps.tokens, maps.last, maps.pyramid) == (True, [12, 3, 4], ([8, 6, 8], [12, 3, 4]))


def test_a_convolution_before_pooling_counts(tiny: nn.Module) -> None:
    """One behind the pooling is not: it reads a vector."""
    module = _Timm(tiny, tokens=False)
    assert maps_of(module, TINY.but(maker="timm")).last_too is None
    module.head = nn.Sequential(nn.Conv2d(12, 20, 1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(20, 30, 1))
    assert maps_of(module, TINY.but(maker="timm")).last_too == [20, 3, 4]


def test_the_last_stage_of_a_stride_counts(tiny: nn.Module) -> None:
    """Two blocks work at one stride, and the package names the first, as timm does for GhostNet."""
    module = _Timm(tiny, tokens=False)
    module.blocks = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 9, 1))
    module.body = nn.Sequential(nn.Conv2d(9, 8, 1), tiny.body)
    module.feature_info = ({"module": "blocks.0", "num_chs": 8, "reduction": 4},)
    assert maps_of(module, TINY.but(maker="timm")).pyramid == ([9, 6, 8], [12, 3, 4])


def test_networks_ending_in_maps_keep_them(tiny: nn.Module) -> None:
    """A network that ends in maps keeps them."""

    class Ends(nn.Module):
        def forward(self, image: Tensor) -> dict[str, object]:
            fine = tiny.stem(image)
            return {"coarse": [tiny.body(fine)], "fine": fine}

    maps = maps_of(Ends(), TINY.but(family="scenes"))
    assert (maps.last, maps.pyramid) == ([12, 3, 4], ([8, 6, 8], [12, 3, 4]))


def test_maps_of_one_size_are_no_pyramid(tiny: nn.Module) -> None:
    class Heads(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            return tiny.stem(image), tiny.stem(-image)

    assert not maps_of(Heads(), TINY.but(family="scenes")).known


def test_tensors_come_in_the_order_of_exporters() -> None:
    a, b, c = (torch.zeros(size) for size in (1, 2, 3))
    assert [len(tensor) for tensor in tensors_of(((a, [b]), {"c": c}))] == [1, 2, 3]
