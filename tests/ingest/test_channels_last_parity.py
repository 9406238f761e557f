"""Parity: an image whose channels the file has last becomes [N, C, H, W], and what is computed of it stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Graph, shape_of
from trunkline.graph.verify import verify
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.read import read

CORPUS = Path(__file__).parents[1] / "corpus" / "channels_last"
TURN = [0, 3, 1, 2]


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=output, **attributes)


def check(proto: onnx.ModelProto, graph: Graph) -> None:
    """The Graph computes of [N, C, H, W] what the file does of [N, H, W, C]."""
    x = np.abs(image(2, *[size or 1 for size in shape_of(graph.input)[1:]])) + 0.1
    ours, theirs = run(to_proto(verify(graph)), x), run(proto, np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    assert_close(ours, theirs)
    assert any("channels last" in note for note in graph.notes)


@pytest.mark.parity
@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.onnx")), ids=lambda path: path.stem)
def test_files_from_the_field(path: Path) -> None:
    graph = read(path)
    assert shape_of(graph.input) == (None, 3, 16, 16)
    check(onnx.load(path), graph)
    assert shape_of(read_backbone(path).outputs[0]) == (None, 8, 16, 16)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["keras_normalization", "nhwc_v_identity_reshape", "nhwc_v_pow", "nhwc_v_sqrt_folded"])
def test_no_transposition_is_left_in_front(name: str) -> None:
    """Constants are turned instead, and a Reshape to the same shape goes."""
    ops = [item.op_type for item in read(CORPUS / f"{name}.onnx").nodes]
    assert "Reshape" not in ops
    assert "Transpose" not in ops[: ops.index("Conv")]


def network(front: list[onnx.NodeProto], last: str, channels: int = 3, **changes: Any) -> onnx.ModelProto:
    """``front``, the file's own transposition, and a convolution."""
    stored = [
        weight("w", 4, channels, 3, 3),
        weight("dense", 3, channels),
        tensor("mean", [0.1, 0.2, 0.3], np.float32),
        tensor("two", 2, np.float32),
        tensor("rows", np.linspace(0, 1, 12 * 1 * 3).reshape(12, 1, 3), np.float32),
        tensor("same", [0, 12, 20, 3]),
        tensor("pixels", [0, -1, 3]),
        tensor("image", [0, 12, 20, 3]),
        tensor("order", [2, 1, 0]),
        tensor("pads", [0, 1, 1, 0, 0, 1, 1, 0]),
    ]
    nodes = [*front, node("Transpose", last, "turned", perm=TURN), node("Conv", "turned w", "y")]
    return model(nodes, initializers=stored, shape=changes.pop("shape", ["n", 12, 20, 3]), **changes)


FRONTS: dict[str, Callable[[], list[onnx.NodeProto]]] = {
    "power": lambda: [node("Pow", "x two", "a")],
    "mean and scale": lambda: [node("Sub", "x mean", "b"), node("Div", "b rows", "a")],
    "scale computed from a constant": lambda: [node("Sqrt", "mean", "s"), node("Div", "x s", "a")],
    "its own square": lambda: [node("Mul", "x x", "b"), node("Add", "b x", "a")],
    "the same shape": lambda: [node("Reshape", "x same", "a")],
    "one line of pixels and back": lambda: [node("Reshape", "x pixels", "b"), node("Reshape", "b image", "a")],
    "colours swapped": lambda: [node("Gather", "x order", "a", axis=3)],
    "padded": lambda: [node("Pad", "x pads", "a")],
    "a linear layer": lambda: [node("MatMul", "x dense", "b"), node("Relu", "b", "a")],
    "a mean of the colours": lambda: [node("ReduceMean", "x", "b", axes=[3], keepdims=1), node("Sub", "x b", "a")],
    "there and back": lambda: [
        node("Transpose", "x", "b", perm=TURN),
        node("Relu", "b", "c"),
        node("Transpose", "c", "a", perm=[0, 2, 3, 1]),
    ],
}


@pytest.mark.parity
@pytest.mark.parametrize("name", FRONTS)
def test_what_works_on_the_image_first(name: str, tmp_path: Path) -> None:
    proto = network(FRONTS[name](), "a", opset=13)
    graph = read(save(proto, tmp_path))
    assert shape_of(graph.input) == (None, 3, 12, 20)
    check(proto, graph)
    (before,) = read_backbone(tmp_path / "net.onnx").outputs
    assert shape_of(before)[1] == 4


