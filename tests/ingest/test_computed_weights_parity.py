"""A torch module whose weights are computed trains the parameters they are computed from, all of them and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from parameters import parameter_count
from torch import Tensor, nn
from torch_nets.reparametrised import REPARAMETRISED

from trunkline.graph.blocks import find_blocks
from trunkline.graph.computed_weights import computation_of, computes_weight, image_inputs_of
from trunkline.graph.cost import graph_cost, node_costs
from trunkline.graph.graph import Graph, array_of, name_of
from trunkline.ingest.read import read
from trunkline.twins.twin import Twin
from trunkline.verbs.convert import convert
from trunkline.verbs.inspect import inspect

pytestmark = pytest.mark.parity


def made(name: str) -> tuple[nn.Module, Graph]:
    torch.manual_seed(0)
    module = REPARAMETRISED[name]()
    return module.eval(), read(module, torch.zeros(1, 3, 8, 8))


@pytest.fixture(scope="module", params=REPARAMETRISED)
def pair(request) -> tuple[nn.Module, Graph]:
    return made(request.param)


def gradients(module: nn.Module, twin: Twin, x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What both want each parameter to change by, for the same random wish about the output."""
    module.zero_grad()
    want, (have,) = module(x), twin(x).values()
    torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5 * float(want.detach().abs().max()))
    wish = torch.randn_like(want)
    (want * wish).sum().backward()
    (have * wish).sum().backward()
    return {name: (p.grad, twin.trainable()[name].grad.reshape(p.shape)) for name, p in module.named_parameters()}


def without_ones(tensor: Tensor) -> list[int]:
    """A vector may be stored as the row or column that its only reader sees."""
    return [size for size in tensor.shape if size != 1]


def test_outputs_and_gradients_are_the_modules(pair) -> None:
    module, graph = pair
    found = gradients(module, Twin(graph).eval(), torch.randn(2, 3, 8, 8))
    for name, (want, have) in found.items():
        torch.testing.assert_close(have, want, rtol=1e-3, atol=1e-5 * float(want.abs().max()), msg=name)


def test_parameters_are_the_modules(pair) -> None:
    """The Graph's parameters are the module's, with their names and shapes."""
    module, graph = pair
    want = {name: without_ones(p) for name, p in module.named_parameters()}
    assert {name: without_ones(p) for name, p in Twin(graph).trainable().items()} == want
    assert parameter_count(graph) == graph_cost(graph).parameters == sum(p.numel() for p in module.parameters())


def test_cost_and_block_of_computations(pair) -> None:
    """What computes a weight costs nothing, and lies in the block of its reader."""
    _, graph = pair
    costs = node_costs(graph)
    computing = [node for node in graph.nodes if computes_weight(node)]
    assert all(costs[name_of(node)].macs == costs[name_of(node)].parameters == 0 for node in computing)
    blocks = find_blocks(graph)
    assert sorted(name for block in blocks for name in block.nodes) == sorted(name_of(node) for node in graph.nodes)
    home = {name: block.name for block in blocks for name in block.nodes}
    first_reader: dict[str, str] = {}
    for node in graph.nodes:
        if not computes_weight(node):
            for before in computation_of(node):
                first_reader.setdefault(name_of(before), name_of(node))
    assert {name: home[name] for name in first_reader} == {name: home[to] for name, to in first_reader.items()}


def test_a_written_file_trains_the_same_again(pair, tmp_path: Path) -> None:
    _, graph = pair
    convert(graph, tmp_path / "m.onnx", parity_inputs=2)
    again = read(tmp_path / "m.onnx")
    assert Twin(again).trainable().keys() == Twin(graph).trainable().keys()
    assert inspect(again).stored == inspect(graph).stored


def test_a_delivered_file_holds_plain_weights(pair, tmp_path: Path) -> None:
    _, graph = pair
    result = convert(graph, tmp_path / "m.onnx", fold=True, reuse=True, parity_inputs=4)
    assert result.export.parity.passed
    again = read(tmp_path / "m.onnx")
    assert not any(map(computes_weight, again.nodes))
    assert result.export.macs == graph_cost(graph).macs


