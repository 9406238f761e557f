"""Marks of a written file: kept where they make sense, ignored where somebody wrote nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import save
from parameters import parameter_count

from trunkline.export.count import count_file
from trunkline.graph.graph import AXES_KEY, CONSTANT, ROLE_KEY
from trunkline.graph.marks import MARKS_KEY
from trunkline.graph.roles import role_of
from trunkline.ingest.read import read

pytestmark = pytest.mark.abuse


def marked(text: str) -> onnx.ModelProto:
    """A convolution and a coefficient per channel, with metadata ``text``."""
    shapes = {"w": (4, 3, 3, 3), "c": (1, 4, 1, 1)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
            helper.make_node("Mul", ["a", "c"], ["y"], name="mul"),
        ],
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {MARKS_KEY: text})
    return model


def test_a_marked_constant_neither_trains_nor_counts(tmp_path: Path) -> None:
    path = save(marked(json.dumps({ROLE_KEY: {"c": CONSTANT}})), tmp_path)
    graph = read(path)
    assert role_of(graph.initializers["c"]) == "static"
    assert parameter_count(graph) == count_file(path).parameters == 108


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "3",
        "[" * 100_000,
        "1" * 10_000,
        json.dumps({ROLE_KEY: []}),
        json.dumps({ROLE_KEY: {"c": 3, "nowhere": CONSTANT, "w": "statistic"}}),
        json.dumps({AXES_KEY: {"w": "0,1", "c": "3,2,1,1"}}),
        json.dumps({AXES_KEY: {"w": "a,b,c,d", "c": "-1,0,1,2"}}),
    ],
)
def test_nonsense_is_ignored(text: str, tmp_path: Path) -> None:
    path = save(marked(text), tmp_path)
    graph = read(path)
    assert not any(value.metadata_props for value in graph.initializers.values())
    assert parameter_count(graph) == count_file(path).parameters == 112
