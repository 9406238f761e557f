"""Cutting at features: what is left computes the same, and what comes after need not be readable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import LIGHT, assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.features import choose, cut_graph
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.graph.verify import verify
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.read import read

pytestmark = pytest.mark.properties


def choose_features(graph: Graph, *, taps: bool = False) -> list[str]:
    """Return the names of the values that a backbone made of ``graph`` ends at, the finest first."""
    return [name_of(found.value) for found in choose(graph, taps=taps).maps]


def conv(name: str, x: str, y: str, c_in: int, c_out: int, stride: int = 1) -> onnx.NodeProto:
    return helper.make_node("Conv", [x, f"{name}.w"], [y], name=name, pads=[1] * 4, strides=[stride] * 2)


def stage(count: int, c: int = 4) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """``count`` convolutions of stride 2, each with a ReLU: maps ``r0``, ``r1``…"""
    nodes, weights, before = [], [], "x"
    for index in range(count):
        nodes += [
            conv(f"c{index}", before, f"y{index}", c, c, 2),
            helper.make_node("Relu", [f"y{index}"], [f"r{index}"]),
        ]
        weights.append(weight(f"c{index}.w", c, 3 if index == 0 else c, 3, 3))
        before = f"r{index}"
    return nodes, weights


def classifier(size: int = 32, **changes: object) -> onnx.ModelProto:
    """Its last layer fits one image size only."""
    nodes, weights = stage(3)
    nodes += [
        helper.make_node("Reshape", ["r2", "shape"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "fc.w"], ["y"], name="fc"),
    ]
    weights += [tensor("shape", [1, 4 * (size // 8) ** 2]), weight("fc.w", 4 * (size // 8) ** 2, 10)]
    return model(nodes, initializers=weights, shape=[1, 3, size, size], **changes)  # type: ignore[arg-type]


def names(graph: Graph) -> list[str]:
    return [name_of(value) for value in graph.outputs]


def test_cut_at_a_value_or_a_node(tmp_path: Path) -> None:
    path = save(classifier(), tmp_path)
    whole = classifier()
    whole.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in ("y1", "r2"))
    x = image(1, 3, 32, 32)
    expected = run(whole, x)
    for features in (["y1", "r2"], ["c1", "r2"]):
        graph = read(path, features=features)
        assert names(graph) == ["y1", "r2"]
        assert "2 of 8 nodes are left out" in graph.notes[0]
        assert_close(run(to_proto(graph), x), {name: expected[name] for name in ("y1", "r2")})
    assert "fc.w" not in graph.initializers


def test_fixed_tail_at_another_size(tmp_path: Path) -> None:
    """A last layer that fits one image size is no hindrance behind the features."""
    path = save(classifier(), tmp_path)
    with pytest.raises(InvalidModel):
        read(path, input_size=(64, 48))
    for graph in (read(path, features=["r2"], input_size=(64, 48)), read_backbone(path, input_size=(64, 48))):
        assert shape_of(verify(graph).outputs[0]) == (None, 4, 8, 6)
    assert '"r2" (stride 8); the 2 nodes after' in graph.notes[-1]


def test_taps_at_another_size(tmp_path: Path) -> None:
    path = save(classifier(), tmp_path)
    graph = read_backbone(path, taps=True, input_size=(64, 64))
    assert names(graph) == ["r1", "r2"]
    assert '"r1" (stride 4), "r2" (stride 8)' in graph.notes[-1]


def test_features_stand_from_the_finest(tmp_path: Path) -> None:
    path = save(classifier(), tmp_path)
    assert names(read_backbone(path, features=["r2", "r0", "c1"])) == ["r0", "y1", "r2"]
    with pytest.raises(InvalidModel, match='"y" has shape'):
        read_backbone(path, features=["r2", "fc"])


def unreadable(weighted: bool = False) -> onnx.ModelProto:
    """A detector whose boxes are selected by operators that no backbone has."""
    nodes, weights = stage(2)
    nodes += [
        helper.make_node("NonMaxSuppression", ["r1", "r1"], ["kept"], name="nms"),
        helper.make_node("Cast", ["kept"], ["y"], name="cast", to=onnx.TensorProto.FLOAT),
    ]
    if weighted:
        nodes.append(helper.make_node("MatMul", ["y", "m"], ["z"], name="matmul"))
        weights.append(weight("m", 3, 3))
    return model(nodes, initializers=weights, shape=["b", 3, 32, 32], outputs=["z" if weighted else "y"])


def test_unreadable_tail_is_left_out(tmp_path: Path) -> None:
    """What follows the features need not be readable."""
    path = save(unreadable(), tmp_path)
    with pytest.raises(UnsupportedOp, match="NonMaxSuppression"):
        read(path)
    assert names(read(path, features=["r1"])) == ["r1"]
    found = read_backbone(path)
    assert names(found) == ["r1"]
    assert any("left out 2 nodes" in note and "NonMaxSuppression" in note for note in found.notes)


def test_weights_are_never_left_out_unasked(tmp_path: Path) -> None:
    path = save(unreadable(weighted=True), tmp_path)
    with pytest.raises(UnsupportedOp, match="NonMaxSuppression"):
        read_backbone(path)
    assert names(read_backbone(path, features=["r1"])) == ["r1"]


def test_wrong_names_are_refused_with_guesses(tmp_path: Path) -> None:
    """All wrong names are refused at once, each with the name that is nearest."""
    path = save(classifier(), tmp_path)
    with pytest.raises(InvalidModel) as caught:
        read(path, features=["c11", "x", "fc.w", "r2"])
    text = str(caught.value)
    assert 'no value or node "c11"' in text and 'did you mean "c1"?' in text
    assert '"x" is an input or weight' in text and '"fc.w" is an input or weight' in text
    with pytest.raises(InvalidModel, match='did you mean "c1"'):
        cut_graph(read(path), ["c11"])


def test_name_of_several_nodes(tmp_path: Path) -> None:
    """Nodes of one name are refused as a feature, with the values that can be named instead."""
    proto = classifier()
    proto.graph.node[0].name = proto.graph.node[2].name = "same"
    path = save(proto, tmp_path)
    with pytest.raises(InvalidModel, match='2 nodes are called "same"') as caught:
        read(path, features=["same"])
    assert "y0, y1" in str(caught.value)
    assert names(read(path, features=["y0"])) == ["y0"]


def test_last_map_with_a_gate() -> None:
    """The squeezed branch of an attention block, [N, C, 1, 1], is no feature map."""
    nodes, weights = stage(2)
    nodes += [
        helper.make_node("GlobalAveragePool", ["r1"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["gate"]),
        helper.make_node("Mul", ["gate", "r1"], ["gated"], name="excite"),
        helper.make_node("GlobalAveragePool", ["gated"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    graph = graph_of(model(nodes, initializers=weights, shape=["b", 3, 32, 32]))
    assert choose_features(graph) == ["gated"]


def test_detector_ends_at_coarsest_shared_map() -> None:
    """FPN: laterals, a top-down path and two predictions a level; the heads' own maps are not chosen."""
    nodes, weights = stage(5)
    nodes += [
        conv("lateral4", "r4", "p4", 4, 4),
        helper.make_node("Resize", ["p4", "", "twice"], ["up"], name="up", mode="nearest"),
        helper.make_node("Add", ["up", "r3"], ["p3"], name="sum"),
    ]
    weights += [weight("lateral4.w", 4, 4, 3, 3), tensor("twice", [1, 1, 2, 2], np.float32)]
    outputs = []
    for level in (3, 4):
        for kind in ("cls", "box"):
            name = f"{kind}{level}"
            nodes.append(conv(name, f"p{level}", f"{name}_y", 4, 4))
            nodes.append(helper.make_node("Reshape", [f"{name}_y", "list"], [f"{name}_out"], name=f"{name}_list"))
            weights.append(weight(f"{name}.w", 4, 4, 3, 3))
            outputs.append(f"{name}_out")
    weights.append(tensor("list", [0, 4, -1]))
    graph = graph_of(model(nodes, initializers=weights, shape=["b", 3, 64, 64], outputs=outputs))
    assert choose_features(graph) == ["p4"]
    assert choose_features(graph, taps=True) == ["r1", "r2", "r3", "p4"]
    joined = graph_of(
        model(
            [*nodes, helper.make_node("Concat", outputs, ["y"], axis=2)],
            initializers=weights,
            shape=["b", 3, 64, 64],
        )
    )
    assert choose_features(joined) == ["p4"]


