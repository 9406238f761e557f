"""Properties of a merged batch: random networks of tokens and windows compute, once read, what their files do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import assert_close, image, model, run, save, tensor, to_proto

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Graph, shape_of
from trunkline.ingest.read import read

pytestmark = pytest.mark.properties

N = 0
"""The factor of a size that is the batch."""


@dataclass
class Net:
    """A network as it is drawn: each axis of its value is a product of factors, one of which is the batch."""

    batch: int | str
    sizes: list[int] = field(default_factory=lambda: [1, 3, 4, 4])
    groups: list[list[int]] = field(default_factory=lambda: [[N], [1], [2], [3]])
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: list[onnx.TensorProto] = field(default_factory=list)
    value: str = "x"

    def add(self, op: str, *operands: str, **attributes: Any) -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, [self.value, *operands], [name], name=f"{op}{len(self.nodes)}", **attributes)
        )
        self.value = name

    def constant(self, content: Any, dtype: type = np.float32) -> str:
        self.stored.append(tensor(f"c{len(self.stored)}", content, dtype))
        return self.stored[-1].name

    def size(self, group: list[int]) -> int:
        """What the file names for an axis: −1 for one with a free batch."""
        if N in group and isinstance(self.batch, str):
            return -1
        return math.prod(self.batch if factor == N else self.sizes[factor] for factor in group)

    def reshape(self, groups: list[list[int]]) -> None:
        self.groups = groups
        self.add("Reshape", self.constant([self.size(group) for group in groups], np.int64))

    def sized(self, content: np.ndarray[Any, Any], axis: int) -> str:
        """Repeat ``content``, which is alike along ``axis``, to the batch: in the file, or by its own arithmetic."""
        group = self.groups[axis]
        others = math.prod(self.sizes[factor] for factor in group if factor != N)
        shape = list(content.shape)
        if isinstance(self.batch, int):
            shape[axis] = others * self.batch
            return self.constant(np.broadcast_to(content, shape))
        name = f"s{len(self.nodes)}"
        ends = [self.constant(part, np.int64) for part in (shape[:axis], shape[axis + 1 :])]
        self.nodes += [
            helper.make_node("Shape", ["x"], [f"{name}s"], start=0, end=1),
            helper.make_node("Mul", [f"{name}s", self.constant([others], np.int64)], [f"{name}m"]),
            helper.make_node("Concat", [ends[0], f"{name}m", ends[1]], [f"{name}c"], axis=0),
            helper.make_node("Expand", [self.constant(content), f"{name}c"], [name], name=name),
        ]
        return name

    def resize(self, axis: int, size: int) -> None:
        """Note that an axis has another size from here on, and can be split no more."""
        self.sizes.append(size)
        self.groups = [*self.groups[:axis], [len(self.sizes) - 1], *self.groups[axis + 1 :]]

    def own_axes(self) -> list[int]:
        return [axis for axis, group in enumerate(self.groups) if N not in group]


def merge(net: Net, draw: Any) -> None:
    if len(net.groups) > 2:
        at = draw(st.integers(0, len(net.groups) - 2))
        net.reshape([*net.groups[:at], net.groups[at] + net.groups[at + 1], *net.groups[at + 2 :]])


def split(net: Net, draw: Any) -> None:
    wide = [axis for axis, group in enumerate(net.groups) if len(group) > 1]
    if wide:
        axis = draw(st.sampled_from(wide))
        at = draw(st.integers(1, len(net.groups[axis]) - 1))
        group = net.groups[axis]
        net.reshape([*net.groups[:axis], group[:at], group[at:], *net.groups[axis + 1 :]])


def permute(net: Net, draw: Any) -> None:
    order = draw(st.permutations(range(len(net.groups))))
    net.groups = [net.groups[axis] for axis in order]
    net.add("Transpose", perm=order)


def softmax(net: Net, draw: Any) -> None:
    if net.own_axes():
        axis = draw(st.sampled_from(net.own_axes()))
        net.add("Softmax", axis=draw(st.sampled_from([axis, axis - len(net.groups)])))


def centre(net: Net, draw: Any) -> None:
    if net.own_axes():
        axis = draw(st.sampled_from(net.own_axes()))
        before = net.value
        net.add("ReduceMax", net.constant([axis], np.int64))
        net.add("Sub", before)


def normalise(net: Net, draw: Any) -> None:
    last = net.groups[-1]
    if N not in last:
        net.add("LayerNormalization", net.constant(np.linspace(0.5, 1.5, net.size(last))), axis=-1)


def multiply(net: Net, draw: Any) -> None:
    last = net.groups[-1]
    if N not in last:
        size = net.size(last)
        net.add("MatMul", net.constant(np.random.default_rng(size).standard_normal((size, size)) / size))


def attend(net: Net, draw: Any) -> None:
    """Every position of the last axis but one looks at every other."""
    if len(net.groups) > 2 and N not in net.groups[-1] + net.groups[-2]:
        queries, order = net.value, list(range(len(net.groups)))
        net.add("Transpose", perm=[*order[:-2], order[-1], order[-2]])
        keys, net.value = net.value, queries
        net.add("MatMul", keys)
        net.add("Softmax", axis=-1)
        net.add("MatMul", queries)


def contract(net: Net, draw: Any) -> None:
    """A sum in Einstein's notation: of each row with stored ones, or of every row with every other."""
    letters = "abcdefgh"[: len(net.groups)]
    if N in net.groups[-1]:
        return
    size = net.size(net.groups[-1])
    if len(net.groups) > 2 and N not in net.groups[-2] and draw(st.booleans()):
        rows = net.size(net.groups[-2])
        net.add("Einsum", net.value, equation=f"{letters}, {letters[:-2]}r{letters[-1]} -> {letters[:-1]}r")
        net.add("Softmax", axis=-1)
        net.resize(len(net.groups) - 1, rows)
    else:
        stored = np.random.default_rng(size).standard_normal((3, size)) / size
        net.add("Einsum", net.constant(stored), equation=f"{letters},z{letters[-1]}->{letters[:-1]}z")
        net.resize(len(net.groups) - 1, 3)


