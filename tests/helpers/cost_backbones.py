"""Backbones whose costs need care: products of computed values, followers, concatenations, weights read twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from backbones import BACKBONES, conv, unit

from trunkline.fragments.layers import batch_norm
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, shape_of
from trunkline.graph.verify import verify


def node(b: GraphBuilder, op: str, inputs: list[ir.Value], name: str, **attributes: object) -> ir.Value:
    return b.node(op, inputs, name=name, attributes=attributes)


def reshaped(b: GraphBuilder, x: ir.Value, name: str, *sizes: int) -> ir.Value:
    return node(b, "Reshape", [x, b.tensor(f"{name}.shape", np.array(sizes, dtype=np.int64))], name, allowzero=0)


def dense(b: GraphBuilder, x: ir.Value, name: str, width: int) -> ir.Value:
    weight = b.weight(f"{name}.weight", (int(shape_of(x)[-1] or 0), width), Filler("xavier"))
    return node(b, "MatMul", [x, weight], name)


def attention(size: int = 8) -> Graph:
    """Self-attention over pixels between two convolutions, with a residual connection and a skippable layer."""
    b = GraphBuilder("attention")
    x = unit(b, b.image("image", (3, size, size)), "stem", 6, stride=2)
    pixels = (size // 2) ** 2
    tokens = node(b, "Transpose", [reshaped(b, x, "flat", 0, 6, pixels)], "tokens", perm=[0, 2, 1])
    query, key, value = (dense(b, tokens, name, width) for name, width in (("q", 4), ("k", 4), ("v", 6)))
    turned = node(b, "Transpose", [key], "turned", perm=[0, 2, 1])
    weights = node(b, "Softmax", [node(b, "MatMul", [query, turned], "scores")], "softmax", axis=-1)
    y = node(b, "Add", [tokens, node(b, "MatMul", [weights, value], "mixed")], "joined")
    y = dense(b, y, "mlp", 6)
    y = reshaped(b, node(b, "Transpose", [y], "back", perm=[0, 2, 1]), "map", 0, 6, size // 2, size // 2)
    return b.finish([unit(b, y, "last", 6)])


def non_local(size: int = 8) -> Graph:
    """A non-local block of 1×1 convolutions whose two products are Einsums."""
    b = GraphBuilder("non_local")
    x = unit(b, b.image("image", (3, size, size)), "stem", 4, stride=2)
    theta, phi, g = (conv(b, x, name, 4, kernel=1) for name in ("theta", "phi", "g"))
    flat = [reshaped(b, value, f"flat_{i}", 0, 4, (size // 2) ** 2) for i, value in enumerate((theta, phi, g))]
    weights = node(b, "Softmax", [node(b, "Einsum", flat[:2], "affinity", equation="nci,ncj->nij")], "soft", axis=-1)
    y = node(b, "Einsum", [weights, flat[2]], "gathered", equation="nij,ncj->nci")
    y = node(b, "Add", [x, reshaped(b, y, "map", 0, 4, size // 2, size // 2)], "joined")
    return b.finish([conv(b, y, "last", 4, bias=True)])


def dense_net(size: int = 8) -> Graph:
    """Concatenations with a BatchNormalization and a PRelu behind each: followers, of units that may be skipped."""
    b = GraphBuilder("dense_net")
    x = conv(b, b.image("image", (3, size, size)), "stem", 4, stride=2)
    for i in range(2):
        y = batch_norm(b, x, f"norm{i}")
        slope = b.weight(f"slope{i}.weight", (int(shape_of(y)[1] or 0), 1, 1), Filler("constant", 0.25))
        y = node(b, "PRelu", [y, slope], f"slope{i}")
        x = node(b, "Concat", [conv(b, y, f"grow{i}", 4), x], f"concat{i}", axis=1)
    return b.finish([batch_norm(b, conv(b, x, "squeeze", 6, kernel=1), "last_norm")])


def shrinking(size: int = 13) -> Graph:
    """Units whose skip is a subsampling or a projection, with layers behind them."""
    b = GraphBuilder("shrinking")
    x = unit(b, b.image("image", (3, size, size)), "stem", 6, kernel=1)
    x = unit(b, x, "valid", 6, pad=0)
    x = unit(b, x, "strided", 6, stride=2)
    x = unit(b, x, "wider", 8)
    return b.finish([unit(b, x, "last", 8)])


def pyramid(size: int = 8) -> Graph:
    """Two feature maps; the first has a layer and a follower that nothing else reads."""
    b = GraphBuilder("pyramid")
    x = unit(b, b.image("image", (3, size, size)), "stem", 4, stride=2)
    y = unit(b, x, "down", 4, stride=2)
    side = batch_norm(b, node(b, "Add", [conv(b, x, "side", 4), x], "side_join"), "side_norm")
    return b.finish([side, conv(b, y, "deep", 4)])


def siamese(size: int = 8) -> Graph:
    """One kernel that two layers read, and a scale that belongs to no unit because it stands before all of them."""
    b = GraphBuilder("siamese")
    scale = b.weight("scale.weight", (3, 1, 1), Filler("constant", 1.0))
    x = node(b, "Mul", [b.image("image", (3, size, size)), scale], "scale")
    x = conv(b, x, "stem", 4)
    kernel = b.weight("twin.weight", (4, 4, 3, 3), Filler("msra"))
    settings = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1], "group": 1}
    x = node(b, "Relu", [node(b, "Conv", [x, kernel], "first", **settings)], "relu")
    return b.finish([node(b, "Conv", [x, kernel], "second", **settings)])


def computed_weight(size: int = 8) -> Graph:
    """A linear layer whose weight is computed; were it skipped, what computes its weight would go with it."""
    b = GraphBuilder("computed_weight")
    x = conv(b, b.image("image", (3, size, size)), "stem", 4, stride=2)
    flat = node(b, "Flatten", [node(b, "GlobalAveragePool", [x], "pooled")], "flat", axis=1)
    direction = b.weight("direction.weight", (4, 4), Filler("xavier"))
    weight = node(b, "Mul", [direction, b.weight("length.weight", (4, 1), Filler("constant", 1.0))], "weight")
    y = node(b, "Gemm", [flat, weight, b.weight("gate.bias", (4,), Filler("gaussian", 0.1))], "gate", transB=1)
    y = node(b, "Mul", [x, reshaped(b, y, "gate_map", 0, 4, 1, 1)], "gated")
    return b.finish([conv(b, y, "last", 4)])


def head_of_all_maps(backbone: Graph) -> Graph:
    """A head that reads every feature map: pooled, side by side, through one layer."""
    b = GraphBuilder("head")
    maps = [b.input(f"map{i}", shape_of(value)) for i, value in enumerate(backbone.outputs)]
    pooled = [node(b, "GlobalAveragePool", [x], f"pool{i}") for i, x in enumerate(maps)]
    x = node(b, "Concat", pooled, "maps", axis=1)
    return verify(b.finish([conv(b, x, "classes", 2, kernel=1)]), maps=len(maps))


COSTLY: dict[str, Callable[[], Graph]] = {
    **BACKBONES,
    **{make.__name__: make for make in (attention, non_local, dense_net, shrinking, pyramid, siamese, computed_weight)},
}
