"""Parity: a Pad before a pool stays a Pad, which onnxruntime would merge into the pool, and not rightly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from trunkline.export.exporter import export_model
from trunkline.export.passes import NamePaddedAxes
from trunkline.graph.graph import Graph
from trunkline.ingest.onnx_file.reader import read_onnx
from trunkline.twins.twin import Twin

if TYPE_CHECKING:
    from tests.export.conftest import Nets


pytestmark = pytest.mark.parity


def padded_pool(nets: type[Nets], op: str, kernel: int, pads: int, **settings: object) -> Graph:
    """Convolution, Pad by 0, pool, convolution: the maps hold negative numbers."""
    net = nets.Net()
    x = net.conv(net.image("image", (3, 12, 10)), net.weights("a", (4, 3, 3, 3)), "a")
    stored = [net.tensor("pads", np.array([0, 0, pads, 0] + [0, 0, pads, pads], np.int64))]
    stored.append(net.tensor("zero", np.array(0, np.float32)))
    x = net.node("Pad", [x, *stored], name="pad", attributes={"mode": "constant"})
    window = {"kernel_shape": [kernel] * 2, "strides": [2, 2], "pads": [0] * 4, "ceil_mode": 0, **settings}
    x = net.node(op, [x], name="pool", attributes=window)
    return net.finish([net.conv(x, net.weights("b", (2, 4, 1, 1)), "b")])


CASES = [
    ("AveragePool", 1, 1, {"count_include_pad": 1}),
    ("AveragePool", 1, 2, {"count_include_pad": 0}),
    ("AveragePool", 3, 4, {"count_include_pad": 1}),
    ("AveragePool", 3, 1, {"count_include_pad": 0}),
    ("MaxPool", 1, 1, {}),
    ("MaxPool", 3, 1, {}),
    ("MaxPool", 3, 1, {"ceil_mode": 1}),
]


@pytest.mark.parametrize(("op", "kernel", "pads", "settings"), CASES)
def test_padded_pool_passes_parity(
    nets: Any, tmp_path: Path, op: str, kernel: int, pads: int, settings: dict[str, int]
) -> None:
    graph = padded_pool(nets, op, kernel, pads, **settings)
    path = export_model(graph, None, tmp_path / "m.onnx", parity_inputs=8).path
    image = nets.picture((2, 3, 12, 10))
    optimised, plain = (nets.run(path.read_bytes(), image, optimise=how) for how in (True, False))
    assert all(np.allclose(optimised[name], plain[name], atol=1e-6) for name in plain)


def test_written_pad_is_read_again(nets: Any, tmp_path: Path) -> None:
    graph = padded_pool(nets, "MaxPool", 3, 1)
    path = export_model(graph, None, tmp_path / "m.onnx", parity_inputs=2).path
    again = read_onnx(path)
    image = nets.picture((2, 3, 12, 10))

    first, second = (Twin(net).eval()(torch.from_numpy(image)) for net in (graph, again))
    assert all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))


def test_only_pads_before_pools_name_axes(nets: Any) -> None:
    """Only a Pad before a pool names its axes."""
    graph = padded_pool(nets, "MaxPool", 3, 1).copy()
    assert NamePaddedAxes()(graph.model.graph) == 1
    pad = graph.node("pad")
    assert [value.const_value.numpy().tolist() for value in pad.inputs[1::2]] == [[1, 0, 1, 1], [2, 3]]
    assert NamePaddedAxes()(graph.model.graph) == 0
    none = padded_pool(nets, "MaxPool", 3, 0).copy()
    none.initializers["pads"].const_value = type(none.initializers["pads"].const_value)(np.zeros(8, np.int64))
    assert NamePaddedAxes()(none.model.graph) == 0
