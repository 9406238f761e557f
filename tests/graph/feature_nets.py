"""Small networks in the styles of well-known families, for an image of any size, with the maps that a head should read.

Each is written as its exporter writes it: with transpositions, Reshapes and pooled branches in the same places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx_models import model, tensor, weight

Map = tuple[str, int, int]
"""A value's name, its channels and its stride."""


@dataclass
class Net:
    """Writes nodes one by one; each gives one value, called as the node.

    Attributes:
        size: Rows and columns of the image ``x``.
    """

    size: tuple[int, int]
    channels: int = 3
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: list[onnx.TensorProto] = field(default_factory=list)

    def __call__(self, op: str, inputs: str, name: str, **attributes: Any) -> str:
        names = ["" if item == "-" else item for item in inputs.split()]
        self.nodes.append(helper.make_node(op, names, [name], name=name, **attributes))
        return name

    def weight(self, name: str, *shape: int) -> str:
        self.stored.append(weight(name, *shape, scale=1 / np.sqrt(max(1, int(np.prod(shape[1:]))))))
        return name

    def ints(self, *content: int) -> str:
        self.stored.append(tensor(f"i{len(self.stored)}", list(content)))
        return self.stored[-1].name

    def floats(self, *content: float) -> str:
        self.stored.append(tensor(f"f{len(self.stored)}", list(content), np.float32))
        return self.stored[-1].name

    def conv(self, source: str, name: str, c_in: int, c_out: int, k: int = 3, s: int = 1, **more: Any) -> str:
        """A convolution that keeps the size but for its stride; ``bias`` and ``group`` may be given."""
        groups = more.get("group", 1)
        inputs = f"{source} {self.weight(f'{name}.w', c_out, c_in // groups, k, k)}"
        inputs += f" {self.weight(f'{name}.b', c_out)}" if more.get("bias") else ""
        return self("Conv", inputs, name, pads=[(k - 1) // 2] * 4, strides=[s, s], group=groups)

    def conv_relu(self, source: str, name: str, c_in: int, c_out: int, k: int = 3, s: int = 1, **more: Any) -> str:
        self.conv(source, f"{name}.conv", c_in, c_out, k, s, **more)
        return self("Relu", f"{name}.conv", name)

    def norm(self, source: str, name: str, channels: int) -> str:
        """BatchNormalization."""
        ones = [tensor(f"{name}.{part}", np.ones(channels), np.float32) for part in ("scale", "var")]
        zeros = [tensor(f"{name}.{part}", np.zeros(channels), np.float32) for part in ("bias", "mean")]
        self.stored += [*ones, *zeros]
        return self("BatchNormalization", f"{source} {name}.scale {name}.bias {name}.mean {name}.var", name)

    def layer_norm(self, source: str, name: str, channels: int) -> str:
        self.stored += [tensor(f"{name}.g", np.ones(channels), np.float32), weight(f"{name}.h", channels)]
        return self("LayerNormalization", f"{source} {name}.g {name}.h", name, axis=-1)

    def linear(self, source: str, name: str, c_in: int, c_out: int) -> str:
        return self("MatMul", f"{source} {self.weight(f'{name}.w', c_in, c_out)}", name)

    def attend(self, query: str, turned_key: str, value: str) -> str:
        """softmax(query · keyᵀ) · value, as nodes ``pairs``, ``attention`` and ``attended``."""
        self("MatMul", f"{query} {turned_key}", "pairs")
        self("Softmax", "pairs", "attention", axis=-1)
        return self("MatMul", f"attention {value}", "attended")

    def tokens(self, source: str) -> str:
        """``[N, 8, H, W]`` as a ``sequence`` ``[N, H·W, 8]``."""
        self("Reshape", f"{source} {self.ints(0, 8, -1)}", "flat")
        return self("Transpose", "flat", "sequence", perm=[0, 2, 1])

    def with_mean_token(self, source: str) -> str:
        """The positions of a map as ``tokens``, behind one that is their mean."""
        self.tokens(source)
        self("ReduceMean", f"sequence {self.ints(1)}", "token", keepdims=1)
        return self("Concat", "token sequence", "tokens", axis=1)

    def classify_token(self, source: str, channels: int) -> onnx.ModelProto:
        """The first of several tokens, and a linear layer to ``y``."""
        self.stored.append(tensor("first", 0))
        self("Gather", f"{source} first", "read", axis=1)
        return self.file(self("Gemm", f"read {self.weight('fc', channels, 10)}", "y"))

    def resize(self, source: str, name: str, scale: int) -> str:
        return self("Resize", f"{source} - {self.floats(1, 1, scale, scale)}", name, mode="nearest")

    def classify(self, source: str, channels: int) -> onnx.ModelProto:
        """Pooling, Flatten, and a linear layer to ``y``."""
        self("GlobalAveragePool", source, "pooled")
        self("Flatten", "pooled", "flat")
        return self.file(self("Gemm", f"flat {self.weight('fc', channels, 10)}", "y"))

    def file(self, *outputs: str) -> onnx.ModelProto:
        return model(self.nodes, initializers=self.stored, shape=["n", self.channels, *self.size], outputs=outputs)


@dataclass(frozen=True)
class Style:
    """A network, and what a head reads of it.

    Attributes:
        build: Makes it for an image of so many rows and columns.
        last: The map for a head that reads one.
        pyramid: The maps for a head of several, the finest first.
        turned: Whether the last map is ``[N, C, H, W]`` in the file.
    """

    build: Callable[[tuple[int, int]], onnx.ModelProto]
    last: Map
    pyramid: tuple[Map, ...]
    turned: bool = False


STYLES: dict[str, Style] = {}


def style(*pyramid: Map, last: Map | None = None, turned: bool = False) -> Callable[[Any], Any]:
    def register(build: Any) -> Any:
        STYLES[build.__name__] = Style(build, last or pyramid[-1], pyramid, turned)
        return build

    return register


def stages(net: Net, count: int, width: int = 8) -> str:
    """``count`` convolutions of stride 2, each with a Relu: maps ``r1`` to ``r<count>`` at strides 2, 4…"""
    before, channels = "x", net.channels
    for index in range(1, count + 1):
        before = net.conv_relu(before, f"r{index}", channels, width, s=2)
        channels = width
    return before


def rolled(net: Net, source: str, name: str, axis: int, by: int) -> str:
    """An axis rolled by so many places: what is cut off one end is joined to the other."""
    net("Slice", f"{source} {net.ints(by)} {net.ints(2**31)} {net.ints(axis)}", f"{name}.end")
    net("Slice", f"{source} {net.ints(0)} {net.ints(by)} {net.ints(axis)}", f"{name}.start")
    return net("Concat", f"{name}.end {name}.start", name, axis=axis)


def widened_block(net: Net, **more: Any) -> str:
    """A map ``block`` at stride 4, and what an inverted residual block makes of it first: ``widened``."""
    stages(net, 2)
    net.conv("r2", "block", 8, 8, 1, bias=True)
    return net.conv_relu("block", "widened", 8, 48, 1, bias=True, **more)


def joined_layers(net: Net, name: str) -> str:
    """A map at stride 4 joined with a layer on it, of 16 channels."""
    stages(net, 2)
    net.conv("r2", "layer", 8, 8)
    return net("Concat", "r2 layer", name, axis=1)


@style(("add4", 8, 4), ("add8", 8, 8))
def convnext(size: tuple[int, int]) -> onnx.ModelProto:
    """Linear layers over the channels of an NHWC view; the pooled vector is normalised as [N, 1, 1, C]."""
    net = Net(size)
    before = net("Conv", f"x {net.weight('stem', 8, 3, 4, 4)}", "stem4", strides=[4, 4])
    for stride in (4, 8):
        if stride == 8:
            before = net("Conv", f"{before} {net.weight('down', 8, 8, 2, 2)}", "stem8", strides=[2, 2])
        net.conv(before, f"dw{stride}", 8, 8, 7, group=8)
        net("Transpose", f"dw{stride}", f"last{stride}", perm=[0, 2, 3, 1])
        net.layer_norm(f"last{stride}", f"ln{stride}", 8)
        net.linear(f"ln{stride}", f"up{stride}", 8, 16)
        net("Relu", f"up{stride}", f"act{stride}")
        net.linear(f"act{stride}", f"narrow{stride}", 16, 8)
        net("Transpose", f"narrow{stride}", f"first{stride}", perm=[0, 3, 1, 2])
        before = net("Add", f"{before} first{stride}", f"add{stride}")
    net("GlobalAveragePool", before, "pooled")
    net("Transpose", "pooled", "pooled_last", perm=[0, 2, 3, 1])
    net.layer_norm("pooled_last", "ln", 8)
    net("Transpose", "ln", "pooled_first", perm=[0, 3, 1, 2])
    net("Flatten", "pooled_first", "flat")
    return net.file(net("Gemm", f"flat {net.weight('fc', 8, 10)}", "y"))


@style(("add", 8, 4), ("norm", 16, 8), turned=True)
def swin(size: tuple[int, int]) -> onnx.ModelProto:
    """Channels last all the way; attention in shifted windows; four neighbours merged; pooled over H and W."""
    net = Net(size)
    rows, columns = size[0] // 4, size[1] // 4
    net("Conv", f"x {net.weight('stem', 8, 3, 4, 4)}", "patches", strides=[4, 4])
    net("Transpose", "patches", "last", perm=[0, 2, 3, 1])
    rolled(net, rolled(net, "last", "rolled_rows", 1, 2), "rolled", 2, 2)
    net("Reshape", f"rolled {net.ints(0, rows // 4, 4, columns // 4, 4, 8)}", "parted")
    net("Transpose", "parted", "windows", perm=[0, 1, 3, 2, 4, 5])
    net("Reshape", f"windows {net.ints(0, rows * columns // 16, 16, 8)}", "sequences")
    net.linear("sequences", "q", 8, 8)
    net.linear("sequences", "k", 8, 8)
    net.linear("sequences", "v", 8, 8)
    net("Transpose", "k", "k_turned", perm=[0, 1, 3, 2])
    net.attend("q", "k_turned", "v")
    net("Reshape", f"attended {net.ints(0, rows // 4, columns // 4, 4, 4, 8)}", "windows_again")
    net("Transpose", "windows_again", "parted_again", perm=[0, 1, 3, 2, 4, 5])
    net("Reshape", f"parted_again {net.ints(0, rows, columns, 8)}", "image_again")
    rolled(net, rolled(net, "image_again", "back_rows", 1, -2), "back", 2, -2)
    net("Add", "last back", "add")
    corners = []
    for row in (0, 1):
        for column in (0, 1):
            numbers = f"{net.ints(row, column)} {net.ints(2**31, 2**31)} {net.ints(1, 2)} {net.ints(2, 2)}"
            corners.append(net("Slice", f"add {numbers}", f"corner{row}{column}"))
    net("Concat", " ".join(corners), "merged", axis=-1)
    net.linear("merged", "reduced", 32, 16)
    net.layer_norm("reduced", "norm", 16)
    net("ReduceMean", f"norm {net.ints(1, 2)}", "pooled", keepdims=0)
    return net.file(net("Gemm", f"pooled {net.weight('fc', 16, 10)}", "y"))


@style(("norm", 8, 8), turned=True)
def vision_transformer(size: tuple[int, int]) -> onnx.ModelProto:
    """Positions on one axis behind a summary token, positions learned, and the class read off the token."""
    net = Net(size)
    count = size[0] * size[1] // 64
    net("Conv", f"x {net.weight('stem', 8, 3, 8, 8)}", "patches", strides=[8, 8])
    net.with_mean_token("patches")
    net("Add", f"tokens {net.weight('positions', 1, count + 1, 8)}", "placed")
    net.layer_norm("placed", "ln", 8)
    for name in "qkv":
        net.linear("ln", name, 8, 8)
        net("Reshape", f"{name} {net.ints(0, count + 1, 2, 4)}", f"{name}_heads")
    net("Transpose", "q_heads", "q_turned", perm=[0, 2, 1, 3])
    net("Transpose", "k_heads", "k_turned", perm=[0, 2, 3, 1])
    net("Transpose", "v_heads", "v_turned", perm=[0, 2, 1, 3])
    net.attend("q_turned", "k_turned", "v_turned")
    net("Transpose", "attended", "attended_turned", perm=[0, 2, 1, 3])
    net("Reshape", f"attended_turned {net.ints(0, count + 1, 8)}", "together")
    net("Add", "placed together", "add")
    net.layer_norm("add", "norm", 8)
    return net.classify_token("norm", 8)


@style(("add4", 8, 4), ("add8", 8, 8), turned=False)
def pyramid_vision_transformer(size: tuple[int, int]) -> onnx.ModelProto:
    """Keys and values come from a map that a convolution has reduced: coarser than what follows."""
    net = Net(size)
    before, channels = "x", 3
    for stride, step in ((4, 4), (8, 2)):
        rows, columns, s = size[0] // stride, size[1] // stride, str(stride)
        net.conv(before, f"embed{s}", channels, 8, 7, step)
        net("Reshape", f"embed{s} {net.ints(0, 8, -1)}", f"flat{s}")
        net("Transpose", f"flat{s}", f"tokens{s}", perm=[0, 2, 1])
        net.linear(f"tokens{s}", f"q{s}", 8, 8)
        net("Transpose", f"tokens{s}", f"turned{s}", perm=[0, 2, 1])
        net("Reshape", f"turned{s} {net.ints(0, 8, rows, columns)}", f"map{s}")
        net("Conv", f"map{s} {net.weight(f'sr{s}', 8, 8, 2, 2)}", f"reduced{s}", strides=[2, 2])
        net("Reshape", f"reduced{s} {net.ints(0, 8, -1)}", f"keys{s}")
        net("MatMul", f"q{s} keys{s}", f"pairs{s}")
        net("Softmax", f"pairs{s}", f"attention{s}", axis=-1)
        net("Transpose", f"keys{s}", f"values{s}", perm=[0, 2, 1])
        net("MatMul", f"attention{s} values{s}", f"attended{s}")
        net("Add", f"tokens{s} attended{s}", f"sum{s}")
        net.layer_norm(f"sum{s}", f"norm{s}", 8)
        net("Transpose", f"norm{s}", f"channels{s}", perm=[0, 2, 1])
        before = net("Reshape", f"channels{s} {net.ints(0, 8, rows, columns)}", f"add{s}")
        channels = 8
    return net.classify(before, 8)


@style(("r2", 8, 4), ("r3", 8, 8))
def rnet(size: tuple[int, int]) -> onnx.ModelProto:
    """MTCNN: rows and columns change places before the Flatten, as its weights came from another program."""
    net = Net(size)
    last = stages(net, 3)
    net("Transpose", last, "swapped", perm=[0, 3, 2, 1])
    net("Reshape", f"swapped {net.ints(0, -1)}", "flat")
    count = 8 * (size[0] // 8) * (size[1] // 8)
    net("Gemm", f"flat {net.weight('fc1', count, 16)}", "dense")
    net("Relu", "dense", "prelu")
    net("Gemm", f"prelu {net.weight('fc2', 16, 2)}", "score")
    net("Gemm", f"prelu {net.weight('fc3', 16, 4)}", "box")
    return net.file("box", "score")


@style(("fine", 16, 4), ("coarse", 32, 8))
def hrnet_backbone(size: tuple[int, int]) -> onnx.ModelProto:
    """Branches that exchange maps; the outputs are maps, and the finer one depends on the coarser branch."""
    net = Net(size)
    stages(net, 3)
    net.resize("r3", "up", 2)
    net("Add", "r2 up", "fused2")
    net.conv("r2", "down", 8, 8, s=2)
    net("Add", "r3 down", "fused3")
    net.conv_relu("fused2", "fine", 8, 16)
    net.conv_relu("fused3", "coarse", 8, 32)
    return net.file("fine", "coarse")


def gated(net: Net, source: str, scale: int) -> str:
    """A branch that pools, works there, and comes back to gate its own source."""
    net("AveragePool", source, f"{source}.pool", kernel_shape=[scale, scale], strides=[scale, scale])
    net.conv(f"{source}.pool", f"{source}.inner", 8, 8)
    net.resize(f"{source}.inner", f"{source}.up", scale)
    net("Sigmoid", f"{source}.up", f"{source}.gate")
    return net("Mul", f"{source} {source}.gate", f"{source}.gated")


def gated_stages(net: Net) -> str:
    """Maps at strides 4 and 8 that side branches gate, and ``s4`` at stride 16."""
    before = gated(net, stages(net, 2), 4)
    before = gated(net, net.conv_relu(before, "s3", 8, 8, s=2), 2)
    return net.conv_relu(before, "s4", 8, 8, s=2)


@style(("r2.gated", 8, 4), ("s3.gated", 8, 8), ("s4", 8, 16))
def residual_attention(size: tuple[int, int]) -> onnx.ModelProto:
    """SCNet, ResAttNet: at every stage a branch goes to the coarsest stride and back."""
    net = Net(size)
    return net.classify(gated_stages(net), 8)


@style(("r2.gated", 8, 4), ("s3.gated", 8, 8), ("p4", 8, 16))
def detector_on_side_branches(size: tuple[int, int]) -> onnx.ModelProto:
    """The same under a feature pyramid with two predictions a level: a side branch is no trunk."""
    net = Net(size)
    gated_stages(net)
    net.conv("s4", "p4", 8, 8, 1)
    net.resize("p4", "up", 2)
    net("Add", "s3.gated up", "p3")
    outputs = []
    for level in ("p3", "p4"):
        for kind in ("class", "box"):
            net.conv(level, f"{kind}_{level}", 8, 4, bias=True)
            outputs.append(net("Reshape", f"{kind}_{level} {net.ints(0, 4, -1)}", f"{kind}_{level}_list"))
    return net.file(*outputs)


@style(("r2", 8, 4), ("r3", 8, 8))
def squeezenet(size: tuple[int, int]) -> onnx.ModelProto:
    """Run only: no Dropout, no softmax; the classifier is a convolution, activated and pooled."""
    net = Net(size)
    stages(net, 3)
    net.conv_relu("r3", "classes", 8, 10, 1, bias=True)
    net("GlobalAveragePool", "classes", "pooled")
    return net.file(net("Flatten", "pooled", "y"))


@style(("r2", 8, 4), ("n3", 8, 8))
def network_in_network(size: tuple[int, int]) -> onnx.ModelProto:
    """The same where other convolutions are normalised, which is a sure sign."""
    net = Net(size)
    stages(net, 2)
    net.conv("r2", "c3", 8, 8, s=2)
    net.norm("c3", "n3", 8)
    net.conv("n3", "classes", 8, 10, 1, bias=True)
    net("ReduceMean", f"classes {net.ints(2, 3)}", "y", keepdims=0)
    return net.file("y")


@style(("r2", 8, 4), ("wide", 16, 8))
def mobilenet_without_classifier(size: tuple[int, int]) -> onnx.ModelProto:
    """Its last 1x1 convolution makes features: BatchNormalization is folded, the activation is a Clip."""
    net = Net(size)
    stages(net, 3)
    net.conv("r3", "last", 8, 16, 1, bias=True)
    net.stored += [tensor("zero", 0, np.float32), tensor("six", 6, np.float32)]
    net("Clip", "last zero six", "wide")
    net("GlobalAveragePool", "wide", "pooled")
    return net.file(net("Flatten", "pooled", "y"))


@style(("block", 8, 4), ("low", 16, 8))
def inverted_residuals(size: tuple[int, int]) -> onnx.ModelProto:
    """A stage ends before the block that goes down widens it."""
    net = Net(size)
    widened_block(net)
    net.conv_relu("widened", "depthwise", 48, 48, s=2, group=48, bias=True)
    net.conv("depthwise", "low", 48, 16, 1, bias=True)
    return net.classify("low", 16)


@style(("r2", 8, 4), ("sum", 8, 8))
def shuffled(size: tuple[int, int]) -> onnx.ModelProto:
    """ShuffleNet: channels in two groups, dealt out again."""
    net = Net(size)
    stages(net, 3)
    rows, columns = size[0] // 8, size[1] // 8
    net.conv("r3", "grouped", 8, 8, 1, group=2)
    net("Reshape", f"grouped {net.ints(0, 2, 4, rows, columns)}", "apart")
    net("Transpose", "apart", "dealt", perm=[0, 2, 1, 3, 4])
    net("Reshape", f"dealt {net.ints(0, 8, rows, columns)}", "together")
    net("Add", "r3 together", "sum")
    return net.classify("sum", 8)


@style(("r2", 8, 4), ("excited", 8, 8))
def squeeze_and_excitation(size: tuple[int, int]) -> onnx.ModelProto:
    """The gate goes through linear layers as [N, C]."""
    net = Net(size)
    stages(net, 3)
    net("GlobalAveragePool", "r3", "squeezed")
    net("Reshape", f"squeezed {net.ints(0, -1)}", "vector")
    net("Gemm", f"vector {net.weight('se', 8, 8)}", "weights")
    net("Sigmoid", "weights", "gate")
    net("Unsqueeze", f"gate {net.ints(2, 3)}", "gate4")
    net("Mul", "r3 gate4", "excited")
    return net.classify("excited", 8)


@style(("r2", 8, 4), ("sum", 8, 8))
def non_local(size: tuple[int, int]) -> onnx.ModelProto:
    """Every position attends to every other one (Wang et al. 2018)."""
    net = Net(size)
    stages(net, 3)
    for name in ("theta", "phi", "g"):
        net.conv("r3", name, 8, 8, 1)
        net("Reshape", f"{name} {net.ints(0, 8, -1)}", f"{name}_flat")
    net("Transpose", "theta_flat", "rows", perm=[0, 2, 1])
    net("MatMul", "rows phi_flat", "pairs")
    net("Softmax", "pairs", "attention", axis=-1)
    net("Transpose", "g_flat", "values", perm=[0, 2, 1])
    net("MatMul", "attention values", "attended")
    net("Transpose", "attended", "channels", perm=[0, 2, 1])
    net("Reshape", f"channels {net.ints(0, 8, size[0] // 8, size[1] // 8)}", "map")
    net("Add", "r3 map", "sum")
    return net.classify("sum", 8)


@style(("r2", 8, 4), ("gated", 8, 8))
def coordinate_attention(size: tuple[int, int]) -> onnx.ModelProto:
    """Means of rows and of columns share a convolution, one after the other on an axis (Hou et al. 2021)."""
    net = Net(size)
    stages(net, 3)
    rows, columns = size[0] // 8, size[1] // 8
    net("ReduceMean", f"r3 {net.ints(3)}", "of_rows", keepdims=1)
    net("ReduceMean", f"r3 {net.ints(2)}", "of_columns", keepdims=1)
    net("Transpose", "of_columns", "columns_turned", perm=[0, 1, 3, 2])
    net("Concat", "of_rows columns_turned", "both", axis=2)
    net.conv_relu("both", "mixed", 8, 8, 1)
    net.nodes.append(helper.make_node("Split", ["mixed", net.ints(rows, columns)], ["a", "b"], name="split", axis=2))
    net("Transpose", "b", "b_turned", perm=[0, 1, 3, 2])
    net.conv("a", "row_gate", 8, 8, 1)
    net.conv("b_turned", "column_gate", 8, 8, 1)
    net("Mul", "r3 row_gate", "gated_rows")
    net("Mul", "gated_rows column_gate", "gated")
    return net.classify("gated", 8)


@style(("joined", 10, 4), ("c3", 8, 8))
def coordinates(size: tuple[int, int]) -> onnx.ModelProto:
    """CoordConv: two more channels hold each pixel's place."""
    net = Net(size)
    stages(net, 2)
    rows, columns = size[0] // 4, size[1] // 4
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij"))
    net.stored.append(tensor("grid", grid[None], np.float32))
    net("ReduceMean", f"r2 {net.ints(1)}", "one", keepdims=1)
    net.stored.append(tensor("nothing", [0.0], np.float32))
    net("Mul", "one nothing", "none")
    net("Add", "none grid", "placed")
    net("Concat", "r2 placed", "joined", axis=1)
    net.conv("joined", "c3", 10, 8, s=2)
    return net.classify("c3", 8)


@style(("s4", 8, 4), ("s8", 8, 8))
def space_to_depth(size: tuple[int, int]) -> onnx.ModelProto:
    """A stem of Reshapes: blocks of 4 x 4 pixels become channels; then every other pixel, four times."""
    net = Net(size)
    rows, columns = size[0] // 4, size[1] // 4
    net("Reshape", f"x {net.ints(0, 3, rows, 4, columns, 4)}", "blocks")
    net("Transpose", "blocks", "inside_first", perm=[0, 3, 5, 1, 2, 4])
    net("Reshape", f"inside_first {net.ints(0, 48, rows, columns)}", "deep")
    net.conv_relu("deep", "s4", 48, 8)
    parts = []
    for row in (0, 1):
        for column in (0, 1):
            numbers = f"{net.ints(row, column)} {net.ints(2**31, 2**31)} {net.ints(2, 3)} {net.ints(2, 2)}"
            parts.append(net("Slice", f"s4 {numbers}", f"part{row}{column}"))
    net("Concat", " ".join(parts), "focus", axis=1)
    net.conv_relu("focus", "s8", 32, 8)
    return net.classify("s8", 8)


@style(("r2", 8, 4), ("deep", 48, 8), last=("shuffled", 3, 2))
def pixel_shuffle(size: tuple[int, int]) -> onnx.ModelProto:
    """A tail that makes 4 x 4 pixels of 16 groups of channels by Reshapes; the network ends in that map."""
    net = Net(size)
    stages(net, 3)
    rows, columns = size[0] // 8, size[1] // 8
    net.conv("r3", "deep", 8, 48)
    net("Reshape", f"deep {net.ints(0, 3, 4, 4, rows, columns)}", "blocks")
    net("Transpose", "blocks", "spread", perm=[0, 1, 4, 2, 5, 3])
    return net.file(net("Reshape", f"spread {net.ints(0, 3, rows * 4, columns * 4)}", "shuffled"))


@style(("r2", 8, 4), ("r3", 8, 8), last=("out", 5, 1))
def unet(size: tuple[int, int]) -> onnx.ModelProto:
    """The network ends in a map at full size; the maps of its encoder are for a head of several."""
    net = Net(size)
    stages(net, 3)
    net.resize("r3", "up3", 2)
    net("Concat", "up3 r2", "joined2", axis=1)
    net.conv_relu("joined2", "d2", 16, 8)
    net.resize("d2", "up2", 4)
    return net.file(net.conv("up2", "out", 8, 5))


@style(("r2", 8, 4), ("r3", 8, 8))
def autoencoder(size: tuple[int, int]) -> onnx.ModelProto:
    """A vector is made of the map, and a map of the vector, which is no picture of the image any more."""
    net = Net(size)
    last = stages(net, 3)
    rows, columns = size[0] // 8, size[1] // 8
    net("Flatten", last, "flat")
    net("Gemm", f"flat {net.weight('code', 8 * rows * columns, 6)}", "coded")
    net("Gemm", f"coded {net.weight('uncode', 6, 8 * rows * columns)}", "decoded")
    net("Reshape", f"decoded {net.ints(0, 8, rows, columns)}", "grid")
    return net.file(net.conv("grid", "y", 8, 3))


@style(("r2", 8, 4), ("r3", 8, 8))
def keras_without_top(size: tuple[int, int]) -> onnx.ModelProto:
    """The output has its channels last again."""
    net = Net(size)
    return net.file(net("Transpose", stages(net, 3), "y", perm=[0, 2, 3, 1]))


@style(("r2", 8, 4), ("mixed", 8, 8), turned=True)
def mlp_mixer(size: tuple[int, int]) -> onnx.ModelProto:
    """A linear layer over all positions: what it makes means what it is added to (Tolstikhin et al. 2021)."""
    net = Net(size)
    stages(net, 3)
    count = size[0] * size[1] // 64
    net("Reshape", f"r3 {net.ints(0, 8, -1)}", "channels")
    net.linear("channels", "positions", count, count)
    net("Add", "channels positions", "sum")
    net("Transpose", "sum", "tokens", perm=[0, 2, 1])
    net.linear("tokens", "mixed", 8, 8)
    net("ReduceMean", f"mixed {net.ints(1)}", "pooled", keepdims=0)
    return net.file(net("Gemm", f"pooled {net.weight('fc', 8, 10)}", "y"))


@style(("r2", 8, 4), ("sum", 8, 8))
def relative_attention(size: tuple[int, int]) -> onnx.ModelProto:
    """BoTNet: a bias for each pair of positions, shifted into place by Pads and Reshapes that no axis survives."""
    net = Net(size)
    stages(net, 3)
    rows, columns = size[0] // 8, size[1] // 8
    for name in "qkv":
        net.conv("r3", name, 8, 8, 1)
        net("Reshape", f"{name} {net.ints(0, 8, -1)}", f"{name}_flat")
    net("Transpose", "q_flat", "q_turned", perm=[0, 2, 1])
    net("MatMul", "q_turned k_flat", "scores")
    net("Reshape", f"q_turned {net.ints(0, rows, columns, 8)}", "q_map")
    net.linear("q_map", "relative", 8, 2 * columns - 1)
    net("Pad", f"relative {net.ints(0, 0, 0, 0, 0, 0, 0, 1)}", "wider")
    net("Reshape", f"wider {net.ints(0, rows, -1)}", "line")
    net("Pad", f"line {net.ints(0, 0, 0, 0, 0, columns - 1)}", "longer")
    net("Reshape", f"longer {net.ints(0, rows, columns + 1, 2 * columns - 1)}", "skewed")
    ends = f"{net.ints(0, columns - 1)} {net.ints(columns, 2**31)} {net.ints(2, 3)}"
    net("Slice", f"skewed {ends}", "absolute")
    net("Reshape", f"absolute {net.ints(0, rows, columns, 1, columns)}", "apart")
    net("Expand", f"apart {net.ints(1, 1, 1, rows, 1)}", "repeated")
    net("Reshape", f"repeated {net.ints(0, rows * columns, rows * columns)}", "bias")
    net("Add", "scores bias", "biased")
    net("Softmax", "biased", "attention", axis=-1)
    net("Transpose", "v_flat", "v_turned", perm=[0, 2, 1])
    net("MatMul", "attention v_turned", "attended")
    net("Transpose", "attended", "channels", perm=[0, 2, 1])
    net("Reshape", f"channels {net.ints(0, 8, rows, columns)}", "map")
    net("Add", "r3 map", "sum")
    return net.classify("sum", 8)


@style(("norm", 8, 8), turned=True)
def conditional_positions(size: tuple[int, int]) -> onnx.ModelProto:
    """CoaT: a convolution over the positions behind the token; a Pad puts a nothing in its place."""
    net = Net(size)
    rows, columns = size[0] // 8, size[1] // 8
    net("Conv", f"x {net.weight('stem', 8, 3, 8, 8)}", "patches", strides=[8, 8])
    net.with_mean_token("patches")
    net("Slice", f"tokens {net.ints(1)} {net.ints(2**31)} {net.ints(1)}", "behind")
    net("Transpose", "behind", "channels", perm=[0, 2, 1])
    net("Reshape", f"channels {net.ints(0, 8, rows, columns)}", "map")
    net.conv("map", "placed", 8, 8, group=8)
    net("Reshape", f"placed {net.ints(0, 8, -1)}", "placed_flat")
    net("Transpose", "placed_flat", "positions", perm=[0, 2, 1])
    net("Pad", f"positions {net.ints(0, 1, 0, 0, 0, 0)}", "padded")
    net("Add", "tokens padded", "sum")
    net.layer_norm("sum", "norm", 8)
    return net.classify_token("norm", 8)


@style(("r2", 8, 4), ("sum", 8, 8))
def unfolded(size: tuple[int, int]) -> onnx.ModelProto:
    """Windows of 3 x 3 gathered by stored places, as exporters write an unfold; each is a weighted mean of itself."""
    net = Net(size)
    stages(net, 3)
    net("Pad", f"r3 {net.ints(0, 0, 1, 1, 0, 0, 1, 1)}", "wider")
    for axis, length in ((2, size[0] // 8), (3, size[1] // 8)):
        places = np.arange(3)[:, None] + np.arange(length)[None, :]
        net.stored.append(tensor(f"places{axis}", places))
    net("Gather", "wider places2", "of_rows", axis=2)
    net("Gather", "of_rows places3", "windows", axis=4)
    net("Transpose", "windows", "places_last", perm=[0, 1, 3, 5, 2, 4])
    net("ReduceMean", f"places_last {net.ints(4, 5)}", "means", keepdims=0)
    net("Add", "r3 means", "sum")
    return net.classify("sum", 8)


@style(("wide", 16, 4), ("low", 16, 8))
def depthwise_between_stages(size: tuple[int, int]) -> onnx.ModelProto:
    """HGNet: a stage ends in a 1x1 convolution that widens, and a depthwise one goes down; nothing narrows it again."""
    net = Net(size)
    stages(net, 2)
    net.conv_relu("r2", "wide", 8, 16, 1, bias=True)
    net.conv("wide", "down", 16, 16, s=2, group=16, bias=True)
    net.conv_relu("down", "low", 16, 16, 1, bias=True)
    return net.classify("low", 16)


@style(("r2", 8, 4), ("mixed", 8, 8), turned=True)
def columns_first(size: tuple[int, int]) -> onnx.ModelProto:
    """Positions go column by column, as in a network whose weights came from a program that counts so."""
    net = Net(size)
    net("Transpose", stages(net, 3), "turned", perm=[0, 3, 2, 1])
    net("Reshape", f"turned {net.ints(0, -1, 8)}", "tokens")
    net.linear("tokens", "mixed", 8, 8)
    net("ReduceMean", f"mixed {net.ints(1)}", "pooled", keepdims=0)
    return net.file(net("Gemm", f"pooled {net.weight('fc', 8, 10)}", "y"))


@style(("block", 8, 4), ("low", 16, 8))
def padded_way_down(size: tuple[int, int]) -> onnx.ModelProto:
    """MobileNet of TensorFlow: what a block widens is padded at one end for the convolution that goes down."""
    net = Net(size)
    widened_block(net)
    net("Pad", f"widened {net.ints(0, 0, 0, 0, 0, 0, 1, 1)}", "padded")
    net("Conv", f"padded {net.weight('depthwise.w', 48, 1, 3, 3)}", "depthwise", strides=[2, 2], group=48)
    net("Relu", "depthwise", "active")
    net.conv("active", "low", 48, 16, 1, bias=True)
    return net.classify("low", 16)


@style(("block", 8, 4), ("low", 16, 8))
def averaged_way_down(size: tuple[int, int]) -> onnx.ModelProto:
    """A block whose depthwise convolution is averaged after it (Zhang 2019)."""
    net = Net(size)
    widened_block(net)
    net.conv_relu("widened", "depthwise", 48, 48, group=48, bias=True)
    net("AveragePool", "depthwise", "blurred", kernel_shape=[2, 2], strides=[2, 2])
    net.conv("blurred", "low", 48, 16, 1, bias=True)
    return net.classify("low", 16)


@style(("block", 8, 4), ("low", 48, 8))
def block_that_ends_wide(size: tuple[int, int]) -> onnx.ModelProto:
    """TinyViT's way down: an inverted block that ends as wide as it is inside; its activation is written out."""
    net = Net(size)
    widened_block(net)
    net.conv("widened", "depthwise", 48, 48, s=2, group=48, bias=True)
    net("Div", f"depthwise {net.floats(1.4)}", "divided")
    net("Erf", "divided", "erf")
    net("Mul", "depthwise erf", "active")
    net.conv("active", "low", 48, 48, 1, bias=True)
    return net.classify("low", 48)


@style(("block", 8, 4), ("low", 16, 8))
def shuffled_inverted_residuals(size: tuple[int, int]) -> onnx.ModelProto:
    """IGCV3: a block's 1x1 convolutions are grouped, and channels are dealt out again after the first."""
    net = Net(size)
    widened_block(net, group=2)
    net("Reshape", f"widened {net.ints(0, 2, 24, size[0] // 4, size[1] // 4)}", "apart")
    net("Transpose", "apart", "dealt", perm=[0, 2, 1, 3, 4])
    net("Reshape", f"dealt {net.ints(0, 48, size[0] // 4, size[1] // 4)}", "together")
    net.conv_relu("together", "depthwise", 48, 48, s=2, group=48, bias=True)
    net.conv("depthwise", "low", 48, 16, 1, group=2, bias=True)
    return net.classify("low", 16)


@style(("dense", 16, 4), ("low", 8, 8))
def dense_transition(size: tuple[int, int]) -> onnx.ModelProto:
    """DenseNet: what a dense block has joined is narrowed for the next one, and averaged."""
    net = Net(size)
    joined_layers(net, "dense")
    net.norm("dense", "normal", 16)
    net("Relu", "normal", "active")
    net.conv("active", "narrow", 16, 8, 1)
    net("AveragePool", "narrow", "down", kernel_shape=[2, 2], strides=[2, 2])
    net.conv("down", "low", 8, 8)
    return net.classify("low", 8)


@style(("cell", 16, 4), ("low", 16, 8))
def narrowed_cell(size: tuple[int, int]) -> onnx.ModelProto:
    """NASNet: a cell narrows what it reads, and two of its branches go down from there, one padded."""
    net = Net(size)
    stages(net, 2)
    net.conv("r2", "a", 8, 8)
    net.conv("r2", "b", 8, 8)
    net("Concat", "a b", "cell", axis=1)
    net("Relu", "cell", "cell_active")
    net.conv("cell_active", "narrow", 16, 8, 1)
    net("Relu", "narrow", "left_active")
    net.conv("left_active", "left_a", 8, 8, s=2)
    net.conv("left_active", "left_b", 8, 8, s=2)
    net("Add", "left_a left_b", "left")
    net("Pad", f"narrow {net.ints(0, 0, 1, 1, 0, 0, 1, 1)}", "padded")
    net("MaxPool", "padded", "right", kernel_shape=[4, 4], strides=[2, 2])
    net("Concat", "left right", "low", axis=1)
    return net.classify("low", 16)


@style(("root", 8, 4), ("low", 16, 8))
def aggregated_stage(size: tuple[int, int]) -> onnx.ModelProto:
    """DLA: a stage ends in an activated 1x1 convolution that narrows what was joined, and two ways go down from it."""
    net = Net(size)
    joined_layers(net, "joined")
    net.conv_relu("joined", "root", 16, 8, 1)
    net.conv("root", "left", 8, 8, s=2)
    net("MaxPool", "root", "right", kernel_shape=[2, 2], strides=[2, 2])
    net("Concat", "left right", "low", axis=1)
    return net.classify("low", 16)


@style(("narrow", 8, 4), ("low", 8, 8))
def narrowed_stage(size: tuple[int, int]) -> onnx.ModelProto:
    """VoVNet and YOLO: a stage itself ends in a 1x1 convolution that narrows what was joined."""
    net = Net(size)
    joined_layers(net, "joined")
    net.conv_relu("joined", "narrow", 16, 8, 1, bias=True)
    net.conv_relu("narrow", "low", 8, 8, s=2, bias=True)
    return net.classify("low", 8)


@style(("r2", 8, 4), ("r3", 8, 8))
def pooled_by_attention(size: tuple[int, int]) -> onnx.ModelProto:
    """CLIP's ResNet: the mean of all positions, joined with them, asks them; their own answers are not read."""
    net = Net(size)
    count = size[0] * size[1] // 64
    net.with_mean_token(stages(net, 3))
    net("Add", f"tokens {net.weight('positions', 1, count + 1, 8)}", "placed")
    for name in "qkv":
        net.linear("placed", name, 8, 8)
    net("Transpose", "k", "k_turned", perm=[0, 2, 1])
    net.attend("q", "k_turned", "v")
    net.linear("attended", "out", 8, 16)
    return net.classify_token("out", 16)


@style(("r2", 8, 4), ("r3", 8, 8), ("fused", 16, 16))
def pooled_to_more_windows(size: tuple[int, int]) -> onnx.ModelProto:
    """A pyramid of poolings (Zhao et al. 2017), one to more places than the map has, gathered by a table of them."""
    net = Net(size)
    stages(net, 4)
    rows, columns = size[0] // 16, size[1] // 16
    branch = "r4"
    for axis, length in ((2, rows), (4, columns)):
        starts = np.arange(length + 2) * length // (length + 2)
        net.stored.append(tensor(f"places{axis}", np.minimum(starts[:, None] + np.arange(2), length - 1)))
        branch = net("Gather", f"{branch} places{axis}", f"windows{axis}", axis=axis)
    net("ReduceMean", f"{branch} {net.ints(3, 5)}", "means", keepdims=0)
    net("Resize", f"means - - {net.ints(rows, columns)}", "resized", mode="linear", axes=[2, 3])
    net("Concat", "r4 resized", "joined", axis=1)
    net.conv("joined", "fused", 16, 16)
    return net.classify("fused", 16)


@style(("add", 8, 4), ("norm", 8, 8))
def asked_by_a_small_picture(size: tuple[int, int]) -> onnx.ModelProto:
    """GCViT (Hatamizadeh et al. 2023): the same queries ask every window, those of a map as small as a window."""
    net = Net(size)
    rows, columns = size[0] // 4, size[1] // 4
    high, wide = rows // 4, columns // 4
    stages(net, 2)
    net("MaxPool", "r2", "small", kernel_shape=[high, wide], strides=[high, wide])
    net("Reshape", f"small {net.ints(0, 8, 16)}", "small_flat")
    net("Transpose", "small_flat", "asking", perm=[0, 2, 1])
    net("Unsqueeze", f"asking {net.ints(1)}", "queries")
    net("Transpose", "r2", "last", perm=[0, 2, 3, 1])
    net("Reshape", f"last {net.ints(0, high, 4, wide, 4, 8)}", "parted")
    net("Transpose", "parted", "windows", perm=[0, 1, 3, 2, 4, 5])
    net("Reshape", f"windows {net.ints(0, high * wide, 16, 8)}", "sequences")
    net("Transpose", "sequences", "keys", perm=[0, 1, 3, 2])
    net.attend("queries", "keys", "sequences")
    net("Reshape", f"attended {net.ints(0, high, wide, 4, 4, 8)}", "windows_again")
    net("Transpose", "windows_again", "parted_again", perm=[0, 1, 3, 2, 4, 5])
    net("Reshape", f"parted_again {net.ints(0, rows, columns, 8)}", "image_again")
    net("Add", "last image_again", "sum")
    net("Transpose", "sum", "add", perm=[0, 3, 1, 2])
    net.conv_relu("add", "norm", 8, 8, s=2)
    return net.classify("norm", 8)


@style(("r2", 8, 4), ("low", 8, 8), turned=True)
def pooled_in_windows(size: tuple[int, int]) -> onnx.ModelProto:
    """Hiera (Ryali et al. 2023): a map lies in windows, each pooled by itself, and is put together later."""
    net = Net(size)
    rows, columns = size[0] // 4, size[1] // 4
    net("Transpose", stages(net, 2), "last", perm=[0, 2, 3, 1])
    net("Reshape", f"last {net.ints(0, rows // 4, 4, columns // 4, 4, 8)}", "parted")
    net("Transpose", "parted", "windows", perm=[0, 1, 3, 5, 2, 4])
    net("Reshape", f"windows {net.ints(0, rows * columns // 2, 4, 4)}", "merged")
    net("MaxPool", "merged", "pooled", kernel_shape=[2, 2], strides=[2, 2])
    net("Reshape", f"pooled {net.ints(0, rows // 4, columns // 4, 8, 2, 2)}", "parts")
    net("Transpose", "parts", "again", perm=[0, 1, 4, 2, 5, 3])
    net("Reshape", f"again {net.ints(0, rows // 2, columns // 2, 8)}", "whole")
    net.linear("whole", "low", 8, 8)
    net("ReduceMean", f"low {net.ints(1, 2)}", "mean", keepdims=0)
    return net.file(net("Gemm", f"mean {net.weight('fc', 8, 10)}", "y"))


@style(("r2", 8, 4), ("a8", 16, 8), ("low", 8, 16))
def late_side_branch(size: tuple[int, int]) -> onnx.ModelProto:
    """NASNet: a cell reads the one before the last too, and what fits that map to the others is computed late."""
    net = Net(size)
    stages(net, 2)
    net.conv_relu("r2", "b8", 8, 16, s=2)
    net.conv_relu("b8", "a8", 16, 16)
    net.conv_relu("a8", "down", 16, 8, s=2)
    net("MaxPool", "r2", "fitted", kernel_shape=[2, 2], strides=[2, 2])
    net.conv("fitted", "side", 8, 8, 1)
    net.conv("side", "side_a", 8, 8, s=2)
    net.conv("side", "side_b", 8, 8, s=2)
    net("Sum", "down side_a side_b", "low")
    return net.classify("low", 8)


@style(("p2", 8, 4), ("low", 8, 8))
def slope_of_the_image(size: tuple[int, int]) -> onnx.ModelProto:
    """A PRelu whose slope is computed from the image has two sources; the map stays what it is."""
    net = Net(size)
    stages(net, 2)
    net.conv("r2", "slope", 8, 8, 1)
    net("PRelu", "r2 slope", "p2")
    net("AveragePool", "p2", "down", kernel_shape=[2, 2], strides=[2, 2])
    net.conv("down", "low", 8, 8)
    return net.classify("low", 8)
