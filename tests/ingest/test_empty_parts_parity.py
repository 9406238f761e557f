"""Parity: what holds no numbers is left out, wherever it came from; a map that is empty is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx.helper import make_node as node
from onnx_models import assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel
from trunkline.ingest.read import read

pytestmark = pytest.mark.parity


def same(nodes: list[Any], stored: list[Any], folder: Path) -> None:
    """The file is read, and computes what it did, for one image and for two."""
    proto = model(nodes, initializers=stored, shape=("N", 3, 8, 8))
    ours = to_proto(read(save(proto, folder)))
    for batch in (1, 2):
        x = image(batch, 3, 8, 8)
        assert_close(run(ours, x), run(proto, x))


@pytest.mark.parametrize("first", [False, True])
def test_a_skip_of_no_channels_joins_nothing(first: bool, tmp_path: Path) -> None:
    """As a decoder writes it for a stage that the encoder does not have; its size is asked for as well."""
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Shape", ["x"], ["batch"], start=0, end=1),
        node("Concat", ["batch", "rest"], ["sizes"], axis=0),
        node("ConstantOfShape", ["sizes"], ["none"], value=tensor("", [0.0], np.float32)),
        node("Shape", ["none"], ["side"], start=2),
        node("Concat", ["batch", "channels", "side"], ["all"], axis=0),
        node("Resize", ["c", "", "", "all"], ["wide"], mode="nearest"),
        node("Concat", ["none", "wide"] if first else ["wide", "none"], ["joined"], axis=1),
        node("Relu", ["joined"], ["y"]),
    ]
    stored = [weight("w", 4, 3, 1, 1), tensor("rest", [0, 16, 16]), tensor("channels", [4])]
    same(nodes, stored, tmp_path)


def test_empty_part_of_a_mask(tmp_path: Path) -> None:
    """As Swin writes a mask whose window is not shifted along one axis: a part of it is asked for its size, and set."""
    nodes = [
        node("ScatterND", ["zeros", "places", "ones"], ["mask"]),
        node("Slice", ["mask", "start", "end", "axis"], ["part"]),
        node("Slice", ["part", "start", "far", "next"], ["narrow"]),
        node("Shape", ["narrow"], ["sizes"]),
        node("Expand", ["two", "sizes"], ["set"]),
        node("Concat", ["set", "mask"], ["whole"], axis=0),
        node("Add", ["x", "whole"], ["y"]),
    ]
    stored = [
        tensor("zeros", np.zeros((8, 8)), np.float32),
        tensor("places", [[0], [3]]),
        tensor("ones", np.ones((2, 8)), np.float32),
        tensor("two", [2.0], np.float32),
        *(tensor(name, [number]) for name, number in {"start": 0, "end": -8, "axis": 0, "far": 99, "next": 1}.items()),
    ]
    same(nodes, stored, tmp_path)


def test_a_map_without_positions_is_refused(tmp_path: Path) -> None:
    nodes = [node("Slice", ["x", "start", "start", "axis"], ["none"], name="cut"), node("Relu", ["none"], ["y"])]
    proto = model(nodes, initializers=[tensor("start", [0]), tensor("axis", [2])], element=TensorProto.FLOAT)
    with pytest.raises(InvalidModel, match="cut: Slice: its output .* is empty"):
        read(save(proto, tmp_path))
