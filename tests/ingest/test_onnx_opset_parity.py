"""Parity: a node of an old or new opset computes, once read, what onnxruntime computes for the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import OPSET, Graph, attribute
from trunkline.ingest.read import read

pytestmark = pytest.mark.parity

Case = tuple[str, dict[str, Any], list[TensorProto]]
NEWEST_RUN = 26
"""onnxruntime runs no newer opset; ONNX itself may."""


def one_node(op: str, opset: int, stored: list[TensorProto], outputs: int = 1, **attributes: Any) -> onnx.ModelProto:
    """``x`` and the stored tensors into one node."""
    names = ["y", *(f"y{i}" for i in range(1, outputs))]
    inputs = ["x", *(t.name for t in stored)]
    node = helper.make_node(op, inputs, names, name="node", **attributes)
    return model([node], initializers=[t for t in stored if t.name], opset=opset, outputs=names, shape=("b", 4, 7, 6))


def check(proto: onnx.ModelProto, folder: Path, shape: tuple[int, ...] = (2, 4, 7, 6)) -> Graph:
    graph = read(save(proto, folder), input_size=(shape[2], shape[3]))
    assert graph.model.graph.opset_imports == {"": OPSET}
    x = image(*shape)
    assert_close(run(to_proto(graph), x), run(proto, x))
    return graph


ABSENT = TensorProto()


def ends(opsets: range) -> list[int]:
    """The first and the last, which is where revisions change."""
    return sorted({opsets[0], opsets[-1]})


def scales(*factors: float) -> TensorProto:
    return tensor("scales", factors, np.float32)


def statistics() -> list[TensorProto]:
    variance = tensor("var", [0.5, 1.0, 1.5, 2.0], np.float32)
    return [weight("scale", 4), weight("bias", 4), weight("mean", 4), variance]


def reduced_then(op: str, opset: int, **attributes: Any) -> onnx.ModelProto:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node(op, ["pooled"], ["y"], **attributes),
    ]
    return model(nodes, opset=opset, shape=("b", 4, 7, 6))


def flat_gemm(opset: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["y"], transB=1, alpha=0.5, beta=2.0),
    ]
    return model(nodes, initializers=[weight("w", 5, 168), weight("b", 5)], opset=opset, shape=("b", 4, 7, 6))


def resize(
    opset: int, factors: TensorProto | None, sizes: TensorProto | None = None, **attributes: Any
) -> onnx.ModelProto:
    stored = [tensor("roi", [], np.float32), factors or tensor("none", [], np.float32)]
    node = helper.make_node(
        "Resize", ["x", *(t.name for t in stored), *([sizes.name] if sizes else [])], ["y"], **attributes
    )
    return model([node], initializers=[*stored, *([sizes] if sizes else [])], opset=opset, shape=(2, 4, 7, 6))


OLD: dict[str, tuple[range, Callable[[int], onnx.ModelProto]]] = {
    "squeeze-attribute": (range(7, 13), lambda v: reduced_then("Squeeze", v, axes=[2, 3])),
    "squeeze-negative": (range(11, 13), lambda v: reduced_then("Squeeze", v, axes=[-1, -2])),
    "unsqueeze-attribute": (range(7, 13), lambda v: one_node("Unsqueeze", v, [], axes=[2, 5])),
    "reduce-l2-attribute": (range(7, 18), lambda v: one_node("ReduceL2", v, [], axes=[-1], keepdims=0)),
    "reduce-log-sum-exp-attribute": (range(7, 18), lambda v: one_node("ReduceLogSumExp", v, [], axes=[2, 3])),
    "reduce-mean-attribute": (range(7, 18), lambda v: one_node("ReduceMean", v, [], axes=[2, 3], keepdims=0)),
    "split-attribute": (range(7, 13), lambda v: one_node("Split", v, [], 2, axis=1, split=[1, 3])),
    "split-even": (range(7, 18), lambda v: one_node("Split", v, [], 2, axis=1)),
    "slice-attributes": (range(7, 10), lambda v: one_node("Slice", v, [], starts=[1, -4], ends=[9, -1], axes=[2, 3])),
    "pad-attributes": (range(7, 11), lambda v: one_node("Pad", v, [], pads=[0, 0, 1, 2, 0, 1, 0, 3], value=1.5)),
    "pad-reflect": (range(7, 11), lambda v: one_node("Pad", v, [], pads=[0, 0, 1, 2, 0, 0, 0, 3], mode="reflect")),
    "clip-attributes": (range(7, 11), lambda v: one_node("Clip", v, [], min=-0.3, max=0.6)),
    "clip-no-bound": (range(7, 11), lambda v: one_node("Clip", v, [], min=0.1)),
    "dropout-attribute": (range(7, 12), lambda v: one_node("Dropout", v, [], ratio=0.3)),
    "softmax-channels": (range(7, 13), lambda v: one_node("Softmax", v, [], axis=1)),
    "softmax-default": (range(7, 13), lambda v: one_node("Softmax", v, [])),
    "softmax-last": (range(7, 13), lambda v: one_node("Softmax", v, [], axis=3)),
    "log-softmax": (range(7, 13), lambda v: one_node("LogSoftmax", v, [], axis=2)),
    "batch-norm": (range(7, 9), lambda v: one_node("BatchNormalization", v, statistics(), epsilon=1e-3)),
    "max-pool": (range(7, 12), lambda v: one_node("MaxPool", v, [], kernel_shape=[3, 2], strides=[2, 1])),
    "avg-pool": (range(7, 19), lambda v: one_node("AveragePool", v, [], kernel_shape=[3, 3], pads=[1, 0, 1, 1])),
    "gemm": (range(7, 13), flat_gemm),
    "p-relu": (range(7, 16), lambda v: one_node("PRelu", v, [weight("s", 4, 1, 1)])),
    "depth-to-space": (range(7, 13), lambda v: one_node("DepthToSpace", v, [], blocksize=2)),
    "upsample-nearest": (range(9, 10), lambda v: one_node("Upsample", v, [scales(1, 1, 2, 3)], mode="nearest")),
    "upsample-linear": (range(9, 10), lambda v: one_node("Upsample", v, [scales(1, 1, 2, 1.5)], mode="linear")),
    "upsample-7": (range(7, 9), lambda v: one_node("Upsample", v, [], mode="nearest", scales=[1.0, 1.0, 2.0, 1.5])),
    "resize-10-up": (range(10, 11), lambda v: one_node("Resize", v, [scales(1, 1, 2.5, 2)], mode="nearest")),
    "resize-10-down": (range(10, 11), lambda v: one_node("Resize", v, [scales(1, 1, 0.5, 0.6)], mode="nearest")),
    "resize-10-linear": (range(10, 11), lambda v: one_node("Resize", v, [scales(1, 1, 0.5, 2)], mode="linear")),
    "resize-11": (range(11, 23), lambda v: resize(v, scales(1, 1, 2, 2))),
    "resize-11-sizes": (range(11, 23), lambda v: resize(v, None, tensor("sizes", [2, 4, 14, 9]))),
    "resize-align": (
        range(11, 23),
        lambda v: resize(
            v,
            None,
            tensor("sizes", [2, 4, 9, 11]),
            mode="linear",
            coordinate_transformation_mode="align_corners",
        ),
    ),
}


@pytest.mark.parametrize(("name", "opset"), [(name, opset) for name in OLD for opset in ends(OLD[name][0])])
def test_old_opset(name: str, opset: int, tmp_path: Path) -> None:
    check(OLD[name][1](opset), tmp_path)


NEW: list[Case] = [
    ("Conv", {"pads": [1, 1, 1, 1]}, [weight("w", 6, 4, 3, 3), weight("b", 6)]),
    ("ConvTranspose", {"strides": [2, 2]}, [weight("w", 4, 3, 2, 2)]),
    ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1, "strides": [2, 2]}, []),
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, []),
    ("AveragePool", {"kernel_shape": [2, 2], "dilations": [1, 1]}, []),
    ("GlobalAveragePool", {}, []),
    ("Identity", {}, []),
    ("Reshape", {"allowzero": 0}, [tensor("s", [0, -1])]),
    ("Reshape", {}, [tensor("s", [-1, 168])]),
    ("Flatten", {}, []),
    ("Transpose", {"perm": [0, 2, 3, 1]}, []),
    ("Squeeze", {}, []),
    ("Unsqueeze", {}, [tensor("a", [1])]),
    ("Pad", {"mode": "edge"}, [tensor("p", [0, 0, 1, 1, 0, 0, 2, 2])]),
    ("Pad", {}, [tensor("p", [1, -1]), tensor("v", 0.5, np.float32), tensor("a", [-1])]),
    ("Elu", {}, []),
    ("HardSwish", {}, []),
    ("HardSigmoid", {"alpha": 0.3}, []),
    ("Dropout", {}, [tensor("r", 0.4, np.float32)]),
    ("Softmax", {"axis": 1}, []),
    ("Relu", {}, []),
    ("BatchNormalization", {}, statistics()),
    ("Split", {"axis": 2, "num_outputs": 2}, []),
    ("ReduceMean", {"keepdims": 1}, [tensor("a", [2, 3])]),
    ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}, []),
]


@pytest.mark.parametrize("opset", [18, 19, 21, 22, 23, 25, NEWEST_RUN])
@pytest.mark.parametrize("case", NEW, ids=lambda case: case[0])
def test_new_opset(case: Case, opset: int, tmp_path: Path) -> None:
    op, attributes, stored = case
    if "dilations" in attributes and opset < 19:
        pytest.skip("AveragePool has dilations from opset 19 on")
    outputs = 2 if op == "Split" else 1
    check(one_node(op, opset, stored, outputs, **attributes), tmp_path)


@pytest.mark.parametrize("opset", [19, 25])
@pytest.mark.parametrize("pads", [[0, 0, 2, 1, 0, 0, 7, 3], [0, 0, -2, 0, 0, 0, 3, 2], [0, 1, 0, -1, 0, 0, 0, -1]])
def test_padding_that_wraps_around(pads: list[int], opset: int, tmp_path: Path) -> None:
    check(one_node("Pad", opset, [tensor("p", pads)], mode="wrap"), tmp_path)


REFUSED = [
    (19, "AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 2], "auto_pad": "SAME_UPPER"}, [], "dilations"),
    (19, "Pad", {"mode": "wrap"}, [tensor("p", [0, 0, 8, 1, 0, 0, 1, 1])], "wrap"),
    (
        19,
        "Resize",
        {"coordinate_transformation_mode": "half_pixel_symmetric", "mode": "linear"},
        [ABSENT, scales(1, 1, 1.3, 2)],
        "half_pixel_symmetric",
    ),
    (7, "BatchNormalization", {"spatial": 0}, statistics(), "spatial"),
    (14, "BatchNormalization", {"training_mode": 1}, statistics(), "training_mode"),
    (
        11,
        "Resize",
        {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "mode": "linear"},
        [tensor("roi", [], np.float32), scales(1, 1, 2, 2)],
        "tf_half_pixel_for_nn",
    ),
    (13, "Dropout", {}, [tensor("r", 0.4, np.float32), tensor("t", True, np.bool_)], "training_mode"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[1]}-{case[4]}")
def test_inexpressible_at_opset_18_is_refused(case: Any, tmp_path: Path) -> None:
    """What opset 18 cannot express is refused by name."""
    opset, op, attributes, stored, word = case
    with pytest.raises(UnsupportedOp, match=word) as caught:
        read(save(one_node(op, opset, stored, **attributes), tmp_path), input_size=(7, 6))
    assert caught.value.problems[0].place.endswith("net.onnx: node")


@pytest.mark.parametrize("opset", [9, 18, 22])
@pytest.mark.parametrize("kind", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool", "ConvTranspose"])
def test_automatic_padding_becomes_numbers(op: str, kind: str, opset: int, tmp_path: Path) -> None:
    stored = {"Conv": [weight("w", 6, 4, 3, 2)], "ConvTranspose": [weight("w", 4, 6, 3, 2)]}.get(op, [])
    attributes: dict[str, Any] = {} if stored else {"kernel_shape": [3, 2]}
    graph = check(one_node(op, opset, stored, auto_pad=kind, strides=[2, 1], **attributes), tmp_path)
    node = graph.nodes[0]
    assert "auto_pad" not in node.attributes
    assert len(attribute(node, "pads")) == 4


@pytest.mark.parametrize("opset", [7, 11, 22])
@pytest.mark.parametrize("shape", [[14, 12], [13, 11], [15, 13]])
def test_output_shape_becomes_padding(shape: list[int], opset: int, tmp_path: Path) -> None:
    proto = one_node("ConvTranspose", opset, [weight("w", 4, 6, 3, 3)], strides=[2, 2], output_shape=shape)
    graph = check(proto, tmp_path)
    assert "output_shape" not in graph.nodes[0].attributes


@pytest.mark.parametrize(
    "stray", [{"spatial": 1}, {"is_test": 1}, {"consumed_inputs": [0, 0, 0, 1, 1]}], ids=lambda s: next(iter(s))
)
def test_stray_batch_norm_attributes_go(stray: dict[str, Any], tmp_path: Path) -> None:
    """Attributes that old exporters leave on BatchNormalization are removed."""
    clean = one_node("BatchNormalization", 9, statistics())
    graph = read(save(one_node("BatchNormalization", 9, statistics(), **stray), tmp_path), input_size=(7, 6))
    x = image(2, 4, 7, 6)
    assert_close(run(to_proto(graph), x), run(clean, x))


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_an_opset_out_of_range_is_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=f"opset {opset}; supported are 7 to"):
        read(save(one_node("Relu", opset, []), tmp_path))
