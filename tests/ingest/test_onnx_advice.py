"""What an ONNX file is refused for is told by name, with advice that works."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from exporter_styles import STYLES
from exporter_styles.writing import file, floats, ints, node
from onnx import TensorProto, helper
from onnx_models import assert_close, image, run, save, to_proto, weight

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.ingest.read import read

pytestmark = pytest.mark.abuse


def advised(error: InvalidModel) -> list[str]:
    """The values the error advises to cut at."""
    found = re.search(r"--features (\S+)", str(error))
    assert found, str(error)
    return found[1].split(",")


def recurrent() -> onnx.ModelProto:
    """A reader of text lines: convolutions, then columns as a sequence."""
    nodes = [
        node("Conv", "x w", "c", strides=[8, 1]),
        node("Squeeze", "c", "columns", axes=[2]),
        node("Transpose", "columns", "sequence", perm=[2, 0, 1]),
        node("LSTM", "sequence wi wh", "hidden", hidden_size=2),
        node("Squeeze", "hidden", "y", axes=[1]),
    ]
    return file(nodes, [weight("w", 4, 3, 8, 1), weight("wi", 1, 8, 4), weight("wh", 1, 8, 2)], shape=("n", 3, 8, 16))


def detector() -> onnx.ModelProto:
    """Boxes scaled back by a second input, as Paddle's and MMDetection's exporters leave it in."""
    nodes = [
        node("Conv", "x w", "c"),
        node("Relu", "c", "r"),
        node("Conv", "r w2", "boxes"),
        node("Conv", "r w2", "scores"),
        node("Mul", "boxes scale_factor", "scaled"),
        node("Concat", "scaled scores", "y", axis=1),
    ]
    proto = file(nodes, [weight("w", 4, 3, 3, 3), weight("w2", 4, 4, 1, 1)], shape=("n", 3, 8, 8))
    proto.graph.input.insert(0, helper.make_tensor_value_info("scale_factor", TensorProto.FLOAT, ["n", 1]))
    proto.graph.node[4].input[1] = "scale4"
    proto.graph.node.insert(0, node("Unsqueeze", "scale_factor", "scale4", axes=[2, 3]))
    return proto


@pytest.mark.parametrize(("build", "word"), [(recurrent, "LSTM: recurrent layers"), (detector, "2 inputs")])
def test_advised_cuts_work(build: object, word: str, tmp_path: Path) -> None:
    """The file can be cut at the values that the advice names."""
    assert callable(build)
    proto = build()
    path = save(proto, tmp_path)
    with pytest.raises(InvalidModel, match=word) as caught:
        read(path)
    graph = read(path, features=advised(caught.value))
    x = image(2, *[dim.dim_value for dim in proto.graph.input[-1].type.tensor_type.shape.dim][1:])
    names = [value.name for value in graph.outputs]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    feeds = {"x": x, "scale_factor": np.ones((2, 1), np.float32)}
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = {value.name: feeds[value.name] for value in session.get_inputs()}
    assert_close(run(to_proto(graph), x), dict(zip(names, session.run(names, wanted), strict=True)))


def test_equal_reasons_are_one_problem(tmp_path: Path) -> None:
    """Nodes that are refused for the same reason are one problem."""
    nodes = [node("Conv", "x w", "a0")]
    nodes += [node("DequantizeLinear", f"a{i} scale", f"a{i + 1}", name=f"dq{i}") for i in range(40)]
    nodes.append(node("NonZero", "a40", "y"))
    with pytest.raises(UnsupportedOp) as caught:
        read(save(file(nodes, [weight("w", 4, 3, 3, 3), floats("scale", 1)], opset=13), tmp_path))
    first, second = caught.value.problems[:2]
    assert first.place.endswith("dq0") and "here and in 39 more nodes" in first.message
    assert "give the float model" in first.message
    assert second.place.endswith("y") and "post-processing" in second.message
    assert "supported operators" not in str(caught.value)
    assert advised(caught.value) == ["a0"]


def test_file_optimised_by_onnxruntime_is_refused(tmp_path: Path) -> None:
    """A file that onnxruntime has optimised for itself is refused, with what to give instead."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "extended.onnx")
    options.log_severity_level = 4
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "y")]
    proto = file(nodes, [weight("w", 4, 3, 3, 3)])
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with pytest.raises(UnsupportedOp, match=r"FusedConv.*com\.microsoft.*as it was before"):
        read(tmp_path / "extended.onnx")


@pytest.mark.parametrize(
    ("domain", "word"),
    [
        ("org.pytorch.aten", "torch's exporter knew no ONNX"),
        ("mmdeploy", "plugin"),
        ("ai.onnx.ml", "classical machine learning"),
        ("my.company", '"my.company" is not supported'),
    ],
)
def test_other_domains_are_refused_by_name(domain: str, word: str, tmp_path: Path) -> None:
    proto = file([node("Conv", "x w", "c"), node("Special", "c", "y", domain=domain)], [weight("w", 4, 3, 3, 3)])
    proto.opset_import.append(helper.make_opsetid(domain, 1))
    with pytest.raises(UnsupportedOp, match=f"y: Special: (.|\n)*{word}") as caught:
        read(save(proto, tmp_path))
    assert advised(caught.value) == ["c"]


def test_file_without_its_weights(tmp_path: Path) -> None:
    """A file whose weights are inputs is refused with that reason."""
    proto = STYLES["mxnet_classifier"]()
    del proto.graph.initializer[:]
    with pytest.raises(InvalidModel, match=r"9 inputs that must be given(.|\n)*and 3 more(.|\n)*weights inside"):
        read(save(proto, tmp_path))


def test_reversed_batch_is_refused(tmp_path: Path) -> None:
    """A Slice that reverses the images of a batch is refused."""
    nodes = [node("Slice", "x start end axis step", "y")]
    stored = [ints("start", -1), ints("end", -100), ints("axis", 0), ints("step", -1)]
    with pytest.raises(InvalidModel, match="mixes the images"):
        read(save(file(nodes, stored, shape=("n", 3, 8, 8)), tmp_path))


@pytest.mark.parametrize(
    "last",
    [
        node("Conv", "x w", "y"),
        node("MaxPool", "x", "y", kernel_shape=[2, 2]),
        node("Conv", "x w", "y", dilations=[3, 3]),
    ],
)
def test_advice_for_an_image_of_one_pixel(last: onnx.NodeProto, tmp_path: Path) -> None:
    """The error for an image of one pixel names what works."""
    path = save(file([last], [weight("w", 4, 3, 3, 3)], shape=(1, 3, 1, 1)), tmp_path)
    with pytest.raises(
        InvalidModel, match="y: (Conv|MaxPool): its output(.|\n)*give a larger image with --input-size H,W"
    ):
        read(path)
    assert read(path, input_size=(16, 16)).outputs
