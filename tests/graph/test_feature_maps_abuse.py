"""Features that are no maps, or cannot be known to be: refused with advice, or taken with a note."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from feature_nets import Net, gated, stages
from onnx_models import image, run, save, tensor, to_proto

from trunkline.cli.main import run as command
from trunkline.errors import InvalidModel
from trunkline.graph.graph import shape_of
from trunkline.graph.maps.dominators import dominators, post_dominators
from trunkline.graph.verify import verify
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.read import read
from trunkline.verbs.inspect import inspect

pytestmark = pytest.mark.abuse

CORPUS = Path(__file__).parents[1] / "corpus" / "features"
SIZE = (32, 32)


def channels_last_end() -> onnx.ModelProto:
    net = Net(SIZE)
    net("Transpose", stages(net, 2), "last", perm=[0, 2, 3, 1])
    net.linear("last", "dense", 8, 8)
    net("ReduceMean", f"dense {net.ints(1, 2)}", "pooled", keepdims=1)
    net("Flatten", "pooled", "flat")
    return net.file(net("Gemm", f"flat {net.weight('fc', 8, 5)}", "y"))


def test_a_named_value_is_turned_too(tmp_path: Path) -> None:
    proto = channels_last_end()
    path = save(proto, tmp_path)
    graph = verify(read_backbone(path, features=["dense", "r1"]))
    assert [shape_of(value) for value in graph.outputs] == [(None, 8, 16, 16), (None, 8, 8, 8)]
    assert any('"dense" is [N, H, W, C]' in note for note in graph.notes)
    x = image(2, 3, *SIZE)
    expected = run(to_proto(read(path, features=["dense"])), x)["dense"]
    np.testing.assert_allclose(list(run(to_proto(graph), x).values())[1], expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_a_named_pooled_vector_is_refused(tmp_path: Path) -> None:
    path = save(channels_last_end(), tmp_path)
    with pytest.raises(InvalidModel, match='"pooled".*is no map.*channels') as caught:
        read_backbone(path, features=["pooled"])
    assert "`inspect` shows" in str(caught.value)


def lost(reshaped: bool = True) -> onnx.ModelProto:
    """8 x 12 x 12 numbers are dealt out anew as 9 x 8 x 16, and then go through a convolution."""
    net = Net((48, 48))
    before = stages(net, 2)
    if reshaped:
        before = net("Reshape", f"{before} {net.ints(0, 9, 8, 16)}", "dealt")
    return net.classify(net.conv_relu(before, "deep", 9 if reshaped else 8, 8), 8)


def test_the_last_map_is_not_guessed(tmp_path: Path) -> None:
    """Every build would lack the layers behind the last map that is known, so the file is refused, with the place."""
    path = save(lost(), tmp_path)
    for taps in (False, True):
        with pytest.raises(InvalidModel, match='"deep.conv".*is not known') as caught:
            read_backbone(path, taps=taps)
        assert "--features" in str(caught.value)
    found = inspect(path)
    assert found.features == () == found.pyramid
    assert any("may not be the last feature map" in problem for problem in found.problems)
    assert inspect(save(lost(reshaped=False), tmp_path)).features[0].name == "deep"


def test_what_is_not_known_may_be_named(tmp_path: Path) -> None:
    graph = read_backbone(save(lost(), tmp_path), features=["deep"])
    assert shape_of(graph.outputs[0]) == (None, 8, 8, 16)
    assert any('which axis of "deep" is which is not known' in note for note in graph.notes)


def test_where_the_batch_moves_the_advice_works(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A text recogniser ends in [T, N, C]; the map before the sequence is named."""
    path = str(CORPUS / "crnn_tnc.onnx")
    assert command(["inspect", path]) == 2
    shown = capsys.readouterr().err
    advised = re.search(r"--features (\S+)", shown)
    assert advised is not None
    assert advised[1] == "maxpool_4"
    assert command(["inspect", path, "--features", advised[1]]) == 0
    tasks = ["--tasks", "seg:3", "--all-shared", "--head", "linear"]
    assert command(["build", path, str(tmp_path / "o.onnx"), "--features", advised[1], *tasks]) == 0


def test_line_of_a_map_as_output() -> None:
    """A map of one row is kept where it is the output."""
    graph = read(CORPUS / "crnn_tnc.onnx", features=["maxpool_4"])
    assert shape_of(read_backbone(graph).outputs[0]) == (None, 8, 1, 32)


def test_advice_without_a_batch_first_value(tmp_path: Path) -> None:
    """Where nothing has the batch first, the advice is to export the network with it first."""
    net = Net(SIZE)
    net("Transpose", "x", "y", perm=[1, 0, 2, 3])
    with pytest.raises(InvalidModel, match="export the network with the batch axis first"):
        read(save(net.file("y"), tmp_path))


