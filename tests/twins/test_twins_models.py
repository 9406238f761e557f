"""Parity of whole networks: the nine that come with the onnx package, value by value against onnxruntime."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from parameters import parameter_count

from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.graph.roles import role_of
from trunkline.twins.twin import Twin

ort = pytest.importorskip("onnxruntime")
reader = pytest.importorskip("trunkline.ingest.read", reason="the reader is not there yet")

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
QUICK = ["light_inception_v1", "light_resnet50", "light_shufflenet", "light_squeezenet"]
SLOW = ["light_bvlc_alexnet", "light_densenet121", "light_inception_v2", "light_vgg19", "light_zfnet512"]
ALL = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]

Array = np.ndarray[Any, Any]


def random_weights(graph: Graph) -> dict[str, Array]:
    """The shipped files hold one constant for all weights, which would hide a swapped axis."""
    rng = np.random.default_rng(0)
    return {name: random_weight(value, rng) for name, value in graph.initializers.items() if role_of(value) != "static"}


def random_weight(value: ir.Value, rng: np.random.Generator) -> Array:
    shape = tuple(size or 1 for size in shape_of(value))
    if len(shape) < 2 or math.prod(shape) == max(shape):
        return (0.5 + 0.5 * rng.random(shape)).astype(np.float32)
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(2 / math.prod(shape[1:])))


def by_onnxruntime(graph: Graph, weights: dict[str, Array], image: Array) -> dict[str, Array]:
    """Run the Graph with these weights and return every value it computes."""
    model = graph.copy().model
    for name, array in weights.items():
        model.graph.initializers[name].const_value = ir.Tensor(array, name=name)
    names = [name_of(value) for node in model.graph for value in node.outputs]
    proto = ir.to_proto(model)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {graph.input.name: image}), strict=True))


@pytest.mark.parity
@pytest.mark.parametrize("name", ALL)
def test_every_value_of_a_light_network(name: str) -> None:
    graph = reader.read(LIGHT / f"{name}.onnx")
    weights = random_weights(graph)
    twin = Twin(graph, weights=weights).eval()
    assert sum(p.numel() for p in twin.parameters()) == parameter_count(graph)
    size = [n or 2 for n in shape_of(graph.input)]
    image = np.random.default_rng(1).standard_normal(size, dtype=np.float32)
    with torch.no_grad():
        ours = twin.run_values(torch.from_numpy(image))
    for value, theirs in by_onnxruntime(graph, weights, image).items():
        mine = ours[value].numpy()
        assert mine.shape == theirs.shape, value
        assert np.abs(mine - theirs).max() <= 1e-4 * max(np.abs(theirs).max(), 1e-6), value


@pytest.mark.properties
def test_light_networks_train_on_two_images() -> None:
    """Light networks train with a batch of two."""
    graph = reader.read(LIGHT / "light_shufflenet.onnx")
    twin = Twin(graph, weights=random_weights(graph)).train()
    image = torch.randn(
        2, *[size or 2 for size in shape_of(graph.input)[1:]], generator=torch.Generator().manual_seed(0)
    )
    statistics = {n: a for n, a in twin.weights().items() if n not in twin.trainable()}
    before = {name: tensor.clone() for name, tensor in statistics.items()}
    next(iter(twin(image).values())).square().sum().backward()
    assert all(p.grad is not None for p in twin.parameters())
    assert all(not torch.equal(before[name], tensor) for name, tensor in statistics.items())
