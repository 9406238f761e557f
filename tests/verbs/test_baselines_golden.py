"""Golden: which model stands behind the name of each baseline, in training, in files and in the measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trunkline.errors import InvalidConfig
from trunkline.export.count import count_file
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.ingest.backbone import read_backbone
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.sharing.baselines import baseline_plan, file_name
from trunkline.sharing.layouts import all_shared, independent, share_until
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.verbs import bench as bench_verb

pytestmark = pytest.mark.golden

TASKS = ("segmentation", "depth")
BLOCK = "stage2_block1_shortcut"
BASELINES = ("independent", "share-until:1", f"share-until:{BLOCK}")
PIPELINE = """
backbone = "zoo:tiny"
[data]
kind = "scenes"
size = [32, 32]
length = 4
val_length = 2
[tasks.segmentation]
[tasks.depth]
[train]
baselines = {names}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "pipeline.toml").write_text(PIPELINE.format(names=list(BASELINES)))
    return Project(load_config(tmp_path / "pipeline.toml"), tmp_path / "run")


def test_a_baseline_is_the_plan_of_its_name() -> None:
    backbone = read_backbone("zoo:tiny")
    assert baseline_plan("independent", backbone, TASKS) == independent(backbone, TASKS)
    assert baseline_plan("all-shared", backbone, TASKS) == all_shared(backbone, TASKS)
    until = share_until(backbone, TASKS, BLOCK)
    assert baseline_plan(f"share-until:{BLOCK}", backbone, TASKS) == until
    assert baseline_plan("share-until:3", backbone, TASKS) == until


def test_blocks_go_by_number_in_names_of_files() -> None:
    backbone = read_backbone("zoo:tiny")
    names = ["independent", f"share-until:{BLOCK}", "share-until:3"]
    assert [file_name(name, backbone) for name in names] == ["independent", "share-until-3", "share-until-3"]


def test_an_unknown_block_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidConfig, match=r"train.baselines: .*has no block 'stage9'"):
        baseline_plan("share-until:stage9", read_backbone("zoo:tiny"), TASKS)


def test_an_unknown_baseline_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text(PIPELINE.format(names=["share-til:3"]))
    with pytest.raises(InvalidConfig, match=r"train.baselines.0: 'share-til:3' is no baseline; known are"):
        load_config(tmp_path / "pipeline.toml")


def test_every_baseline_is_measured_as_itself(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the work of the file that is handed to the runtime."""
    seen: dict[str, list[Path]] = {}

    class Handed(Exception):
        """The files are known: nothing needs to be measured."""

    def take(groups: dict[str, list[Path]], *_: Any, **__: Any) -> None:
        seen.update(groups)
        raise Handed

    monkeypatch.setattr(bench_verb, "bench_groups", take)
    graph = lower(share_until(project.backbone, project.tasks, "0"), project.backbone, project.heads).graph
    own = write_onnx(graph, project.out.parent / "model.onnx", fold=False, reuse=False)
    with pytest.raises(Handed):
        bench_verb.bench_run(project, own)
    assert list(seen) == [*BASELINES, "all-shared", "searched"]
    assert seen["searched"] == [own]
    # A task may be called like a baseline, whose file would then be measured as the single-task one.
    assert all(path.name.startswith("single-") for path in seen["independent"])
    for name, files in seen.items():
        plan = share_until(project.backbone, project.tasks, "0") if name == "searched" else None
        plan = plan or baseline_plan(name, project.backbone, project.tasks)
        wanted = executed_cost(plan, project.backbone, project.heads).total.macs
        assert sum(count_file(path).macs for path in files) == wanted, name