def classified(activation: str = "Relu", bias: bool = True, normed: bool = False) -> onnx.ModelProto:
    net = Net(SIZE)
    before = stages(net, 2)
    if normed:
        before = net.norm(net.conv(before, "c", 8, 8), "n", 8)
    net.conv(before, "classes", 8, 10, 1, bias=bias)
    net.stored += [tensor("zero", 0, np.float32), tensor("six", 6, np.float32)]
    net(activation, "classes zero six" if activation == "Clip" else "classes", "scores")
    net("GlobalAveragePool", "scores", "pooled")
    return net.file(net("Flatten", "pooled", "y"))


@pytest.mark.parametrize(
    ("changes", "expected", "doubtful"),
    [
        ({}, "r2", True),  # SqueezeNet
        ({"normed": True}, "n", False),
        ({"activation": "Clip"}, "scores", False),  # MobileNetV2 without its classifier
        ({"activation": "Sigmoid"}, "scores", False),
        ({"bias": False}, "scores", False),
        ({"bias": False, "normed": True}, "scores", False),
    ],
    ids=str,
)
def test_convolution_as_classifier_without_dropout(
    changes: dict[str, object], expected: str, doubtful: bool, tmp_path: Path
) -> None:
    """A 1x1 convolution before the pooling is the classifier, or not, in a file exported for use."""
    found = inspect(save(classified(**changes), tmp_path))  # type: ignore[arg-type]
    assert found.features[0].name == expected
    assert any("is taken for the classifier" in problem for problem in found.problems) is doubtful


def test_doubt_is_a_note_with_advice(tmp_path: Path) -> None:
    """A backbone has a note on what is taken for its classifier, and the features that the note names can be read."""
    path = save(classified(), tmp_path)
    (note,) = [note for note in read_backbone(path).notes if "--features" in note]
    name = note.rpartition(" ")[2]
    assert shape_of(read_backbone(path, features=[name]).outputs[0]) == (None, 10, 8, 8)


def test_a_fully_convolutional_network_keeps_its_map(tmp_path: Path) -> None:
    net = Net(SIZE)
    proto = net.file(net.conv(stages(net, 2), "y", 8, 5, 1, bias=True))
    assert inspect(save(proto, tmp_path)).features[0].name == "y"


def test_predictions_at_several_scales_are_no_features(tmp_path: Path) -> None:
    """A detector's raw outputs: as many channels at each scale, the finer from the coarser."""
    net = Net((64, 64))
    stages(net, 4)
    net.resize("r4", "up", 2)
    net("Add", "r3 up", "p3")
    for level in ("p3", "r4"):
        net.conv(level, f"raw_{level}", 8, 18, 1, bias=True)
    assert inspect(save(net.file("raw_p3", "raw_r4"), tmp_path)).features[0].name == "r4"


def test_detour_makes_no_decoder(tmp_path: Path) -> None:
    """A branch to stride 64 and back, under a detector that parts at stride 32."""
    net = Net((256, 256))
    gated(net, stages(net, 4), 4)
    net.conv_relu("r4.gated", "s5", 8, 8, s=2)
    net.conv("s5", "p5", 8, 8, 1)
    net.resize("p5", "up", 2)
    net("Add", "r4.gated up", "p4")
    outputs = []
    for level in ("p4", "p5"):
        for kind in ("class", "box"):
            net.conv(level, f"{kind}_{level}", 8, 4, bias=True)
            outputs.append(net("Reshape", f"{kind}_{level} {net.ints(0, 4, -1)}", f"{kind}_{level}_list"))
    found = inspect(save(net.file(*outputs), tmp_path))
    assert [item.name for item in found.features] == ["p5"]
    assert [item.name for item in found.pyramid] == ["r2", "r3", "r4.gated", "p5"]


def test_what_all_paths_pass(tmp_path: Path) -> None:
    """Before a node and behind it, with detours inside detours."""
    net = Net(SIZE)
    net("Relu", "x", "a")
    net("Relu", "a", "b")
    net("Relu", "b", "c")
    net("Add", "b c", "inner")
    net("Add", "a inner", "outer")
    net("Relu", "c", "side")
    nodes = read(save(net.file("outer", "side"), tmp_path)).nodes
    names = {node: node.name for node in nodes}
    before = {node.name: names.get(parent) for node, parent in dominators(nodes).items()}  # type: ignore[arg-type]
    assert before == {"a": None, "b": "a", "c": "b", "inner": "b", "outer": "a", "side": "c"}
    outputs = [value for node in nodes for value in node.outputs if value.is_graph_output()]
    behind = {node.name: names.get(parent) for node, parent in post_dominators(nodes, outputs).items()}  # type: ignore[arg-type]
    assert behind == {"a": None, "b": None, "c": None, "inner": "outer", "outer": None, "side": None}
    alone = post_dominators([node for node in nodes if node.name != "side"], outputs[:1])
    assert {node.name: names.get(parent) for node, parent in alone.items()} == {  # type: ignore[arg-type]
        **{"a": "outer", "b": "inner", "c": "inner", "inner": "outer", "outer": None},
    }
