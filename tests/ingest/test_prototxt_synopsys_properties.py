"""The Synopsys fork's windows and resizing: random files, through ``trunkline.read`` and onnxruntime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_reference import Layer, Net, Senseless, Word, evaluate, prototxt, weight_shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from prototxt_nets import evaluate as run
from prototxt_nets import randomised

import trunkline
from trunkline.errors import InvalidModel
from trunkline.graph.graph import shape_of
from trunkline.ingest.prototxt import parse_prototxt
from trunkline.ingest.prototxt.writer import to_caffe

pytestmark = pytest.mark.properties

Fields = dict[str, Any]


def file_of(kind: str, shape: tuple[int, int, int], fields: Fields) -> Net:
    return Net(shape, [Layer(kind, "layer", ["data"], ["y"], fields)])


def compare(net: Net) -> None:
    """Read the file, give it random weights, and compare it with the reference; then write it and read that."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.prototxt"
        path.write_text(prototxt(net))
        try:
            expected_shapes = weight_shapes(net)
            graph = trunkline.read(path)
        except (Senseless, InvalidModel):
            with pytest.raises(Senseless):
                weight_shapes(net)
            with pytest.raises(InvalidModel):
                trunkline.read(path)
            return
    stored = randomised(graph)
    weights = {(w.layer, w.role): stored[f"{w.layer}.{w.role}"].reshape(w.shape) for w in expected_shapes}
    image = np.random.default_rng(3).normal(size=(2, *net.image)).astype(np.float32)
    (wanted,) = evaluate(net, image, weights)
    (found,) = run(graph, image)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert shape_of(graph.outputs[0])[1:] == wanted.shape[1:]
    if "Gather" in {node.op_type for node in graph.nodes}:
        return
    again = parse_prototxt(to_caffe(graph).text(), "again.prototxt")
    for weight in expected_shapes:
        name = f"{weight.layer}.{weight.role}"
        again.initializers[name].const_value = graph.initializers[name].const_value
    np.testing.assert_allclose(run(again, image)[0], wanted, rtol=1e-4, atol=1e-5)


sizes = st.tuples(st.just(2), st.integers(1, 9), st.integers(1, 9))
sides = st.fixed_dictionaries({}, optional={name: st.integers(0, 3) for name in ("pad_l", "pad_r", "pad_t", "pad_b")})
windows = st.fixed_dictionaries(
    {"kernel_h": st.integers(1, 5), "kernel_w": st.integers(1, 5)},
    optional={"stride": st.integers(1, 4)},
)
paddings = st.one_of(sides, st.just({"pad_type": 1}), st.fixed_dictionaries({"pad": st.integers(0, 3)}))


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["Convolution", "Deconvolution"]), sizes, windows, paddings)
def test_convolutions(kind: str, shape: tuple[int, int, int], window: Fields, padding: Fields) -> None:
    compare(file_of(kind, shape, {"convolution_param": {"num_output": 3, **window, **padding}}))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["MAX", "AVE", "AVE_EXC_PAD", "AVE_TF"]),
    sizes,
    windows,
    paddings,
    st.fixed_dictionaries({}, optional={"ceil_mode": st.booleans()}),
)
def test_poolings(kind: str, shape: tuple[int, int, int], window: Fields, padding: Fields, rounding: Fields) -> None:
    compare(file_of("Pooling", shape, {"pooling_param": {"pool": Word(kind), **window, **padding, **rounding}}))


resized = st.fixed_dictionaries(
    {"data_format": st.sampled_from(["NCHW", "NHWC"])},
    optional={
        **{name: st.integers(1, 20) for name in ("output_height", "output_width")},
        **{name: st.floats(0.25, 4, width=32) for name in ("scale_height", "scale_width")},
    },
)
flags = st.sampled_from(["", "align_corners", "half_pixel_centers"])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["bilinear", "nearest_neighbor"]), sizes, resized, flags)
def test_resizings(how: str, shape: tuple[int, int, int], fields: Fields, flag: str) -> None:
    kind = {"bilinear": "ResizeBilinear", "nearest_neighbor": "ResizeNearestNeighbor"}[how]
    compare(file_of(kind, shape, {f"resize_{how}_param": {**fields, **({flag: True} if flag else {})}}))


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(*[st.integers(1, 6)] * 3), st.lists(st.integers(0, 3), min_size=6, max_size=6), st.floats(-2, 2, width=16)
)
def test_pads(shape: tuple[int, int, int], ends: list[int], border: float) -> None:
    compare(file_of("Pad", shape, {"pad_param": {"paddings": [0, 0, *ends], "constant_values": border}}))