def shift(net: Net, draw: Any) -> None:
    """Add numbers that are alike along some axes, the batch's among them."""
    alike = draw(st.lists(st.booleans(), min_size=len(net.groups), max_size=len(net.groups)))
    shape = [1 if N in g or same else net.size(g) for g, same in zip(net.groups, alike, strict=True)]
    first = draw(st.integers(0, len(shape)))
    numbers = np.random.default_rng(len(net.nodes)).standard_normal(shape[first:])
    net.add(draw(st.sampled_from(["Add", "Mul"])), net.constant(numbers))


def join(net: Net, draw: Any) -> None:
    """Put a constant beside every image's own numbers, as a class token is."""
    wide = [axis for axis in net.own_axes() if net.size(net.groups[axis]) < 12]
    if wide:
        axis, batch = draw(st.sampled_from(wide)), next(i for i, group in enumerate(net.groups) if N in group)
        shape = [1 if i in (axis, batch) else net.size(group) for i, group in enumerate(net.groups)]
        token = net.sized(np.random.default_rng(axis).standard_normal(shape).astype(np.float32), batch)
        own = net.value
        if draw(st.booleans()):
            net.value, own = token, net.value
            net.add("Concat", own, axis=axis)
        else:
            net.add("Concat", token, axis=axis)
        net.resize(axis, net.size(net.groups[axis]) + 1)


def cut(net: Net, draw: Any) -> None:
    wide = [axis for axis in net.own_axes() if net.size(net.groups[axis]) > 1]
    if wide:
        axis = draw(st.sampled_from(wide))
        size = net.size(net.groups[axis])
        kind = draw(st.sampled_from(["Slice", "Gather", "Split"]))
        if kind == "Slice":
            net.add("Slice", *[net.constant([number], np.int64) for number in (1, size, axis)])
        elif kind == "Gather":
            net.add("Gather", net.constant(range(size - 1, 0, -1), np.int64), axis=axis)
        else:
            net.add("Split", net.constant([size - 1, 1], np.int64), axis=axis)
            net.nodes[-1].output.append(f"{net.value}rest")
        net.resize(axis, size - 1)


def widen(net: Net, draw: Any) -> None:
    """An axis of size 1, put in and perhaps repeated."""
    axis = draw(st.integers(0, len(net.groups)))
    if len(net.groups) < 6:
        net.add("Unsqueeze", net.constant([axis], np.int64))
        net.groups.insert(axis, [])
        net.resize(axis, 1)


def narrow(net: Net, draw: Any) -> None:
    thin = [axis for axis in net.own_axes() if net.size(net.groups[axis]) == 1]
    if thin and len(net.groups) > 2:
        axis = draw(st.sampled_from(thin))
        net.add("Squeeze", net.constant([axis], np.int64))
        net.groups = [*net.groups[:axis], *net.groups[axis + 1 :]]


def connect(net: Net, draw: Any) -> None:
    if len(net.groups) == 2 and N in net.groups[0]:
        size = net.size(net.groups[1])
        weight = np.random.default_rng(size).standard_normal((size, size)) / size
        net.add("Gemm", net.constant(weight), net.constant(np.linspace(0, 1, size)), transB=1)


def pool(net: Net, draw: Any) -> None:
    """Windows or images of the last two axes, their channels before them."""
    if len(net.groups) == 4 and N in net.groups[0] and net.groups[0][0] == N:
        net.add("MaxPool", kernel_shape=[3, 3], pads=[1] * 4)