FUNCTIONS = ("Relu", "Sqrt", "Exp", "Sigmoid", "Neg", "Abs")


@pytest.mark.parity
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(ops=st.lists(st.sampled_from([*FUNCTIONS, "Sub", "Mul", "Pow", "Max"]), max_size=5), square=st.booleans())
def test_any_arithmetic_may_stand_before_the_transposition(
    ops: list[str], square: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Square images of as many channels as rows too: no size tells, the convolution does."""
    front, before = [node("Abs", "x", "start")], "start"
    for index, op in enumerate(ops):
        operand = {"Sub": "mean", "Mul": "mean", "Max": before, "Pow": "two"}.get(op, "")
        front.append(node(op, f"{before} {operand}".strip(), f"f{index}"))
        before = f"f{index}"
    front.append(node("Abs", before, "a"))
    proto = network(front, "a", shape=["n", 3, 3, 3] if square else ["n", 12, 20, 3])
    path = save(proto, tmp_path_factory.mktemp("net"))
    graph = read(path)
    x = np.abs(image(2, *[size or 1 for size in shape_of(graph.input)[1:]])) + 0.1
    ours, theirs = run(to_proto(graph), x)["y"], run(proto, np.ascontiguousarray(x.transpose(0, 2, 3, 1)))["y"]
    finite = np.isfinite(theirs)
    scale = max(1.0, float(np.abs(theirs[finite]).max(initial=0)))
    np.testing.assert_allclose(ours[finite], theirs[finite], atol=1e-5 * scale)
    assert all(item.op_type != "Transpose" for item in graph.nodes)


@pytest.mark.parity
def test_open_size_of_rows_and_columns(tmp_path: Path) -> None:
    """The image size that is given replaces the rows and columns that the file leaves open."""
    proto = network([node("Pow", "x two", "a")], "a", shape=["n", "h", "w", 3])
    graph = read(save(proto, tmp_path), input_size=(10, 14))
    assert shape_of(graph.input) == (None, 3, 10, 14)
    check(proto, graph)


@pytest.mark.parity
def test_window_shows_channels_first(tmp_path: Path) -> None:
    """Sixteen channels of a picture 3 pixels wide: nothing but the convolution can tell."""
    nodes = [node("Relu", "x", "a"), node("Conv", "a w", "y")]
    proto = model(nodes, initializers=[weight("w", 4, 16, 1, 1)], shape=["n", 16, 16, 3])
    graph = read(save(proto, tmp_path))
    assert shape_of(graph.input) == (None, 16, 16, 3)
    assert not graph.notes
    front = [node("Transpose", "x", "t", perm=[0, 2, 3, 1]), node("Relu", "t", "r")]
    proto = network(front, "r", channels=16, shape=["n", 16, 16, 3])
    graph = read(save(proto, tmp_path))
    assert shape_of(graph.input) == (None, 16, 16, 3)
    assert [item.op_type for item in graph.nodes] == ["Transpose", "Relu", "Transpose", "Conv"]


@pytest.mark.abuse
def test_no_window_is_refused(tmp_path: Path) -> None:
    """An image that looks channels-last is refused where nothing in the file shows it."""
    nodes = [node("Reshape", "x flat", "r"), node("MatMul", "r w", "y")]
    stored = [tensor("flat", [0, -1]), weight("w", 16 * 16 * 3, 5)]
    with pytest.raises(InvalidModel, match="its channels seem to be last") as caught:
        read(save(model(nodes, initializers=stored, shape=["n", 16, 16, 3]), tmp_path))
    assert "export the network for images [N, C, H, W]" in str(caught.value)


@pytest.mark.parity
def test_bytes_turned_before_the_cast(tmp_path: Path) -> None:
    """Pixels of bytes may be turned before they are cast."""
    nodes = [
        node("Transpose", "x", "t", perm=TURN),
        node("Cast", "t", "c", to=TensorProto.FLOAT),
        node("Conv", "c w", "y"),
    ]
    stored = [weight("w", 4, 3, 3, 3)]
    proto = model(nodes, initializers=stored, shape=["n", 8, 6, 3], element=TensorProto.UINT8)
    graph = read(save(proto, tmp_path))
    assert [item.op_type for item in graph.nodes] == ["Conv"]
    pixels = np.random.default_rng(0).integers(0, 255, (2, 8, 6, 3)).astype(np.uint8)
    assert_close(run(to_proto(graph), pixels.transpose(0, 3, 1, 2).astype(np.float32)), run(proto, pixels))
