"""What the bench counts as heads: what the file says of its own nodes, and only of a file that says so of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from trunkline.bench.candidate import Macs
from trunkline.bench.models import count_work
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.cost import graph_cost
from trunkline.graph.features import cut_graph
from trunkline.graph.graph import Graph, name_of
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.read import read
from trunkline.verbs.build import Sharing, build
from trunkline.verbs.convert import convert

pytestmark = pytest.mark.golden

TASKS = {"a": 2, "b": 3}


def executed(path: Path) -> Macs:
    work = count_work(path)
    assert work is not None
    return work[0]


def backbone() -> Graph:
    """Two convolutions with weights of their own, the second called like a layer of a head."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("odd")
    x, attributes = b.image("image", (3, 16, 16)), {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4}
    for name, channels in (("stem", 3), ("head.a.conv1", 8)):
        weight = b.tensor(f"{name}.weight", rng.standard_normal((8, channels, 3, 3)).astype(np.float32))
        x = b.node("Relu", [b.node("Conv", [x, weight], name=name, attributes=attributes)], name=f"{name}_relu")
    return b.finish([x])


@pytest.fixture
def built(tmp_path: Path) -> Path:
    return build(backbone(), tmp_path / "m.onnx", tasks=TASKS, sharing=Sharing(independent=True), fold=True).path


def expected(copies: int = 2) -> Macs:
    heads = sum(channels * 64 * 9 + 8 * 64 for channels in TASKS.values()) * 16 * 16
    return Macs(copies * graph_cost(backbone()).macs, heads)


@pytest.mark.parametrize("fold", [True, False])
def test_built_file_separates_backbone_and_heads(fold: bool, tmp_path: Path) -> None:
    for sharing, copies in ((Sharing(independent=True), 2), (Sharing(all_shared=True), 1)):
        result = build(backbone(), tmp_path / "m.onnx", tasks=TASKS, sharing=sharing, fold=fold)
        assert executed(result.path) == expected(copies)
        assert (result.cost.backbone.macs, result.cost.heads.macs) == (expected(copies).backbone, expected().heads)


def test_reuse_and_conversion_keep_owners(built: Path, tmp_path: Path) -> None:
    """Equal columns become one when a file is optimised; what is left still says whose it is."""
    again = write_onnx(read(built), tmp_path / "again.onnx")
    assert executed(again) == expected(1)
    convert(again, tmp_path / "converted.onnx", parity_inputs=1)
    assert executed(tmp_path / "converted.onnx") == expected(1)


def test_foreign_file_is_all_backbone(tmp_path: Path) -> None:
    """Names that look like a head's say nothing, nor do notes on nodes of a model that does not speak of tasks."""
    path = write_onnx(backbone(), tmp_path / "m.onnx")
    assert executed(path) == Macs(graph_cost(backbone()).macs, 0)
    proto = onnx.load(path)
    for node in proto.graph.node:
        node.metadata_props.add(key="trunkline.part", value="head")
    onnx.save(proto, path)
    assert executed(path) == Macs(graph_cost(backbone()).macs, 0)


def test_cut_nodes_have_no_owner(built: Path, tmp_path: Path) -> None:
    """A piece of our file that ends inside a head is a network of its own."""
    inside = cut_graph(read(built), ["head.a.norm1"])
    assert not any(key for node in inside.nodes for key in node.metadata_props if key != "trunkline.source")
    path = write_onnx(inside, tmp_path / "piece.onnx")
    assert executed(path) == Macs(graph_cost(inside).macs, 0)
    assert not any(p.key == "trunkline.tasks" for node in onnx.load(path).graph.node for p in node.metadata_props)


def test_former_head_becomes_backbone(built: Path, tmp_path: Path) -> None:
    """Our file read as a backbone up to the inside of a head, shared by tasks of the same names."""
    again = read_backbone(built, features=["head.a.relu1"])
    assert "head.a.conv1_2" in {name_of(node) for node in again.nodes}
    result = build(again, tmp_path / "next.onnx", tasks=TASKS, sharing=Sharing(all_shared=True))
    assert result.cost.backbone.macs == graph_cost(again).macs
    assert executed(result.path) == Macs(result.cost.backbone.macs, result.cost.heads.macs)


def test_other_outputs_make_another_model(built: Path, tmp_path: Path) -> None:
    proto = onnx.load(built)
    proto.graph.node.append(onnx.helper.make_node("Relu", ["a"], ["mine"], name="mine"))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("mine", onnx.TensorProto.FLOAT, ["N", 2, 16, 16]))
    onnx.save(proto, tmp_path / "theirs.onnx")
    assert executed(tmp_path / "theirs.onnx") == Macs(expected().backbone + expected().heads, 0)
    del proto.graph.output[:]
    proto.graph.output.append(onnx.load(built).graph.output[1])
    onnx.save(proto, tmp_path / "one_task.onnx")
    found = executed(tmp_path / "one_task.onnx")
    assert found == Macs(graph_cost(backbone()).macs, (3 * 64 * 9 + 8 * 64) * 16 * 16)
