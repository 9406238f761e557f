"""Which map a head reads of networks in many styles, for square images and others, and what it computes there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from feature_nets import STYLES
from onnx import helper
from onnx_models import image, run, save, to_proto

from trunkline.graph.graph import shape_of
from trunkline.graph.verify import verify
from trunkline.ingest.backbone import read_backbone
from trunkline.verbs.inspect import inspect

pytestmark = pytest.mark.golden

CORPUS = Path(__file__).parents[1] / "corpus" / "features"
EXPECTED = tomllib.loads((CORPUS / "expected.toml").read_text())
SIZES = [(64, 64), (32, 96)]


def value_in(proto: onnx.ModelProto, name: str, x: np.ndarray) -> np.ndarray:
    """What onnxruntime computes for an inner value."""
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    if name not in {value.name for value in copy.graph.output}:
        copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    return run(copy, x)[name]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", STYLES)
def test_maps_of_networks_in_this_style(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    style = STYLES[name]
    found = inspect(save(style.build(size), tmp_path))
    assert [(item.name, item.shape[1], item.stride) for item in found.features] == [style.last]
    assert [(item.name, item.shape[1], item.stride) for item in found.pyramid] == list(style.pyramid)
    for item in (*found.features, *found.pyramid):
        assert item.stride is not None
        assert item.shape == (None, item.shape[1], size[0] // item.stride, size[1] // item.stride)


@pytest.mark.parametrize("name", STYLES)
def test_a_backbone_ends_in_those_maps(name: str, tmp_path: Path) -> None:
    """Its outputs are the file's own values, turned to [N, C, H, W] where they are not."""
    style, size = STYLES[name], (32, 96)
    proto = style.build(size)
    path = save(proto, tmp_path)
    x = image(2, 3, *size)
    for graph, expected in ((read_backbone(path), [style.last]), (read_backbone(path, taps=True), style.pyramid)):
        outputs = run(to_proto(verify(graph)), x)
        for output, (inner, channels, stride) in zip(outputs.values(), expected, strict=True):
            assert output.shape == (2, channels, size[0] // stride, size[1] // stride)
            right = as_map(value_in(proto, inner, x), output.shape, name == "columns_first")
            np.testing.assert_allclose(output, right, atol=1e-4)
    assert any("turned" in note for note in read_backbone(path).notes) is style.turned


def as_map(value: np.ndarray, shape: tuple[int, ...], columns_first: bool) -> np.ndarray:
    """``[N, H, W, C]`` or ``[N, L, C]`` as ``[N, C, H, W]``; a token before the positions is left out."""
    if value.shape == shape:
        return value
    if value.ndim == 4:
        return value.transpose(0, 3, 1, 2)
    positions = value[:, -shape[2] * shape[3] :]
    if columns_first:
        return positions.reshape(shape[0], shape[3], shape[2], shape[1]).transpose(0, 3, 2, 1)
    return positions.transpose(0, 2, 1).reshape(shape)


def test_another_image_size_is_turned() -> None:
    graph = read_backbone(CORPUS / "features_last_map_nhwc.onnx", input_size=(32, 96))
    assert shape_of(verify(graph).outputs[0]) == (None, 16, 8, 24)


@pytest.mark.parametrize("name", EXPECTED)
def test_files_from_the_field(name: str) -> None:
    path, expected = CORPUS / f"{name}.onnx", EXPECTED[name]
    found = inspect(path)
    assert [(item.name, list(item.shape[1:])) for item in found.features] == [
        (expected["last"]["name"], expected["last"]["map"])
    ]
    assert [[item.name, *item.shape[1:]] for item in found.pyramid] == expected["pyramid"]
    assert shape_of(read_backbone(path).outputs[-1])[1:] == tuple(expected["last"]["map"])
    sizes = [list(shape_of(value)[1:]) for value in read_backbone(path, taps=True).outputs]
    assert sizes == [item[1:] for item in expected["pyramid"]]
