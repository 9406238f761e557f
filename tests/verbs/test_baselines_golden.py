"""Which model stands behind the name of each baseline, in training, in files and in the measurement."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trunkline.errors import InvalidConfig
from trunkline.export.count import count_file
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.sharing.layouts.plans import all_shared, independent, share_until
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.verbs import bench as bench_verb
from trunkline.verbs.train import file_name

pytestmark = pytest.mark.golden

TASKS = ("segmentation", "depth")
BLOCK = "stage2_block1_shortcut"
BASELINES = ("single-task", "share-until:1", f"share-until:{BLOCK}")
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


def test_baselines_are_plans_of_their_name(project: Project) -> None:
    """Named as in a pipeline file, or made from the backbone: the same plan."""
    backbone = project.backbone
    assert project.baseline("single-task") == independent(backbone, TASKS)
    assert project.baseline("multi-task") == all_shared(backbone, TASKS)
    until = share_until(backbone, TASKS, BLOCK)
    assert project.baseline(f"share-until:{BLOCK}") == until
    assert project.baseline("share-until:3") == until


def test_baselines_of_files_are_their_plans(project: Project, tmp_path: Path) -> None:
    """A plan as it is, and a layout block by block."""
    until = share_until(project.backbone, TASKS, "1")
    until.save(tmp_path / "own plan.json")
    assert project.baseline(f"plan:{tmp_path / 'own plan.json'}") == until
    blocks = len(project.backbone.table("block").units)
    layout = [[list(TASKS)] if block < 2 else [[task] for task in TASKS] for block in range(blocks)]
    (tmp_path / "tree.json").write_text(json.dumps(layout))
    assert project.baseline(f"layout:{tmp_path / 'tree.json'}").units == until.units


def test_random_baselines_follow_their_number(project: Project) -> None:
    """The same draw is the same plan; another one is not."""
    first, again, other = (project.baseline(f"random:{draw}") for draw in (1, 1, 2))
    assert first == again
    assert first.units != other.units


def test_files_are_called_by_their_baseline(project: Project) -> None:
    """Blocks go by number, and an argument loses what a file's name cannot bear."""
    names = ["single-task", f"share-until:{BLOCK}", "share-until:3", "random:7", "plan:/deep/own plan.json"]
    expected = ["single-task", "share-until-3", "share-until-3", "random-7", "plan-own-plan.json"]
    assert [file_name(project, name) for name in names] == expected


@pytest.mark.abuse
def test_an_unknown_block_is_refused(project: Project) -> None:
    """With its place."""
    with pytest.raises(InvalidConfig, match=r"train.baselines: .*has no block \"stage9\""):
        project.baseline("share-until:stage9")


@pytest.mark.abuse
def test_another_tasks_plan_is_refused(project: Project, tmp_path: Path) -> None:
    """A plan is for its tasks in their order; the message names its file."""
    independent(project.backbone, TASKS[::-1]).save(tmp_path / "turned.json")
    with pytest.raises(InvalidConfig, match=r"train.baselines: .*turned.json: the plan is for depth, segmentation"):
        project.baseline(f"plan:{tmp_path / 'turned.json'}")


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("share-til:3", 'there is no baseline "share-til:3"; did you mean "share-until"?'),
        ("magic", 'there is no baseline "magic"; baselines are layout:FILE, multi-task, plan:FILE, random:DRAW'),
        ("automtl", 'there is no baseline "automtl"'),
        ("single-tusk", 'did you mean "single-task"?'),
        ("independent", 'it is called "single-task"'),
        ("all-shared", 'it is called "multi-task"'),
        ("share-until", "write share-until:BLOCK"),
        ("random:few", "write random:DRAW"),
        ("multi-task:3", '"multi-task" takes nothing behind a colon'),
    ],
)
def test_an_unknown_baseline_is_refused(name: str, words: str, tmp_path: Path) -> None:
    """By its place in the list, with what to write."""
    (tmp_path / "pipeline.toml").write_text(PIPELINE.format(names=["multi-task", name]))
    with pytest.raises(InvalidConfig) as caught:
        load_config(tmp_path / "pipeline.toml")
    assert [problem.place.rpartition(": ")[2] for problem in caught.value.problems] == ["train.baselines.1"]
    assert words in str(caught.value)


def test_every_baseline_is_measured_as_itself(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the work of the file that is handed to the runtime."""
    seen: dict[str, list[Path]] = {}

    class Handed(Exception):
        """The files are known: nothing needs to be measured."""

    def take(groups: dict[str, list[Path]], *_: Any, **__: Any) -> None:
        seen.update(groups)
        raise Handed

    monkeypatch.setattr(bench_verb, "bench_groups_on", take)
    graph = lower(share_until(project.backbone, project.tasks, "0"), project.backbone, project.heads).graph
    own = write_onnx(graph, project.out.parent / "model.onnx", fold=False, reuse=False)
    with pytest.raises(Handed):
        bench_verb.bench_run(project, own)
    assert list(seen) == [*BASELINES, "multi-task", "model"]
    assert seen["model"] == [own]
    # A task may be called like a baseline, whose file would then be measured as the single-task one.
    assert all(path.name.startswith("single-") for path in seen["single-task"])
    for name, files in seen.items():
        plan = share_until(project.backbone, project.tasks, "0") if name == "model" else project.baseline(name)
        wanted = executed_cost(plan, project.backbone, project.heads).total.macs
        assert sum(count_file(path).macs for path in files) == wanted, name
