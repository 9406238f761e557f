"""Abuse and golden: features and heads of several maps, from the verbs and the pipeline file."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from trunkline.cli.main import run
from trunkline.cli.options import features_of
from trunkline.errors import InvalidConfig, InvalidModel
from trunkline.graph.graph import name_of
from trunkline.pipeline.config import parse_config
from trunkline.pipeline.project import Project
from trunkline.verbs.build import Sharing, build

NET = """
name: "small" input: "data" input_dim: 1 input_dim: 3 input_dim: 64 input_dim: 64
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1" convolution_param { num_output: 4 kernel_size: 3 stride: 4 pad: 1 } }
layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2" convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "c3" type: "Convolution" bottom: "c2" top: "c3" convolution_param { num_output: 8 kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "c3" top: "fc" inner_product_param { num_output: 10 } }
"""  # noqa: E501


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return path


def built(net: Path, **options: object) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    out = net.parent / "out.onnx"
    result = build(net, out, tasks={"seg": 3, "depth": 1}, sharing=Sharing(all_shared=True), **options)  # type: ignore[arg-type]
    return onnx.load(out), result.notes


def sizes(model: onnx.ModelProto) -> list[list[int]]:
    return [[dim.dim_value for dim in value.type.tensor_type.shape.dim][1:] for value in model.graph.output]


@pytest.mark.golden
@pytest.mark.parametrize("head", ["deeplabv3plus", "fpn"])
def test_maps_are_chosen_for_heads(head: str, net: Path) -> None:
    """Maps are chosen for heads that read several."""
    model, notes = built(net, head=head)
    assert sizes(model) == [[3, 16, 16], [1, 16, 16]]
    assert 'features taken from "c1" (stride 4), "c2" (stride 8), "c3" (stride 16); the' in notes[-1]


@pytest.mark.golden
def test_heads_read_named_maps(net: Path) -> None:
    """Heads of several maps read the named ones."""
    model, _ = built(net, head="fpn", features=("c3", "c2"), input_size=(32, 48))
    assert sizes(model) == [[3, 4, 6], [1, 4, 6]]


@pytest.mark.golden
def test_heads_of_one_map_read_the_last(net: Path) -> None:
    """Heads of one map read the last of several, and say so."""
    model, notes = built(net, head="light", features=("c1", "c3"))
    assert len(model.graph.output) == 2
    assert 'tasks read "c3"; "c1" left out' in notes


@pytest.mark.abuse
def test_head_of_several_maps_needs_several(net: Path) -> None:
    with pytest.raises(InvalidConfig, match="--features"):
        built(net, head="fpn", features=("c3",))


@pytest.mark.abuse
def test_misspelt_feature_is_guessed(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidModel, match="did you mean"):
        built(net, features=("c33",))
    assert run(["inspect", str(net), "--features", "c33"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert run(["inspect", str(net), "--features", "c2"]) == 0
    assert "[N, 6, 8, 8]" in capsys.readouterr().out


@pytest.mark.golden
def test_features_of_the_command_line() -> None:
    assert features_of(None) == ()
    assert features_of("a, b,a") == ("a", "b")
    with pytest.raises(InvalidConfig, match="empty name"):
        features_of("a,,b")


@pytest.mark.golden
def test_features_of_the_pipeline_file(net: Path, tmp_path: Path) -> None:
    tables = {"data": {"kind": "scenes", "size": [64, 96], "length": 4, "val_length": 2}, "backbone": str(net)}
    tasks = {"segmentation": {"head": "fpn"}, "depth": {}}
    project = Project(parse_config({**tables, "tasks": tasks, "features": ["c2", "c1"]}), tmp_path / "run")
    assert [name_of(value) for value in project.backbone.graph.outputs] == ["c1", "c2"]
    assert len(project.heads["segmentation"].model.graph.inputs) == 2
    found = Project(parse_config({**tables, "tasks": tasks}), tmp_path / "run")
    assert [name_of(value) for value in found.backbone.graph.outputs] == ["c1", "c2", "c3"]
    single = Project(parse_config({**tables, "tasks": {"depth": {}}}), tmp_path / "run")
    assert [name_of(value) for value in single.backbone.graph.outputs] == ["c3"]
    with pytest.raises(InvalidConfig, match="did you mean"):
        parse_config({**tables, "feature": ["c1"]})
