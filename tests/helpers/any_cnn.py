"""Networks of all kinds, each as a backbone: torch modules in the styles people write, and the onnx wheel's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from torch_nets.classic import VGG, SqueezeNet
from torch_nets.mobile import efficientnet_b0, mobilenet_v2, mobilenet_v3
from torch_nets.modern import ConvNeXt, Odd, UNet
from torch_nets.residual import DenseNet, ResNet, ShuffleNetV2

from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, shape_of
from trunkline.graph.roles import role_of
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.read import read
from trunkline.twins.initial_weights import draw

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SIZES = {"unet": 36, "vgg": 32, "odd": 32}
"""Height and width, where they are not 64."""


class Shared(nn.Module):
    """One convolution used twice, as in a recurrent block, and one behind a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.again = nn.Conv2d(8, 8, 3, 1, 1)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(2):
            x = x + torch.relu(self.norm(self.again(x)))
        x = torch.relu(self.up(x))
        return x + self.again(x)


class Computed(nn.Module):
    """A convolution whose weight is computed: standardised, as beside GroupNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3) * 0.1)
        self.norm = nn.GroupNorm(2, 8)
        self.last = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        x = torch.relu(self.norm(nn.functional.conv2d(x, weight, None, 1, 1)))
        return self.last(x)


class Decomposed(nn.Module):
    """BatchNormalization written out as arithmetic, and a mixer of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.conv = nn.Conv2d(8, 8, 3, 1, 1, bias=False)
        self.register_buffer("mean", torch.rand(8, 1, 1))
        self.register_buffer("var", torch.rand(8, 1, 1) + 0.5)
        self.gamma = nn.Parameter(torch.rand(8, 1, 1) + 0.5)
        self.beta = nn.Parameter(torch.rand(8, 1, 1))
        self.mix = nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.stem(x))
        x = torch.relu((x - self.mean) / torch.sqrt(self.var + 1e-5) * self.gamma + self.beta)
        x = nn.functional.avg_pool2d(x, 2)
        return x + self.mix(self.norm(x))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "vgg": lambda: VGG(4, 16, 1, 5),
    "squeezenet": lambda: SqueezeNet(2, 5),
    "resnet-basic": lambda: ResNet((1, 2, 1, 1), 1, 4, 5),
    "resnet-bottleneck": lambda: ResNet((1, 1, 2, 1), 4, 4, 5),
    "densenet": lambda: DenseNet((2, 1, 2), 4, 5),
    "shufflenet-v2": lambda: ShuffleNetV2((4, 8, 16, 24, 32), 5),
    "mobilenet-v2": lambda: mobilenet_v2(0.25, 5),
    "mobilenet-v3": lambda: mobilenet_v3(0.25, 5),
    "efficientnet": lambda: efficientnet_b0(0.25, 5),
    "convnext": lambda: ConvNeXt((8, 8, 16, 16), (1, 1, 1, 1)),
    "unet": lambda: UNet(4),
    "odd": Odd,
    "shared": Shared,
    "computed": Computed,
    "decomposed": Decomposed,
}
FILES = (
    *("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50"),
    *("shufflenet", "squeezenet", "vgg19", "zfnet512"),
)
QUICK = ("convnext", "mobilenet-v3", "shared")
NAMES = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name in (*MODULES, *(f"light_{file}" for file in FILES))
]


def backbone_named(name: str) -> Graph:
    """Return a network up to its last feature map, with weights that differ."""
    if name in MODULES:
        torch.manual_seed(0)
        module = MODULES[name]()
        size = SIZES.get(name, 64)
        return drawn(read_backbone(read(module, torch.zeros(1, 3, size, size))))
    path = LIGHT / f"{name}.onnx"
    if not path.is_file():
        pytest.skip("this onnx package comes without the light models")
    return drawn(read_backbone(path, input_size=(64, 96)))


def usual_filler(value: ir.Value) -> Filler:
    """He normal for the weights of products, 1 for scales and variances, 0 for biases and means."""
    node, index = next(iter(value.uses()))
    if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") and index < 2:
        return Filler("msra", fan="out" if node.op_type == "MatMul" else "in")
    if node.op_type.endswith("Normalization"):
        return Filler("constant", 1.0 if index in (1, 4) else 0.0)
    return Filler("constant", {"Mul": 1.0, "Div": 1.0, "PRelu": 0.25}.get(node.op_type, 0.0))


def drawn(graph: Graph) -> Graph:
    """Draw all weights anew: the files hold constants, and new modules hold statistics that do nothing."""
    for name, value in graph.initializers.items():
        if role_of(value) == "static":
            continue
        filler = usual_filler(value)
        shape = tuple(size or 1 for size in shape_of(value))
        content = draw(filler, name, shape, 0).numpy()
        if len(shape) == 1:
            content = content + np.random.default_rng(len(name)).uniform(0, 0.1, shape).astype(np.float32)
        value.const_value = ir.Tensor(content, name=name)
    return graph