def test_given_pyramid_is_kept() -> None:
    """A network whose outputs are a pyramid of maps keeps them."""
    nodes, weights = stage(4)
    graph = graph_of(model(nodes, initializers=weights, shape=["b", 3, 64, 64], outputs=["r1", "r2", "r3"]))
    assert choose_features(graph, taps=True) == names(graph)
    assert choose_features(graph) == ["r3"]


def test_no_map_no_backbone() -> None:
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    with pytest.raises(InvalidModel, match="no feature map"):
        choose_features(graph_of(model(nodes)))


@pytest.mark.parametrize("name", ["bvlc_alexnet", "resnet50", "squeezenet", "inception_v1", "vgg19"])
def test_packaged_classifiers_at_another_size(name: str) -> None:
    path = LIGHT / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("onnx was installed without its light models")
    graph = read_backbone(path, taps=True, input_size=(96, 128))
    sizes = [shape_of(value)[2:] for value in graph.outputs]
    assert len(sizes) >= 3 and sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < (12, 16) and "stride 4" in graph.notes[-1]


@pytest.mark.parametrize(
    ("dropout", "softmax", "weights_after", "expected"),
    [
        (True, False, False, "r2"),
        (False, True, False, "r2"),
        (True, True, False, "r2"),
        (False, False, False, "r3"),  # pooled features of a network without a classifier
        (True, True, True, "r3"),
    ],
)
def test_convolution_as_classifier(dropout: bool, softmax: bool, weights_after: bool, expected: str) -> None:
    """A 1x1 convolution before the pooling is a classifier by a Dropout before it or a softmax behind it."""
    nodes, weights = stage(3)
    reads = "r2"
    if dropout:
        nodes.append(helper.make_node("Dropout", ["r2"], ["d"], name="drop"))
        reads = "d"
    nodes += [
        helper.make_node("Conv", [reads, "last.w"], ["y3"], name="last"),
        helper.make_node("Relu", ["y3"], ["r3"]),
        helper.make_node("GlobalAveragePool", ["r3"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
    ]
    weights += [weight("last.w", 7, 4, 1, 1), weight("fc.w", 7, 5)]
    value = "f"
    if weights_after:
        nodes.append(helper.make_node("MatMul", [value, "fc.w"], ["m"]))
        value = "m"
    nodes.append(helper.make_node("Softmax" if softmax else "Neg", [value], ["y"]))
    found = choose_features(graph_of(model(nodes, initializers=weights, shape=["n", 3, 32, 32])))
    assert found == [expected]


def graph_of(proto: onnx.ModelProto) -> Graph:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return read(save(proto, Path(folder)))
