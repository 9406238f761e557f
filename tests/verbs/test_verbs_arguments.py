"""Properties: what people type is either understood or refused in our own words, and nothing in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trunkline
from trunkline.cli.console import parse_size
from trunkline.cli.tasks_argument import parse_tasks, usual_channels
from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import load_config, parse_config

pytestmark = pytest.mark.properties

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,20}", fullmatch=True)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["backbone", "head", "seed", "device", "tasks", "data", "search", "train", "export", "bench"])


@given(st.dictionaries(NAMES, st.integers(1, 65536) | st.none(), min_size=1, max_size=6))
def test_tasks_are_read_in_their_order(tasks: dict[str, int | None]) -> None:
    text = ",".join(name if channels is None else f" {name}:{channels} " for name, channels in tasks.items())
    found = parse_tasks(text)
    assert list(found) == list(tasks)
    for name, channels in tasks.items():
        assert found[name] == (channels or usual_channels(name))


def test_kinds_give_tasks_their_channels() -> None:
    """Where a task is called by its kind."""
    found = parse_tasks("segmentation,depth,normals,edges,keypoints,flow")
    assert found == {"segmentation": 13, "depth": 1, "normals": 3, "edges": 1, "keypoints": 1, "flow": 1}


@given(st.text(max_size=40))
def test_any_text_is_tasks_or_refused(text: str) -> None:
    try:
        found = parse_tasks(text)
    except InvalidConfig:
        return
    assert all(0 < channels <= 65536 for channels in found.values())


@given(st.integers(1, 65536), st.integers(1, 65536), st.sampled_from([",", "x", ", ", " x "]))
def test_sizes_are_read(height: int, width: int, between: str) -> None:
    assert parse_size(f"{height}{between}{width}") == (height, width)


@given(st.text(alphabet="0123456789x,-+. ²٣e\n", max_size=12) | st.text(max_size=12))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    try:
        found = parse_size(text)
    except InvalidConfig:
        return
    assert found is not None
    assert all(1 <= size <= 65536 for size in found)


@given(st.dictionaries(KEYS | st.text(max_size=10), VALUES, max_size=4))
def test_any_toml_is_a_pipeline_or_refused(content: dict[str, Any]) -> None:
    try:
        config = parse_config(content, "file.toml")
    except InvalidConfig as error:
        assert all(problem.place.startswith("file.toml: ") for problem in error.problems)
        return
    json.dumps(config.model_dump(mode="json"))


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "head.onnx").touch()
    (tmp_path / "p.toml").write_text(
        'backbone = "net.onnx"\nhead = "head.onnx"\n[tasks.a]\nhead = "light"\n[tasks.b]\nhead = "lihgt"\n'
        '[data]\nkind = "folder"\npath = "pictures"\nclasses = ["x", "y"]\n'
    )
    config = load_config(tmp_path / "p.toml")
    assert config.backbone == str(tmp_path / "net.onnx")
    assert config.head == str(tmp_path / "head.onnx")
    assert [task.head for task in config.tasks.values()] == ["light", "lihgt"]
    assert config.data.kind == "folder"
    assert config.data.path == tmp_path / "pictures"


def test_paths_of_methods_are_relative_too(tmp_path: Path) -> None:
    """Those of ``[search]`` by the type of the option, those of baselines behind the colon."""
    (tmp_path / "p.toml").write_text(
        '[search]\ncost = "milliseconds"\ncost_table = "costs.json"\n'
        '[train]\nbaselines = ["plan:mine/p.json", "multi-task", "share-until:2", "layout:tree.json"]\n'
    )
    config = load_config(tmp_path / "p.toml")
    assert config.search.options.paths == {"cost_table": tmp_path / "costs.json"}
    plan, layout = f"plan:{tmp_path / 'mine/p.json'}", f"layout:{tmp_path / 'tree.json'}"
    assert config.train.baselines == (plan, "multi-task", "share-until:2", layout)
    (tmp_path / "p.toml").write_text('[search]\nmethod = "plan"\nfile = "p.json"\n')
    assert load_config(tmp_path / "p.toml").search.options.paths == {"file": tmp_path / "p.json"}


def test_the_verbs_are_functions_of_the_package() -> None:
    for name in set(trunkline.__all__) - {"__version__"}:
        assert callable(getattr(trunkline, name))
    assert trunkline.inspect("zoo:tiny", input_size=(32, 48)).cost.macs == 14_297_088
    with pytest.raises(AttributeError, match="no attribute 'inspekt'"):
        trunkline.inspekt  # noqa: B018
