"""Pre-trained backbones: what a file of weights changes, in every verb that reads a backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.numpy import save_file
from torch import nn

import trunkline
from trunkline.cli.main import run as command
from trunkline.errors import InvalidModel
from trunkline.graph.graph import array_of
from trunkline.graph.roles import role_of
from trunkline.ingest.backbone import read_backbone
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.origin import BackboneWeight
from trunkline.twins.twin import Twin
from trunkline.verbs.build import Sharing, build
from trunkline.verbs.inspect import inspect

pytestmark = pytest.mark.golden

PIPELINE = """\
backbone = "zoo:tiny"
backbone_weights = "w.safetensors"
[tasks.segmentation]
[tasks.depth]
[data]
kind = "scenes"
size = [32, 48]
length = 4
val_length = 2
tasks = ["segmentation", "depth"]
"""
BATCH_NORM = ("scale", "bias", "mean", "var")


def stored(folder: Path, leave_out: int = 0, add: dict[str, tuple[int, ...]] | None = None) -> dict[str, np.ndarray]:
    """Write seeded weights for zoo:tiny, without the last ones or with others besides."""
    rng = np.random.default_rng(0)
    graph = read_backbone("zoo:tiny")
    shapes = {name: array_of(value).shape for name, value in graph.initializers.items() if role_of(value) != "static"}
    names = list(shapes)[: len(shapes) - leave_out]
    content = {name: rng.uniform(0.1, 1, shapes[name]).astype(np.float32) for name in names}
    content |= {name: np.zeros(shape, np.float32) for name, shape in (add or {}).items()}
    save_file(content, folder / "w.safetensors")
    return content


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_all_copies_start_from_the_weights(tmp_path: Path) -> None:
    """Of a built file."""
    expected = stored(tmp_path)
    result = build(
        "zoo:tiny",
        tmp_path / "m.onnx",
        tasks={"a": 2, "b": 1},
        sharing=Sharing(independent=True),
        weights=tmp_path / "w.safetensors",
    )
    found = {t.name: numpy_helper.to_array(t) for t in onnx.load(result.path).graph.initializer}
    same(found, expected)
    same(found, {f"{name}@1": value for name, value in expected.items()})


def test_all_but_heads_starts_from_weights(tmp_path: Path) -> None:
    """In a pipeline: every instance and column, in search and training."""
    expected = stored(tmp_path)
    (tmp_path / "p.toml").write_text(PIPELINE)
    project = Project(load_config(tmp_path / "p.toml"), tmp_path / "run")
    model = project.method.model
    for name, value in expected.items():
        statistic = role_of(project.backbone.graph.initializers[name]) == "statistic"
        columns = [BackboneWeight(name, column=task) for task in project.tasks]
        for origin in columns if statistic else [BackboneWeight(name, instance) for instance in range(3)]:
            np.testing.assert_array_equal(model.store.at(origin).detach().numpy(), value)
    lowered = lower(independent(project.backbone, project.tasks), project.backbone, project.heads)
    for seed in (1, 2):  # as the training draws them from scratch
        twin = {name: tensor.detach().numpy() for name, tensor in Twin(lowered.graph, seed=seed).weights().items()}
        for instance in ("", "@1"):
            same(twin, {f"{name}{instance}": value for name, value in expected.items()})
    heads = [Twin(lowered.graph, seed=seed).weights()["head.depth.conv1.weight"] for seed in (1, 2)]
    assert not torch.equal(heads[0], heads[1])


@pytest.mark.abuse
def test_missing_weights_may_be_allowed(tmp_path: Path) -> None:
    """Else the pipeline is refused, with all that is missing."""
    stored(tmp_path, leave_out=4, add={"classifier.weight": (2, 2)})
    (tmp_path / "p.toml").write_text(PIPELINE)
    with pytest.raises(InvalidModel, match="4 of") as caught:
        _ = Project(load_config(tmp_path / "p.toml"), tmp_path / "run").backbone
    assert "classifier.weight" in str(caught.value)
    (tmp_path / "p.toml").write_text("allow_missing = true\n" + PIPELINE)
    backbone = Project(load_config(tmp_path / "p.toml"), tmp_path / "run").backbone
    assert any("lacks 4 weights" in note for note in backbone.graph.notes)


@pytest.mark.abuse
def test_endless_weights_are_told_early(tmp_path: Path) -> None:
    """Before work begins."""
    content = stored(tmp_path)
    content["conv1.weight"][0] = np.nan
    save_file(content, tmp_path / "w.safetensors")
    with pytest.raises(InvalidModel, match="NaN or infinity"):
        read_backbone("zoo:tiny", weights=tmp_path / "w.safetensors")


def test_inspect_compares_weights_with_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing, what is too much, and what has another shape."""
    stored(tmp_path, leave_out=2, add={"other.weight": (1,)})
    result = inspect("zoo:tiny", weights=tmp_path / "w.safetensors")
    assert any("lacks 2 weights" in note for note in result.problems)
    assert any("other.weight" in note for note in result.problems)
    save_file({"conv1.weight": np.zeros((1, 2), np.float32)}, tmp_path / "w.safetensors")
    assert command(["inspect", "zoo:tiny", "--weights", str(tmp_path / "w.safetensors")]) == 2
    assert '"conv1.weight" has shape [1, 2]; the network expects' in capsys.readouterr().err


def test_every_verb_takes_a_graph(tmp_path: Path) -> None:
    """Every one that takes a model."""
    module = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
    graph = trunkline.read(module, torch.zeros(1, 3, 32, 32))
    assert trunkline.inspect(graph).cost.parameters == sum(p.numel() for p in module.parameters())
    assert trunkline.convert(graph, tmp_path / "c.onnx", parity_inputs=1).export.parity.passed
    sharing = Sharing(share_until="0")
    result = trunkline.build(graph, tmp_path / "m.onnx", tasks={"a": 1, "b": 2}, sharing=sharing, features=["2"])
    assert [value.name for value in trunkline.read(result.path).outputs] == ["a", "b"]
    assert len(graph.nodes) == len(trunkline.read(graph).nodes) == 5
