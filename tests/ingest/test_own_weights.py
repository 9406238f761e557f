"""Golden and abuse: the large weights of an ONNX file stay in the file until they are used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trunkline.errors import InvalidModel
from trunkline.graph.graph import array_of
from trunkline.ingest.onnx_file.proto import load, own_weights
from trunkline.ingest.onnx_file.proto.own_weights import open_shell
from trunkline.ingest.onnx_file.reader import read_onnx

WIDTH = 160
"""Enough channels that one 3x3 kernel has more bytes than are parsed at once."""


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of every size are walked, not only large ones."""
    monkeypatch.setattr(load, "LARGE_FILE_BYTES", 0)


def net(kind: np.dtype | type = np.float32) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    shapes = {"first": (WIDTH, 3, 3, 3), "second": (WIDTH, WIDTH, 3, 3), "third": (WIDTH, WIDTH, 3, 3)}
    stored = [numpy_helper.from_array(rng.standard_normal(s).astype(kind), name) for name, s in shapes.items()]
    values, nodes = ["image", "a", "b", "c"], []
    for name, x, y in zip(shapes, values, values[1:], strict=False):
        nodes.append(helper.make_node("Conv", [x, name], [y], name=f"conv_{name}", pads=[1] * 4))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])
    result = helper.make_tensor_value_info("c", TensorProto.FLOAT, ["N", WIDTH, 8, 8])
    graph = helper.make_graph(nodes, "wide", [image], [result], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def weights_of(path: Path) -> dict[str, np.ndarray]:
    return {name: array_of(value) for name, value in read_onnx(path).initializers.items()}


@pytest.mark.golden
def test_large_weights_are_left_in_the_file(tmp_path: Path) -> None:
    path = saved(net(), tmp_path / "net.onnx")
    shell, own = open_shell(path)
    assert sorted(own.places) == ["second", "third"]
    assert shell.ByteSize() < 40_000 < path.stat().st_size
    content = path.read_bytes()
    for name, (offset, length) in own.places.items():
        stored = next(item for item in net().graph.initializer if item.name == name)
        assert content[offset : offset + length] == stored.raw_data


@pytest.mark.parity
@pytest.mark.usefixtures("walked")
def test_a_walked_file_is_the_parsed_one(tmp_path: Path) -> None:
    path = saved(net(), tmp_path / "net.onnx")
    parsed = {item.name: numpy_helper.to_array(item) for item in net().graph.initializer}
    found = weights_of(path)
    assert found.keys() == parsed.keys()
    assert all(np.array_equal(found[name], parsed[name]) for name in parsed)


@pytest.mark.golden
@pytest.mark.usefixtures("walked")
def test_link_to_a_large_file(tmp_path: Path) -> None:
    """Weights beside a file must not be links; the file itself may be one, under any name."""
    path = saved(net(), tmp_path / "net.onnx")
    (tmp_path / "link.onnx").symlink_to(path)
    os.link(path, tmp_path / "hard.onnx")
    assert weights_of(tmp_path / "link.onnx").keys() == weights_of(tmp_path / "hard.onnx").keys()


@pytest.mark.abuse
@pytest.mark.usefixtures("walked")
def test_replaced_file_changes_nothing(tmp_path: Path) -> None:
    """A new file under the name changes nothing: the old one stays open."""
    path = saved(net(), tmp_path / "net.onnx")
    graph, before = read_onnx(path), weights_of(path)
    other = net()
    other.graph.initializer[1].raw_data = bytes(len(other.graph.initializer[1].raw_data))
    saved(other, tmp_path / "new.onnx").replace(path)
    assert np.array_equal(array_of(graph.initializers["second"]), before["second"])


@pytest.mark.abuse
@pytest.mark.usefixtures("walked")
def test_a_file_changed_in_place_is_noticed(tmp_path: Path) -> None:
    path = saved(net(), tmp_path / "net.onnx")
    graph = read_onnx(path)
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(InvalidModel, match="was changed since it was opened"):
        array_of(graph.initializers["second"])


def short_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].raw_data = model.graph.initializer[1].raw_data[:-4]


def two_of_a_name(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].name = "second"


def outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[1]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")


@pytest.mark.abuse
@pytest.mark.usefixtures("walked")
@pytest.mark.parametrize(
    ("fault", "said"),
    [(short_weight, "needs 921,600 bytes"), (two_of_a_name, "more than once"), (outside, "does not name a file")],
)
def test_bad_weights_are_refused(tmp_path: Path, fault: Callable[[onnx.ModelProto], None], said: str) -> None:
    model = net()
    fault(model)
    with pytest.raises(InvalidModel) as caught:
        read_onnx(saved(model, tmp_path / "net.onnx"))
    assert said in str(caught.value)


@pytest.mark.abuse
@pytest.mark.usefixtures("walked")
@pytest.mark.parametrize("cut", [1, 10, 1000, 500_000])
def test_file_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    """A large file that is cut short is refused like a small one."""
    path = tmp_path / "net.onnx"
    path.write_bytes(net().SerializeToString()[:-cut])
    with pytest.raises(InvalidModel):
        read_onnx(path)


@pytest.mark.abuse
@pytest.mark.usefixtures("walked")
def test_random_bytes_do_as_when_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a walk makes of broken bytes, the answer is the parser's own."""
    rng, content = np.random.default_rng(0), bytearray(net().SerializeToString())
    path = tmp_path / "net.onnx"
    for _ in range(30):
        broken = bytearray(content)
        for place in rng.integers(0, 4000, 3):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        results = []
        for least in (0, own_weights.LARGE_FILE_BYTES):
            monkeypatch.setattr(load, "LARGE_FILE_BYTES", least)
            try:
                results.append(sorted(read_onnx(path).initializers))
            except Exception as error:  # noqa: BLE001 - both ways must end alike, however they end
                results.append(type(error))
        assert results[0] == results[1]
