"""Golden: the rooms' order holds, and the docs name every key of a pipeline file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[1]
ORDER = ["ingest", "supermodel", "train", "export", "bench", "verbs", "cli"]
FORBIDDEN = {("bench", "train"), ("export", "train")}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        found.update(name.split(".")[1] for name in names if name.startswith("trunkline."))
    return found


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_from_rooms_before_it(room: str) -> None:
    allowed = {"errors", "files", "spinning", *ORDER[: ORDER.index(room) + 1]}
    for path in (ROOT / "trunkline" / room).rglob("*.py"):
        outside = imports_of(path) - allowed
        assert not outside, f"{path} imports {outside}"
        assert not {other for mine, other in FORBIDDEN if mine == room} & imports_of(path), path


def test_ingest_never_imports_torch() -> None:
    for path in (ROOT / "trunkline" / "ingest").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert "torch" not in [name.split(".")[0] for name in names], path


def test_the_docs_name_every_key_of_a_pipeline_file() -> None:
    from trunkline.train.data.config import FolderConfig, NYUv2Config, ScenesConfig
    from trunkline.verbs.config import PipelineConfig

    text = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    keys: set[str] = set()
    waiting: list[type[BaseModel]] = [PipelineConfig, ScenesConfig, NYUv2Config, FolderConfig]
    while waiting:
        model = waiting.pop()
        for name, field in model.model_fields.items():
            keys.add(name)
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                waiting.append(field.annotation)
    missing = sorted(key for key in keys if key not in text)
    assert not missing


def test_the_examples_are_valid_pipeline_files() -> None:
    from trunkline.verbs.config import load_config

    examples = sorted((ROOT / "examples").glob("*.toml"))
    assert examples
    for path in examples:
        load_config(path)
