"""Parity: a deformable convolution, read as operators of opset 18, computes the same in onnxruntime, and trains."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.cost import graph_cost
from trunkline.graph.graph import name_of
from trunkline.graph.roles import is_parameter
from trunkline.ingest.read import read
from trunkline.twins.twin import Twin


def net(
    *,
    kernel: tuple[int, int] = (3, 3),
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, ...] = (1, 1, 1, 1),
    dilations: tuple[int, int] = (1, 1),
    group: int = 1,
    offset_group: int = 1,
    masked: bool = True,
    opset: int = 19,
) -> onnx.ModelProto:
    """Offsets and mask come from convolutions of the image, as in Deformable ConvNets v2."""
    taps = offset_group * kernel[0] * kernel[1]
    window = {"strides": strides, "pads": pads, "dilations": dilations}
    nodes = [
        helper.make_node("Conv", ["x", "ow"], ["offset"], **window),
        helper.make_node("Conv", ["x", "mw"], ["logits"], **window),
        helper.make_node("Sigmoid", ["logits"], ["mask"]),
        helper.make_node(
            *("DeformConv", ["x", "w", "offset", "b", *(["mask"] if masked else [])], ["y"]),
            **(window | {"group": group, "offset_group": offset_group}),
        ),
    ]
    stored = [weight("ow", 2 * taps, 4, *kernel), weight("w", 6, 4 // group, *kernel), weight("b", 6)]
    nodes = nodes if masked else [nodes[0], nodes[3]]
    return model(
        nodes,
        initializers=[*stored, *([weight("mw", taps, 4, *kernel)] if masked else [])],
        opset=opset,
        shape=("b", 4, 9, 8),
    )


@pytest.mark.parity
@settings(max_examples=15, deadline=None)
@given(
    kernel=st.sampled_from([(1, 1), (3, 3), (2, 3)]),
    strides=st.sampled_from([(1, 1), (2, 1)]),
    pads=st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 1, 0)]),
    dilations=st.sampled_from([(1, 1), (2, 1)]),
    group=st.sampled_from([1, 2]),
    offset_group=st.sampled_from([1, 2, 4]),
    masked=st.booleans(),
    opset=st.sampled_from([19, 22]),
)
def test_agrees_with_onnxruntime(**window: object) -> None:
    proto = net(**window)
    x = image(2, 4, 9, 8)
    with TemporaryDirectory() as folder:
        graph = read(save(proto, Path(folder)))
    assert "DeformConv" not in {node.op_type for node in graph.nodes}
    expected = run(proto, x)
    assert_close(run(to_proto(graph), x), expected)
    got = Twin(graph)(torch.from_numpy(x))
    assert_close({name: value.detach().numpy() for name, value in got.items()}, expected)


@pytest.mark.golden
def test_weights_are_those_of_a_convolution(tmp_path: Path) -> None:
    graph = read(save(net(group=2, offset_group=2), tmp_path))
    trained = {name for name, value in graph.initializers.items() if is_parameter(value)}
    assert trained == {"ow", "mw", "w", "b"}
    assert graph_cost(graph).macs == 9 * 8 * 9 * (36 * 4 + 18 * 4 + 6 * 2)
    twin = Twin(graph)
    twin(torch.from_numpy(image(2, 4, 9, 8)))["y"].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in twin.trainable().values())


@pytest.mark.parity
def test_another_image_size(tmp_path: Path) -> None:
    proto = net()
    graph = read(save(proto, tmp_path), input_size=(6, 11))
    x = image(1, 4, 6, 11)
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 6
    proto.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 11
    assert_close(run(to_proto(graph), x), run(proto, x))
    assert name_of(graph.outputs[0]) == "y"


def changed(**attributes: object) -> onnx.ModelProto:
    """The network with other attributes of its deformable convolution."""
    proto = net()
    kept = [item for item in proto.graph.node[3].attribute if item.name not in attributes]
    del proto.graph.node[3].attribute[:]
    proto.graph.node[3].attribute.extend(kept + [helper.make_attribute(*item) for item in attributes.items()])
    return proto


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"offset_group": 3}, "3 offset groups do not divide 4 channels"),
        ({"offset_group": 0}, "0 offset groups"),
        ({"offset_group": 2}, r"input 2 is \[.*18, 9, 8\]; \[.*36, 9, 8\] was expected"),
        ({"strides": [0, 1]}, "DeformConv"),
        ({"strides": [1]}, "DeformConv"),
        ({"dilations": [1, 1, 1]}, "DeformConv"),
        ({"dilations": [-1, 1]}, "DeformConv"),
        ({"pads": [1, 1, 1]}, "DeformConv"),
        ({"pads": [2**40] * 4}, "DeformConv"),
        ({"group": 3}, "y"),
    ],
)
def test_unfit_attributes_are_refused(attributes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=message):
        read(save(changed(**attributes), tmp_path))


@pytest.mark.abuse
@pytest.mark.parametrize(("index", "name"), [(2, ""), (2, "mask"), (4, "offset"), (1, "offset"), (1, "ow")])
def test_unfit_inputs_are_refused(index: int, name: str, tmp_path: Path) -> None:
    proto = net()
    proto.graph.node[3].input[index] = name
    with pytest.raises(InvalidModel):
        read(save(proto, tmp_path))


@pytest.mark.abuse
def test_volumes_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["v"]),
        helper.make_node("DeformConv", ["v", "w", "o"], ["y"]),
    ]
    stored = [tensor("axes", [2], np.int64), weight("w", 2, 3, 1, 1, 1), weight("o", 1, 3, 1, 4, 4)]
    path = save(model(nodes, initializers=stored, opset=19, shape=("b", 3, 4, 4)), tmp_path)
    with pytest.raises(UnsupportedOp, match="3 spatial axes"):
        read(path)