@pytest.mark.parametrize(("frozen", "trained"), [((), 2), (("weight", "down"), 2), (("weight", "up", "down"), 1)])
def test_delivered_weight_trains_with_its_sources(frozen, trained: int, tmp_path: Path) -> None:
    """A delivered weight trains if anything that it is computed from does."""
    module = REPARAMETRISED["low rank"]()
    for name in frozen:
        module.get_parameter(name).requires_grad_(False)
    convert(read(module, torch.zeros(1, 3, 8, 8)), tmp_path / "m.onnx", fold=True, parity_inputs=1)
    assert len(Twin(read(tmp_path / "m.onnx")).trainable()) == trained


def test_table_at_stored_places() -> None:
    """A table of weights is read in stored places."""
    _, graph = made("positions")
    assert any(node.op_type.startswith("Gather") and computes_weight(node) for node in graph.nodes)
    assert array_of(graph.initializers["table"]).shape == (2, 7)


def test_weight_has_no_running_statistics() -> None:
    """In the module a batch normalisation sees the kernel; nothing of that may become a running mean."""
    _, graph = made("scaled and standardised")
    assert inspect(graph).stored.statistics == 0
    assert not any(node.op_type == "BatchNormalization" for node in graph.nodes)


class FrozenNorm(nn.Module):
    """torchvision's FrozenBatchNorm2d: buffers only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        for name in ("weight", "bias", "mean", "var"):
            self.register_buffer(name, torch.rand(4) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, mean, var = (buffer.reshape(1, -1, 1, 1) for buffer in self.buffers())
        scale = weight * (var + 1e-5).rsqrt()
        return self.conv(x) * scale + (bias - mean * scale)


def test_weight_of_buffers_does_not_train() -> None:
    """What is computed from buffers alone does not train."""
    graph = read(FrozenNorm(), torch.zeros(1, 3, 8, 8))
    assert set(Twin(graph).trainable()) == {"conv.weight", "conv.bias"}
    assert not any(map(computes_weight, graph.nodes))


def distribution() -> nn.Module:
    """YOLO's: a convolution that takes the mean of a distribution over fixed places."""
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Softmax(1), nn.Conv2d(8, 1, 1, bias=False))
    module[2].weight.data[:] = torch.arange(8.0).view(1, 8, 1, 1)
    module[2].requires_grad_(False)
    return module


def test_frozen_parameters_do_not_train(tmp_path: Path) -> None:
    """Parameters that a module holds frozen do not train."""
    module = distribution()
    graph = read(module, torch.zeros(1, 3, 8, 8))
    assert set(Twin(graph).trainable()) == {"0.weight", "0.bias"}
    assert inspect(graph).stored.trainable == 32
    assert inspect(graph).stored.constants == 8
    assert any("8 numbers" in note and '"2.weight"' in note and "requires_grad" in note for note in graph.notes)
    convert(graph, tmp_path / "m.onnx", parity_inputs=1)
    assert set(Twin(read(tmp_path / "m.onnx")).trainable()) == {"0.weight", "0.bias"}


def test_frozen_kernel_plus_trained_addition() -> None:
    """A frozen kernel with a trained addition, as in LoRA, stays frozen."""
    torch.manual_seed(0)
    module = REPARAMETRISED["low rank"]()
    module.weight.requires_grad_(False)
    twin = Twin(read(module, torch.zeros(1, 3, 8, 8)))
    assert set(twin.trainable()) == {"down", "up", "bias"}
    kept = module.weight.detach().numpy().copy()
    twin(torch.randn(2, 3, 8, 8)).popitem()[1].sum().backward()
    assert np.array_equal(twin.tensor("weight").numpy(), kept)


def test_computed_weight_is_no_image_input() -> None:
    """A computed weight is not among the inputs of a node that depend on the image."""
    _, graph = made("product")
    conv = next(node for node in graph.nodes if node.op_type == "Conv")
    assert [name_of(value) for value in image_inputs_of(conv)] == [name_of(graph.input)]
    assert [node.op_type for node in computation_of(conv)] == ["Mul"]
