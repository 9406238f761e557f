"""Parity: the nine networks in the onnx package read, verify, and compute what the files compute."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest
from _pytest.mark import ParameterSet
from onnx import numpy_helper
from onnx_models import LIGHT, assert_close, image, run, save, to_proto

from trunkline.graph.graph import Graph, shape_of
from trunkline.graph.verify import verify
from trunkline.ingest.read import read

pytestmark = pytest.mark.parity

SMALL = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
LARGE = ("bvlc_alexnet", "vgg19", "zfnet512")
ALL = sorted((*SMALL, *LARGE))
QUICK = ("squeezenet", "shufflenet", "inception_v1")


def slow_unless_quick(names: Iterable[str]) -> list[ParameterSet]:
    return [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in names]


def light(name: str) -> Path:
    path = LIGHT / f"light_{name}.onnx"
    if not path.is_file():
        pytest.skip("this onnx package comes without the light models")
    return path


def image_name(proto: onnx.ModelProto) -> str:
    stored = {tensor.name for tensor in proto.graph.initializer}
    return next(value.name for value in proto.graph.input if value.name not in stored)


def with_random_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every ConstantOfShape by a stored, seeded weight of the same shape."""
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    rng = np.random.default_rng(0)
    positive = {n.input[i] for n in proto.graph.node if n.op_type == "BatchNormalization" for i in (1, 4)}
    for node in [node for node in proto.graph.node if node.op_type == "ConstantOfShape"]:
        shape = [int(size) for size in shapes[node.input[0]]]
        values = rng.standard_normal(shape) / math.sqrt(max(1, math.prod(shape[1:])))
        if node.output[0] in positive:
            values = rng.uniform(0.5, 1.5, shape)
        proto.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
        proto.graph.node.remove(node)
    return proto


def assert_parity(original: onnx.ModelProto, graph: Graph) -> None:
    ours, name = to_proto(graph), image_name(original)
    onnx.checker.check_model(ours, full_check=True)
    one = image(1, 3, 224, 224)
    expected = run(original, one, name)
    assert_close(run(ours, one), expected)
    two = np.concatenate([image(1, 3, 224, 224, seed=1), one])
    both = run(ours, two)
    for output, value in expected.items():
        assert both[output].shape[0] == 2
        np.testing.assert_allclose(both[output][1:], value, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_reads_verifies_and_keeps_names(name: str) -> None:
    path = light(name)
    graph = verify(read(path))
    original = onnx.load(path)
    assert [value.name for value in graph.outputs] == [value.name for value in original.graph.output]
    assert graph.input.name == image_name(original)
    assert shape_of(graph.input) == (None, 3, 224, 224)
    names = {name for node in original.graph.node for name in node.output}
    names |= {tensor.name for tensor in original.graph.initializer} | {image_name(original)}
    convolutions = [node for node in graph.nodes if node.op_type == "Conv"]
    assert convolutions
    assert {value.name for node in convolutions for value in node.inputs if value is not None} <= names


@pytest.mark.parametrize("name", slow_unless_quick(ALL))
def test_shipped_weights_agree_with_onnxruntime(name: str) -> None:
    path = light(name)
    assert_parity(onnx.load(path), read(path))


@pytest.mark.parametrize("name", slow_unless_quick(SMALL))
def test_random_weights_agree_with_onnxruntime(name: str, tmp_path: Path) -> None:
    original = with_random_weights(onnx.load(light(name)))
    assert_parity(original, read(save(original, tmp_path)))


def test_reading_allocates_no_weights() -> None:
    """Reading a network of 575 MB allocates no weights."""
    graph = read(light("vgg19"))
    weights = [value.const_value for value in graph.initializers.values()]
    assert sum(tensor.nbytes for tensor in weights if tensor is not None) > 500e6
    assert all(type(tensor).__name__ == "LazyTensor" for tensor in weights if tensor is not None and tensor.size > 64)