def convolve(net: Net, draw: Any) -> None:
    if len(net.groups) == 4 and N in net.groups[0] and net.groups[0][0] == N:
        channels, kernel = net.size(net.groups[1]), draw(st.sampled_from([1, 3]))
        weight = np.random.default_rng(channels).standard_normal((channels, 1, kernel, kernel))
        net.add("Conv", net.constant(weight), pads=[kernel // 2] * 4, group=channels)


def normalise_batch(net: Net, draw: Any) -> None:
    if len(net.groups) > 1 and N in net.groups[0] and N not in net.groups[1]:
        rows = [np.linspace(low, low + 1, net.size(net.groups[1])) for low in (0.5, -0.5, 0.0, 0.5)]
        net.add("BatchNormalization", *[net.constant(row) for row in rows])


STEPS = [
    *(merge, merge, merge, split, permute, softmax, centre, normalise, multiply, attend, shift, pool, convolve),
    *(contract, normalise_batch, join, cut, widen, narrow, connect),
]


@st.composite
def nets(draw: st.DrawFn, batch: int | str) -> onnx.ModelProto:
    net = Net(batch)
    net.add("Tanh")
    for _ in range(draw(st.integers(2, 10))):
        draw(st.sampled_from(STEPS))(net, draw)
    net.reshape([[factor] for group in net.groups for factor in group])
    order = [net.groups.index([N]), *(axis for axis, group in enumerate(net.groups) if group != [N])]
    net.add("Transpose", perm=order)
    net.nodes[-1].output[0] = "y"
    return model(net.nodes, initializers=net.stored, shape=(batch, 3, 4, 4))


def as_read(graph: Graph, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Turn the file's image as the Graph takes it: a net that pools its axes 1 and 2 has its channels last."""
    return x if shape_of(graph.input)[1:] == x.shape[1:] else x.transpose(0, 3, 1, 2)


@settings(max_examples=80, deadline=None)
@given(proto=nets("N"))
def test_free_batch_through_any_merge(proto: onnx.ModelProto, tmp_path_factory: Any) -> None:
    """Every image of three is computed as alone, by the file and by the Graph alike."""
    graph = read(save(proto, tmp_path_factory.mktemp("net")))
    ours = to_proto(graph)
    for batch in (1, 2, 3):
        x = image(batch, 3, 4, 4)
        assert_close(run(ours, as_read(graph, x)), run(proto, x))
    assert all(shape_of(value).count(None) == 1 for node in graph.nodes for value in node.outputs if _is_free(value))


def _is_free(value: Any) -> bool:
    return None in shape_of(value)


@pytest.mark.parametrize("batch", [1, 2, 3])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_fixed_batch_is_freed_or_refused(batch: int, data: st.DataObject, tmp_path_factory: Any) -> None:
    """What is read computes the same; a file of a fixed batch may leave open where its batch is."""
    proto = data.draw(nets(batch))
    try:
        graph = read(save(proto, tmp_path_factory.mktemp("net")))
    except InvalidModel:
        reject()
    x = image(2 * batch, 3, 4, 4)
    parts = [run(proto, x[start : start + batch])["y"] for start in (0, batch)]
    assert_close(run(to_proto(graph), as_read(graph, x)), {"y": np.concatenate(parts)})


def test_token_repeated_between_other_axes(tmp_path: Path) -> None:
    """Found by the first property: ``[3·N·4, 4]`` beside one number repeated ``12·N`` times."""
    net = Net("N")
    net.add("Tanh")
    net.groups = [[1], [N], [2], [3]]
    net.add("Transpose", perm=[1, 0, 2, 3])
    net.reshape([[1, N, 2], [3]])
    net.add("Concat", net.sized(np.full((1, 1), 0.3, np.float32), 0), axis=1)
    net.resize(1, 5)
    net.reshape([[1], [N], [2], net.groups[1]])
    net.add("Transpose", perm=[1, 0, 2, 3])
    net.nodes[-1].output[0] = "y"
    proto = model(net.nodes, initializers=net.stored, shape=("N", 3, 4, 4))
    x = image(3, 3, 4, 4)
    assert_close(run(to_proto(read(save(proto, tmp_path))), x), run(proto, x))


def test_pooling_of_first_axes(tmp_path: Path) -> None:
    """Found by the first property: axes 1 and 2 are pooled, so axis 3 is the channels."""
    net = Net("N")
    net.add("Transpose", perm=[0, 3, 2, 1])
    net.add("MaxPool", kernel_shape=[3, 3], pads=[1] * 4)
    net.nodes[-1].output[0] = "y"
    proto = model(net.nodes, shape=("N", 3, 4, 4))
    graph = read(save(proto, tmp_path))
    x = image(3, 3, 4, 4)
    assert shape_of(graph.input) == (None, 4, 3, 4)
    assert_close(run(to_proto(graph), as_read(graph, x)), run(proto, x))
