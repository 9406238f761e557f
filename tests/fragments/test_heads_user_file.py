"""Heads from the user's own file: fed the last feature maps in order, and refused where they do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import trunkline
from trunkline.errors import InvalidConfig, InvalidModel
from trunkline.fragments.heads.make_head import make_head, need_taps
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.read import read
from trunkline.verbs.build import Sharing, build

Shape = tuple[int | str, ...]


def weight(name: str, *shape: int) -> TensorProto:
    values = np.random.default_rng(sum(name.encode())).standard_normal(shape) * 0.3
    return numpy_helper.from_array(values.astype(np.float32), name)


def head_file(path: Path, inputs: dict[str, Shape], channels: int, scale: int = 2) -> Path:
    """A head that projects every map to ``channels``, up-samples the later ones, and adds up; the order is told."""
    nodes, weights, total = [], [], ""
    for index, (name, shape) in enumerate(inputs.items()):
        weights.append(weight(f"w.{name}", channels, int(shape[1]), 1, 1))
        nodes.append(helper.make_node("Conv", [name, f"w.{name}"], [f"c.{name}"], name=f"conv.{name}"))
        part = f"c.{name}"
        if index:
            weights.append(
                numpy_helper.from_array(np.array([1, 1, scale**index, scale**index], np.float32), f"s{index}")
            )
            nodes.append(helper.make_node("Resize", [part, "", f"s{index}"], [f"u{index}"], name=f"up{index}"))
            nodes.append(helper.make_node("Sub", [total, f"u{index}"], [f"t{index}"], name=f"sum{index}"))
            part = f"t{index}"
        total = part
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(total, TensorProto.FLOAT, None)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def run(path: Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def tiny(taps: bool = True) -> Graph:
    return read_backbone("zoo:tiny", taps=taps, input_size=(64, 64))


def sizes() -> list[tuple[int, ...]]:
    return [tuple(size or 0 for size in shape_of(value)[1:]) for value in tiny().outputs]


@pytest.mark.parity
@pytest.mark.parametrize("batch", ["n", 1])
def test_head_is_fed_the_last_maps(batch: int | str, tmp_path: Path) -> None:
    """A head of two maps is fed the last two, in order."""
    (c1, *_), (c2, *_) = sizes()[-2:]
    head = head_file(tmp_path / "h.onnx", {"fine": (batch, c1, "h", "w"), "coarse": (batch, c2, "i", "j")}, 5)
    assert need_taps([str(head)])
    backbone = tiny()
    fine, coarse = [name_of(value) for value in backbone.outputs][-2:]
    trunkline.convert(backbone, tmp_path / "b.onnx", parity_inputs=1)
    sharing = Sharing(all_shared=True)
    result = build(tmp_path / "b.onnx", tmp_path / "m.onnx", tasks={"a": 5}, sharing=sharing, head=str(head))
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    maps = run(tmp_path / "b.onnx", {name_of(backbone.input): x})
    expected = run(head, {"fine": maps[fine], "coarse": maps[coarse]})
    (found,) = run(result.path, {name_of(backbone.input): x}).values()
    np.testing.assert_allclose(found, next(iter(expected.values())), rtol=1e-4, atol=1e-5)


@pytest.mark.golden
def test_named_features_feed_the_head(tmp_path: Path) -> None:
    names, shapes = [name_of(value) for value in tiny().outputs], sizes()
    head = head_file(tmp_path / "h.onnx", {"p": ("n", *shapes[-1])}, 2)
    assert not need_taps([head])
    graph = read_backbone("zoo:tiny", features=names, input_size=(64, 64))
    assert len(make_head(str(head), graph, 2).model.graph.inputs) == 1


@pytest.mark.golden
def test_graph_is_a_head_too(tmp_path: Path) -> None:
    channels, height, width = sizes()[-1]
    head = read(nn.Conv2d(channels, 3, 1), torch.zeros(1, channels, height, width))
    result = build(
        tiny(False), tmp_path / "m.onnx", tasks={"a": 3, "b": 3}, sharing=Sharing(independent=True), head=head
    )
    assert [shape_of(value) for value in read(result.path).outputs] == [(None, 3, height, width)] * 2
    with pytest.raises(InvalidConfig, match="reads"):
        make_head(head, read_backbone("zoo:tiny", input_size=(32, 32)), 3)


@pytest.mark.abuse
def test_misfit_map_is_named(tmp_path: Path) -> None:
    """The map that does not fit is named."""
    backbone, (c1, *_), (c2, *_) = tiny(), *sizes()[-2:]
    names = [name_of(value) for value in backbone.outputs]
    wrong = head_file(tmp_path / "w.onnx", {"fine": ("n", c1 + 1, "h", "w"), "coarse": ("n", c2 + 2, "h", "w")}, 5)
    with pytest.raises(InvalidModel) as caught:
        make_head(str(wrong), backbone, 5)
    text = str(caught.value)
    assert f"fine: it reads {c1 + 1} channels; the feature map has {c1}" in text
    assert f"coarse: it reads {c2 + 2} channels; the feature map has {c2}" in text
    assert f'"{names[-2]}"' in text and f'"{names[-1]}"' in text and str(wrong) in text


@pytest.mark.abuse
def test_maps_that_cannot_be_joined_are_refused(tmp_path: Path) -> None:
    """Maps whose sizes do not fit each other in the head are refused."""
    (c1, *_), (c2, *_) = sizes()[-2:]
    head = head_file(tmp_path / "h.onnx", {"fine": ("n", c1, "h", "w"), "coarse": ("n", c2, "i", "j")}, 5, scale=3)
    with pytest.raises(InvalidModel, match="sum1") as caught:
        make_head(str(head), tiny(), 5)
    assert "is fed the feature maps" in str(caught.value)


@pytest.mark.abuse
def test_more_inputs_than_maps_are_refused(tmp_path: Path) -> None:
    inputs = {f"p{index}": ("n", 4, "h", "w") for index in range(5)}
    head = head_file(tmp_path / "h.onnx", inputs, 5)
    with pytest.raises(InvalidConfig, match=r"reads 5 feature maps; the backbone gives \d"):
        make_head(str(head), tiny(), 5)


@pytest.mark.abuse
@pytest.mark.parametrize("channels", [1, 4])
def test_wrong_output_channels_are_refused(channels: int, tmp_path: Path) -> None:
    """Another number of channels than the task's is refused."""
    head = head_file(tmp_path / "h.onnx", {"p": ("n", *sizes()[-1])}, 5)
    with pytest.raises(InvalidConfig, match=rf"the task has {channels} channels") as caught:
        make_head(str(head), tiny(False), channels)
    assert "NAME:5" in str(caught.value)


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["fpn", "light"])
def test_a_kind_may_come_as_a_path(kind: str) -> None:
    """A kind of head is one, whichever type holds its name."""
    assert need_taps([Path(kind)]) == need_taps([kind]) == (kind == "fpn")
