"""A torch module and the twin of its Graph compute the same, train the same parameters and keep their names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from parameters import parameter_count
from torch import Tensor, nn
from torch_nets import NETS, PUBLISHED

from trunkline.errors import InvalidModel
from trunkline.graph.graph import AXES_KEY, Graph
from trunkline.ingest.read import read
from trunkline.twins.twin import Twin


def made(build: Callable[[], nn.Module], size: int) -> tuple[nn.Module, Graph]:
    """Return a module with statistics that differ from their start, and its Graph."""
    torch.manual_seed(0)
    module = build()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return module, read(module, torch.zeros(1, 3, size, size))


# Their exports take longest, and are built as MobileNet v2 and v3 are.
SLOW = ("efficientnet", "shufflenet-v2")
EACH = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in NETS]


@pytest.fixture(scope="module", params=EACH)
def pair(request: pytest.FixtureRequest) -> tuple[nn.Module, Graph, int]:
    build, size = NETS[request.param]
    return *made(build, size), size


def outputs_of(module: nn.Module, x: Tensor) -> list[Tensor]:
    found = module(x)
    return list(found) if isinstance(found, tuple) else [found]


@pytest.mark.parity
def test_outputs_agree_for_any_batch(pair: tuple[nn.Module, Graph, int]) -> None:
    module, graph, size = pair
    x = torch.randn(3, 3, size, size)
    with torch.no_grad():
        expected = outputs_of(module.eval(), x)
        found = Twin(graph).eval()(x)
    for want, have in zip(expected, found.values(), strict=True):
        torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parity
def test_parameters_keep_names_and_counts(pair: tuple[nn.Module, Graph, int]) -> None:
    module, graph, _ = pair
    twin = Twin(graph)
    parameters = dict(module.named_parameters())
    assert twin.trainable().keys() == (parameters.keys())
    assert parameter_count(graph) == sum(parameter.numel() for parameter in parameters.values())


@pytest.mark.parity
def test_gradients_agree(pair: tuple[nn.Module, Graph, int]) -> None:
    """A loss on module and twin gives every parameter the same gradient."""
    module, graph, size = pair
    x = torch.randn(2, 3, size, size)
    twin = Twin(graph).eval()  # evaluation, so that dropout does not part them; gradients flow all the same
    sum(y.square().mean() for y in outputs_of(module.eval(), x)).backward()
    sum(y.square().mean() for y in twin(x).values()).backward()
    scale = max(float(p.grad.abs().max()) for p in module.parameters() if p.grad is not None)
    for name, parameter in module.named_parameters():
        have = twin.trainable()[name].grad
        # The weight of a linear layer on more than two axes is stored transposed.
        stored_transposed = graph.initializers[name].metadata_props.get(AXES_KEY) == "1,0"
        have = have.t() if stored_transposed else have.reshape(parameter.shape)
        torch.testing.assert_close(have, parameter.grad, rtol=1e-3, atol=1e-5 * scale)


@pytest.mark.parity
def test_training_updates_the_same_statistics(pair: tuple[nn.Module, Graph, int]) -> None:
    module, graph, size = pair
    kinds = [type(layer) for layer in module.modules()]
    if nn.Dropout in kinds or not {nn.BatchNorm1d, nn.BatchNorm2d} & set(kinds):
        pytest.skip("it has none, or drops other numbers")
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    twin, x = Twin(graph).train(), torch.randn(3, 3, size, size)
    with torch.no_grad():
        expected, found = outputs_of(module.train(), x), twin(x)
    for want, have in zip(expected, found.values(), strict=True):
        torch.testing.assert_close(have, want, rtol=1e-3, atol=1e-4 * float(want.abs().max()))
    for name, buffer in module.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(twin.state_dict()[name], buffer, rtol=1e-4, atol=1e-5)
    module.load_state_dict(before, strict=False)


@pytest.mark.properties
def test_dropout_drops_only_while_training() -> None:
    _, graph = made(*NETS["vgg"])
    twin, x = Twin(graph), torch.randn(2, 3, 32, 32)
    twin.eval()
    assert torch.equal(twin(x).popitem()[1], twin(x).popitem()[1])
    twin.train()
    torch.manual_seed(0)
    assert not torch.equal(twin(x).popitem()[1], twin(x).popitem()[1])


@pytest.mark.golden
def test_shared_weights_and_buffers() -> None:
    """A weight that two layers read is stored once; a buffer does not train."""
    module, graph = made(*NETS["odd"])
    assert sum(any(v is not None and v.name == "shared.weight" for v in node.inputs) for node in graph.nodes) == 2
    twin = Twin(graph)
    assert "alpha" in twin.weights()
    assert "mean" not in dict(twin.named_parameters())
    assert "mean" not in twin.weights()


@pytest.mark.golden
def test_nodes_have_the_modules_names() -> None:
    _, graph = made(*NETS["resnet-basic"])
    names = {node.name for node in graph.nodes}
    assert {"stem.0", "layer2.0.body.0", "layer2.0.downsample.1", "layer2.0", "avgpool", "fc"} <= names


@pytest.mark.golden
def test_module_is_left_as_it_was() -> None:
    module = NETS["vgg"][0]().train()
    module.features.eval()
    read(module, torch.zeros(1, 3, 32, 32))
    assert module.training
    assert not module.features.training
    assert nn.functional.dropout.__module__ == "torch.nn.functional"


class DataDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("module", "example", "message"),
    [
        (DataDependent(), torch.zeros(1, 3, 8, 8), "torch cannot export it"),
        (nn.Conv2d(3, 4, 1), torch.zeros(3, 8, 8), "one image batch"),
        (nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8, dtype=torch.int64), "one image batch"),
        (nn.Conv2d(3, 4, 1), torch.zeros(1, 5, 8, 8), "torch cannot export it"),
        (nn.Conv2d(3, 4, 1), None, "with an example"),
    ],
)
def test_unreadable_modules_are_refused(module: nn.Module, example: Tensor | None, message: str) -> None:
    with pytest.raises(InvalidModel, match=message):
        read(module, example)


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameter_counts(name: str) -> None:
    build, count = PUBLISHED[name]
    assert parameter_count(read(build(), torch.zeros(1, 3, 224, 224))) == count
