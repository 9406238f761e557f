"""The join ``project``: its formula, its start, and reads that are left out exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper
from onnx_models import to_proto
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from trunkline.errors import InvalidConfig
from trunkline.fragments.joins.base import Inputs
from trunkline.fragments.registry import make_join
from trunkline.graph.graph import Graph, shape_of

pytestmark = pytest.mark.golden

SIZES: Inputs = {0: (6, 4, 5), 1: (6, 4, 5), 2: (4, 8, 10), 3: (5, 3, 3)}
RELU = {"op": "Relu"}


def project(inputs: Inputs = SIZES, **settings: Any) -> Graph:
    starts = [0.7, *[0.1] * max(inputs)]
    return make_join("project", inputs, {"starts": starts, **settings})


def shaken(fragment: Graph) -> onnx.ModelProto:
    """A file whose weights and statistics hide nothing; they follow from their names."""
    proto = to_proto(fragment)
    for stored in proto.graph.initializer:
        if stored.name.startswith(("weight", "norm")):
            rng = np.random.default_rng(sum(map(ord, stored.name)))
            content = (0.2 + rng.random(tuple(stored.dims))).astype(np.float32)
            stored.CopyFrom(numpy_helper.from_array(content, stored.name))
    return proto


def weights_of(proto: onnx.ModelProto) -> dict[str, Tensor]:
    return {stored.name: torch.tensor(numpy_helper.to_array(stored)) for stored in proto.graph.initializer}


def maps(inputs: Inputs) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    sizes = SIZES.items()  # all, so that a map is the same whichever are read
    drawn = {number: rng.standard_normal((2, *size), dtype=np.float32) for number, size in sizes}
    return {f"x{number}": drawn[number] for number in inputs}


def run(proto: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> Tensor:
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, dict(values))
    return torch.tensor(output)


@pytest.mark.parametrize("numbers", [(0,), (0, 1), (0, 1, 2, 3), (0, 3)])
def test_formula_written_out(numbers: tuple[int, ...]) -> None:
    """ReLU(BN(Σ_k W_k · resized x_k)), channel by channel."""
    inputs = {number: SIZES[number] for number in numbers}
    proto = shaken(project(inputs, activation=RELU))
    weights, total = weights_of(proto), torch.zeros(2, 6, 4, 5)
    for number, value in maps(inputs).items():
        x = torch.tensor(value)
        if x.shape[2:] != (4, 5):
            x = F.interpolate(x, (4, 5), mode="bilinear", align_corners=False)
        total += torch.einsum("oc,nchw->nohw", weights[f"weight{number[1:]}"][:, :, 0, 0], x)
    scale, bias, mean, var = (weights[f"norm.{key}"][:, None, None] for key in ("scale", "bias", "mean", "var"))
    expected = (scale * (total - mean) / (var + 1e-3).sqrt() + bias).clamp(min=0)
    assert float(expected.min()) == 0 < float(expected.max())
    torch.testing.assert_close(run(proto, maps(inputs)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("left_out", [(1,), (2,), (3,), (1, 3), (1, 2, 3)])
def test_left_out_reads_count_as_zeros(left_out: tuple[int, ...]) -> None:
    """The others keep their columns, to the bit and by name, and give what they gave beside zeros."""
    whole, values = shaken(project()), maps(SIZES)
    kept = {number: size for number, size in SIZES.items() if number not in left_out}
    part = shaken(make_join("project", kept, {"starts": [0.7, 0.1, 0.1, 0.1]}))
    assert set(weights_of(whole)) - set(weights_of(part)) >= {f"weight{number}" for number in left_out}
    for name, content in weights_of(part).items():
        assert torch.equal(content, weights_of(whole)[name]), name
    zeroed = {key: value * (int(key[1:]) not in left_out) for key, value in values.items()}
    torch.testing.assert_close(run(part, maps(kept)), run(whole, zeroed), rtol=1e-5, atol=1e-5)


def test_start_is_a_share_of_each_map() -> None:
    """Before normalisation the result is α·x_0 + β·x_1, as far as a map has channels."""
    inputs = {0: (6, 4, 5), 1: (6, 4, 5), 2: (4, 4, 5)}
    fragment = make_join("project", inputs, {"starts": [0.75, 0.125, 0.5], "normalise": False})
    rng = np.random.default_rng(1)
    x = {f"x{number}": rng.standard_normal((1, *size), dtype=np.float32) for number, size in inputs.items()}
    expected = 0.75 * x["x0"] + 0.125 * x["x1"]
    expected[:, :4] += 0.5 * x["x2"]
    np.testing.assert_allclose(run(to_proto(fragment), x).numpy(), expected, rtol=1e-6, atol=1e-6)


def test_settings_decide_what_is_there() -> None:
    def operators(**settings: Any) -> list[str]:
        return [node.op_type for node in project({0: (6, 4, 5), 1: (6, 4, 5)}, **settings).nodes]

    assert operators(activation=RELU) == ["Concat", "Concat", "Conv", "BatchNormalization", "Relu"]
    assert operators() == ["Concat", "Concat", "Conv", "BatchNormalization"]
    assert operators(normalise=False) == ["Concat", "Concat", "Conv"]
    norm = project(epsilon=0.5, momentum=0.25).node("norm").attributes
    assert (norm["epsilon"].value, norm["momentum"].value) == (0.5, 0.25)
    usual = project().node("norm").attributes
    assert (usual["epsilon"].value, usual["momentum"].value) == (pytest.approx(1e-3), pytest.approx(0.95))


def test_result_has_the_first_reads_size() -> None:
    for first in SIZES.values():
        fragment = make_join("project", {0: first, 1: (6, 4, 5)}, {"starts": [1, 0]})
        assert shape_of(fragment.outputs[0]) == (None, *first)


@pytest.mark.abuse
def test_bad_projections_are_refused() -> None:
    """Without the first read, with too few starts, with an activation that is none."""
    with pytest.raises(InvalidConfig, match="left_out: the first read of a projection"):
        make_join("project", {1: (6, 4, 5)}, {"starts": [1, 0]})
    with pytest.raises(InvalidConfig, match="settings.starts: .* number 3 has 2 starts"):
        make_join("project", SIZES, {"starts": [1, 0]})
    for settings in (
        {"activation": {"op": "Reluu"}},
        {"starts": [float("nan")] * 4},
        {"epsilon": 0},
        {"momentum": 1.5},
        {"activation": {"op": "Clip", "bounds": [0]}},
    ):
        with pytest.raises(InvalidConfig, match="settings"):
            make_join("project", SIZES, {"starts": [1, 0, 0, 0], **settings})
