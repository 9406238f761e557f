"""A twin under ``torch.compile`` and under bfloat16: whole networks, forward and backward."""

import pytest
import torch
from torch import Tensor
from torch_nets.mobile import mobilenet_v3
from torch_nets.modern import ConvNeXt, UNet
from torch_nets.residual import DenseNet, ResNet, ShuffleNetV2

from trunkline.ingest.read import read
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.parity

SIZE = 32
NETS = {
    "mobilenet-v3": lambda: mobilenet_v3(0.25, 5),
    "resnet": lambda: ResNet((1, 1, 1, 1), 1, 4, 5),
    "convnext": lambda: ConvNeXt((8, 8, 16, 16), (1, 1, 1, 1)),
    "shufflenet-v2": lambda: ShuffleNetV2((4, 8, 16, 24, 32), 5),
    "densenet": lambda: DenseNet((2, 1, 2), 4, 5),
    "unet": lambda: UNet(4),
}
ONE = [pytest.param(name, marks=[] if name == "resnet" else pytest.mark.slow) for name in NETS]


def twin_of(name: str) -> Twin:
    torch.manual_seed(0)
    return Twin(read(NETS[name](), torch.zeros(1, 3, SIZE, SIZE)))


def step(model: torch.nn.Module, x: Tensor) -> Tensor:
    loss = sum(y.float().square().mean() for y in model(x).values())
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize("name", ONE)
def test_compiled_training_step(name: str) -> None:
    """One graph without breaks, the same loss, gradients and running statistics."""
    x = torch.randn(4, 3, SIZE, SIZE)
    plain, other = twin_of(name).eval(), twin_of(name).eval()
    torch._dynamo.reset()
    compiled = torch.compile(other, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(step(compiled, x), step(plain, x))
    for key, parameter in plain.trainable().items():
        torch.testing.assert_close(other.trainable()[key].grad, parameter.grad, msg=key)


@pytest.mark.parametrize("name", ONE)
def test_under_bfloat16_autocast(name: str) -> None:
    """As near as the type's eight bits allow, with float32 gradients for float32 parameters."""
    twin, x = twin_of(name).eval(), torch.randn(4, 3, SIZE, SIZE)
    exact = twin(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for key, y in twin(x).items():
            assert (y.float() - exact[key]).norm() <= 0.1 * exact[key].norm()
        step(twin, x)
    for key, parameter in twin.trainable().items():
        assert parameter.grad is not None, key
        assert parameter.grad.dtype == torch.float32
        assert torch.isfinite(parameter.grad).all(), key
