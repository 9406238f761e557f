"""Kinds are found by scanning; those of docs/kinds.md run a pipeline as they stand there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from trunkline.errors import InvalidConfig
from trunkline.fragments import heads, joins
from trunkline.fragments.heads.make_head import head_kinds
from trunkline.fragments.registry import join_kinds, make_join
from trunkline.pipeline.config import load_config, parse_config
from trunkline.pipeline.project import Project
from trunkline.supermodel import methods
from trunkline.train import tasks
from trunkline.train.data import sets
from trunkline.train.data.base import DataSets
from trunkline.train.data.config import DataSetConfig
from trunkline.train.data.open import data_set_kinds, open_data, read_data_config
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.registry import make_task, task_kinds
from trunkline.verbs.run import run

pytestmark = pytest.mark.golden

DOCS = Path(__file__).resolve().parents[2] / "docs" / "kinds.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


class Beside:
    """A folder of further modules of a package, as if they lay beside its own."""

    def __init__(self, package: ModuleType, folder: Path, patch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.package, self.folder = package, folder
        patch.setattr(package, "__path__", [*package.__path__, str(folder)])

    def put(self, name: str, content: str) -> None:
        (self.folder / f"{name}.py").write_text(content, encoding="utf-8")

    def forget(self) -> None:
        for path in self.folder.glob("*.py"):
            sys.modules.pop(f"{self.package.__name__}.{path.stem}", None)


@pytest.fixture
def task_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    files = Beside(tasks, tmp_path / "more_tasks", monkeypatch)
    yield files
    files.forget()


@pytest.fixture
def set_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    files = Beside(sets, tmp_path / "more_sets", monkeypatch)
    yield files
    files.forget()


def test_the_kinds_that_there_are() -> None:
    assert list(head_kinds()) == ["aspp", "deeplabv3plus", "fpn", "light", "linear"]
    assert list(task_kinds()) == ["classification", "depth", "edges", "keypoints", "normals", "segmentation"]
    assert list(data_set_kinds()) == ["folder", "nyuv2", "scenes"]


@pytest.mark.parametrize("kind", sorted(task_kinds()))
def test_a_kind_of_task_is_whole(kind: str) -> None:
    """Its file is called as it is, and it says every metric that it computes."""
    found = task_kinds()[kind]
    assert found.__module__ == f"trunkline.train.tasks.{kind}"
    assert found.__doc__ and found.usual_channels in found.possible_channels
    task = make_task("t", kind, found.usual_channels, weight=2.0)
    assert isinstance(task, Task) and task.weight == 2.0
    assert set(task.metric().compute()) == {*task.higher_is_better, *task.informative}


@pytest.mark.parametrize("kind", sorted(data_set_kinds()))
def test_a_kind_of_data_set_is_whole(kind: str) -> None:
    """Its table refuses what it does not know, and says which of its fields are paths."""
    table = data_set_kinds()[kind]
    assert table.__module__.startswith(f"trunkline.train.data.sets.{kind}")
    assert table.__doc__ and table.kind_name() == kind
    with pytest.raises(InvalidConfig, match="unknown key"):
        read_data_config({"kind": kind, "nonsense": 1})


def test_scenes_make_labels_on_demand() -> None:
    """Those of the tasks that are asked for."""
    scenes = read_data_config({"kind": "scenes", "length": 1, "val_length": 1})
    assert list(open_data(scenes.for_tasks(["keypoints", "depth"])).train.tasks) == ["depth", "keypoints"]
    assert scenes.for_tasks([]) == scenes == scenes.for_tasks(["unheard-of"])
    assert scenes.anchored(Path("/somewhere")) == scenes


def test_paths_are_anchored_by_their_type() -> None:
    table = read_data_config({"kind": "nyuv2", "path": "rooms"})
    assert table.paths == {"path": Path("rooms")}
    assert table.anchored(Path("/data")).paths == {"path": Path("/data/rooms")}
    assert table.for_tasks(["depth"]) == table


@pytest.fixture
def all_files(
    task_files: Beside, set_files: Beside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Beside]]:
    """The five files of the page, each put beside the others of its folder."""
    more = {
        "methods": Beside(methods, tmp_path / "more_methods", monkeypatch),
        "joins": Beside(joins, tmp_path / "more_joins", monkeypatch),
        "heads": Beside(heads, tmp_path / "more_heads", monkeypatch),
    }
    method, join, head, task, data = blocks("python")
    more["methods"].put("mean_behind", method)
    more["joins"].put("mean", join)
    more["heads"].put("hidden", head)
    task_files.put("counting", task)
    set_files.put("squares", data)
    yield more
    for files in more.values():
        files.forget()


def test_kinds_of_the_docs_run_a_pipeline(all_files: dict[str, Beside], tmp_path: Path) -> None:
    """A method, a join, a head, a task and a data set, and no other file is touched.

    One label is a number, the other a class that some images lack.
    """
    (tmp_path / "pipeline.toml").write_text(blocks("toml")[0], encoding="utf-8")
    run(load_config(tmp_path / "pipeline.toml"), tmp_path / "run", quiet=True, say=lambda _: None)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    metrics = result["train"]["metrics"]
    assert 0 <= metrics["colour"]["accuracy"] <= 1
    assert metrics["number"]["count_error"] >= 0
    assert (tmp_path / "run" / "predictions.png").is_file()
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["method"] == "mean-behind"
    assert {join["kind"] for join in plan["joins"]} == {"mean"}
    stored = [tensor.name for tensor in onnx.load(tmp_path / "run" / "model.onnx").graph.initializer]
    assert any("hidden" in name for name in stored)
    assert result["export"]["parity"]["passed"]
    assert "mean-behind" in (tmp_path / "run" / "report.md").read_text()


def test_options_of_a_new_method_are_checked(all_files: dict[str, Beside], tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match='search.blok: unknown key\n  did you mean "block"'):
        parse_config({"search": {"method": "mean-behind", "blok": "2"}})
    text = blocks("toml")[0].replace('block = "2"', 'block = "99"')
    (tmp_path / "pipeline.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidConfig, match='the backbone has no block "99"'):
        run(load_config(tmp_path / "pipeline.toml"), tmp_path / "run", quiet=True, say=lambda _: None)


def test_an_unknown_join_names_those_there_are(all_files: dict[str, Beside]) -> None:
    assert "mean" in join_kinds()
    with pytest.raises(InvalidConfig, match='there is no kind of join .*\n  did you mean "mean"'):
        make_join("meen", {0: (1, 2, 2)}, {})


def test_a_kind_goes_with_its_file(task_files: Beside) -> None:
    """What is not there any more is not known any more."""
    task_files.put("counting", blocks("python")[3])
    with pytest.raises(InvalidConfig, match="counting needs 1"):
        make_task("n", "counting", 2)
    task_files.package.__path__ = task_files.package.__path__[:-1]
    with pytest.raises(InvalidConfig, match="known kinds: classification, depth"):
        make_task("n", "counting", 1)


def test_a_head_of_the_wrong_form(set_files: Beside, task_files: Beside, tmp_path: Path) -> None:
    *_, task, data = blocks("python")
    task_files.put("counting", task)
    set_files.put("squares", data)
    config = parse_config({"data": {"kind": "squares"}, "tasks": {"colour": {}, "number": {"head": "linear"}}})
    with pytest.raises(InvalidConfig) as error:
        _ = Project(config, tmp_path / "run").heads
    assert str(error.value) == (
        'tasks.colour.head: "light" gives [N, 3, 8, 12], colour needs [N, 3]\n'
        "  give a head that predicts a vector with as many channels as the task has"
    )


def test_files_of_tasks_that_are_no_kind(task_files: Beside) -> None:
    """Helpers may lie in the folder of tasks: what has no kind of its own is none."""
    task_files.put("helper", "from trunkline.train.tasks.depth import Depth\n\nclass Deeper(Depth):\n    pass\n")
    assert "helper" not in task_kinds() and len(task_kinds()) == 6


@pytest.mark.abuse
def test_a_kind_twice_is_refused(task_files: Beside, set_files: Beside) -> None:
    """And so is a file of no kind."""
    task_files.put("again", "from trunkline.train.tasks.depth import Depth\n\nclass D(Depth):\n    kind = 'depth'\n")
    with pytest.raises(ValueError, match='"depth" is a kind of trunkline.train.tasks.again already'):
        task_kinds()
    set_files.put("nothing", "")
    with pytest.raises(ValueError, match=r"sets.nothing defines 0 data sets' tables, expected one"):
        data_set_kinds()


def test_a_table_may_be_given_ready_made() -> None:
    config = parse_config({"data": {"kind": "scenes", "length": 3}})
    assert isinstance(config.data, DataSetConfig)
    again = type(config)(data=config.data)
    assert again.model_dump(mode="json")["data"]["length"] == 3
    assert isinstance(config.data.open(), DataSets)
