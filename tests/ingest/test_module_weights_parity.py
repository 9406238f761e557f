"""Weights saved from a torch module fill the Graph that was read from it: the same names, whatever order their axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import Tensor, nn
from torch_nets.modern import ConvNeXt, Odd
from torch_nets.residual import ResNet

from trunkline.errors import InvalidModel
from trunkline.graph.graph import AXES_KEY, Graph, array_of
from trunkline.ingest.read import read
from trunkline.ingest.weight_files import apply_weights
from trunkline.twins.twin import Twin
from trunkline.verbs.convert import convert

NETS = {
    "resnet": (lambda: ResNet((1, 1, 1, 1), 1, 4, 5), 32),
    "convnext": (lambda: ConvNeXt((8, 8, 16, 16), (1, 1, 1, 1)), 32),
    "odd": (Odd, 32),
}


class Mixer(nn.Module):
    """Linear layers over the last of four axes: the exporter transposes their matrices."""

    def __init__(self, middle: int, bias: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.first, self.square = nn.Linear(8, middle, bias), nn.Linear(middle, middle, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.square(self.first(self.stem(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def saved(module: nn.Module, folder: Path) -> Path:
    path = folder / "w.safetensors"
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)
    return path


def graph_of(module: nn.Module, size: int = 16) -> Graph:
    return read(module, torch.zeros(1, 3, size, size))


def shaken(module: nn.Module) -> nn.Module:
    """Change parameters, statistics and buffers."""
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) * 0.1)
    return module.eval()


def computed(graph: Graph, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return list(Twin(graph).eval()(x).values())


def expected_of(module: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        found = module(x)
    return list(found) if isinstance(found, tuple) else [found]


@pytest.mark.parity
@pytest.mark.parametrize("name", NETS)
def test_state_dict_fills_the_graph(name: str, tmp_path: Path) -> None:
    """A Graph filled from a module's own state_dict computes what the module does."""
    build, size = NETS[name]
    torch.manual_seed(0)
    graph, module = graph_of(build(), size), shaken(build())
    filled = apply_weights(graph, saved(module, tmp_path))
    assert not any("num_batches_tracked" in note for note in filled.notes)
    x = torch.randn(2, 3, size, size)
    for want, have in zip(expected_of(module, x), computed(filled, x), strict=True):
        torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parity
@pytest.mark.parametrize("of_graph", [False, True])
def test_square_matrix_follows_the_others(of_graph: bool, tmp_path: Path) -> None:
    """A square matrix fits both orders of axes; the other matrices of the file decide which it has."""
    module = shaken(Mixer(12))
    graph = graph_of(module)
    assert graph.initializers["square.weight"].metadata_props[AXES_KEY] == "1,0"
    path = saved(module, tmp_path)
    if of_graph:
        save_arrays({name: np.ascontiguousarray(array_of(value)) for name, value in graph.initializers.items()}, path)
    x = torch.randn(2, 3, 16, 16)
    filled = apply_weights(graph_of(Mixer(12)), path)
    torch.testing.assert_close(computed(filled, x)[0], expected_of(module, x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.abuse
def test_undecidable_order_of_axes_is_refused(tmp_path: Path) -> None:
    """If all transposed matrices are square, no shape shows whose order of axes the file has."""
    module = Mixer(8)
    with pytest.raises(InvalidModel, match="stored transposed") as caught:
        apply_weights(graph_of(module), saved(module, tmp_path))
    assert [problem.message.split('"')[1] for problem in caught.value.problems] == ["first.weight", "square.weight"]
    assert "read the module" in caught.value.problems[0].advice


@pytest.mark.abuse
def test_shape_that_fits_neither_way(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r'"first.weight" has shape \[16, 8\]; the network expects \[8, 12\]'):
        apply_weights(graph_of(Mixer(12)), saved(Mixer(16), tmp_path))


@pytest.mark.parity
def test_order_of_axes_survives_an_onnx_file(tmp_path: Path) -> None:
    module = shaken(Mixer(12))
    convert(graph_of(Mixer(12)), tmp_path / "m.onnx", parity_inputs=1)
    filled = read(tmp_path / "m.onnx", weights=saved(module, tmp_path))
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(computed(filled, x)[0], expected_of(module, x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.properties
def test_buffers_of_a_written_file_stay_frozen(tmp_path: Path) -> None:
    """What did not train in the module does not train in the ONNX file written from it."""
    graph = graph_of(Odd(), 32)
    convert(graph, tmp_path / "m.onnx", parity_inputs=1)
    again = read(tmp_path / "m.onnx")
    assert Twin(again).trainable().keys() == Twin(graph).trainable().keys()
    assert np.array_equal(array_of(again.initializers["mean"]), array_of(graph.initializers["mean"]))


@pytest.mark.abuse
def test_graph_keeps_its_size() -> None:
    graph = graph_of(Mixer(8))
    assert read(graph) is graph
    assert read(graph, input_size=(16, 16)) is graph
    assert read(graph, input_size=(3, 16, 16)) is graph
    with pytest.raises(InvalidModel, match="read for images of 3 x 16 x 16"):
        read(graph, input_size=(32, 32))
