"""The rooms' order holds, and the docs name every key of a pipeline file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

pytestmark = pytest.mark.golden

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "trunkline"
GROUND = {"errors", "limits", "text", "seeds", "recipe", "files", "scan", "spinning", "collector", "version"}
ORDER = (
    *("graph", "ingest", "twins", "fragments", "sharing", "supermodel", "train"),
    *("export", "bench", "report", "pipeline", "verbs", "cli"),
)
FORBIDDEN = {
    # What is delivered and measured knows neither how it was trained nor searched.
    *(("export", "train"), ("bench", "train")),
    *(("train", "supermodel"), ("export", "supermodel"), ("bench", "supermodel")),
    ("train", "ingest"),  # a trainer knows no file format
    ("report", "bench"),  # what shows a measurement takes none
}
"""Pairs that the order would allow."""
WITHOUT_TORCH = ("graph", "sharing", "fragments")
LATE_TORCH = ("ingest",)
NOT_CALLED = {
    "supermodel": ("torch.optim",),  # it describes phases; the trainer runs them
    "export": ("torch.jit", "torch.onnx", "torch.export", "torch.fx"),  # a Graph is written, not traced
}


def imports_of(path: Path, *, at_import: bool = False) -> set[str]:
    """Return the dotted names of modules that a file imports; with ``at_import`` only those at module level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                # "from trunkline import ingest" imports a module, though it reads like a name of the package.
                member = f"{node.module}.{alias.name}"
                found.add(member if file_of(member) else node.module)
    return found


def file_of(module: str) -> Path | None:
    """Return the file of a module or package of this repository."""
    place = ROOT.joinpath(*module.split("."))
    if place.is_dir():
        return place / "__init__.py"
    file = place.with_suffix(".py")
    return file if file.is_file() else None


def rooms_of(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports_of(path) if name.startswith("trunkline.")}


def files_of(room: str) -> list[Path]:
    found = sorted((PACKAGE / room).rglob("*.py"))
    assert found, f"there is no room {room!r}"
    return found


@pytest.mark.parametrize("room", ORDER)
def test_arrows_go_up_only(room: str) -> None:
    """A room imports only from rooms above it in the table of docs/architecture.md."""
    allowed = {*GROUND, *ORDER[: ORDER.index(room) + 1]} - {other for mine, other in FORBIDDEN if mine == room}
    for path in files_of(room):
        assert not rooms_of(path) - allowed, f"{path} imports {rooms_of(path) - allowed}"


def test_ground_imports_ground_only() -> None:
    """What everyone needs needs no one."""
    for name in GROUND:
        path = PACKAGE / f"{name}.py"
        for file in [path] if path.is_file() else files_of(name):
            assert not rooms_of(file) - GROUND, file


def test_every_folder_is_a_room() -> None:
    """So that no idea lives outside the table."""
    known = {*GROUND, *ORDER, "__init__", "__main__", "__pycache__"}
    assert {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()} - known <= {"py"}


def test_no_import_circles() -> None:
    """Between files, wherever they lie, also where an import waits inside a function."""
    arrows: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        own = {file_of(name) for name in imports_of(path) if name.startswith("trunkline.")} - {None}
        arrows[str(path)] = {str(other) for other in own}
    assert not [file for file in arrows if file in _reached(file, arrows)]


def test_no_circles_of_folders() -> None:
    """Between folders that lie side by side; one inside another may be read both ways, file by file."""
    arrows: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        folder = ".".join(path.relative_to(ROOT).parts[:-1])
        for name in imports_of(path):
            target = ROOT.joinpath(*name.split("."))
            other = name if target.is_dir() else name.rpartition(".")[0]
            nested = f"{other}.".startswith(f"{folder}.") or f"{folder}.".startswith(f"{other}.")
            if name.startswith("trunkline.") and not nested:
                arrows.setdefault(folder, set()).add(other)
    assert not [folder for folder in arrows if folder in _reached(folder, arrows)]


def _reached(start: str, arrows: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for other in arrows.get(waiting.pop(), set()) - seen:
            seen.add(other)
            waiting.append(other)
    return seen


@pytest.mark.parametrize("room", [*WITHOUT_TORCH, *LATE_TORCH])
def test_these_rooms_need_no_torch(room: str) -> None:
    """Who only reads, converts or lowers need not wait for it; a reader of torch's modules imports it when called."""
    for path in files_of(room):
        names = {name.split(".")[0] for name in imports_of(path, at_import=room in LATE_TORCH)}
        assert "torch" not in names, path


@pytest.mark.parametrize("room", NOT_CALLED)
def test_rooms_leave_torch_to_others(room: str) -> None:
    """Parts of torch that would do what another room is for are neither imported nor reached through ``torch``."""
    for path in files_of(room):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        reached = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names = {".".join(name.split(".")[:2]) for name in imports_of(path) | reached}
        assert names.isdisjoint(NOT_CALLED[room]), path


def test_the_docs_name_every_key() -> None:
    """Of a pipeline file: of its tables and of every kind of data; a method's own page may name its options."""
    from trunkline.pipeline.config import PipelineConfig
    from trunkline.supermodel.methods.registry import methods
    from trunkline.train.data.open import data_set_kinds

    text = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    assert not missing(text, PipelineConfig, *data_set_kinds().values())
    for name, method in methods().items():
        page = ROOT / "docs" / f"{name}.md"
        own = page.read_text(encoding="utf-8") if page.is_file() else ""
        assert f"`{name}`" in text
        assert not missing(text + own, method.Options), name


def missing(text: str, *models: type[BaseModel]) -> list[str]:
    """Return the keys of tables, and of tables in them, that a text does not name."""
    keys: set[str] = set()
    waiting = [*models]
    while waiting:
        for name, field in waiting.pop().model_fields.items():
            keys.add(name)
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                waiting.append(field.annotation)
    return sorted(key for key in keys if not re.search(rf"\b{key}\b", text))


def test_the_examples_are_pipeline_files() -> None:
    """All of their keys are known, and their values are possible."""
    from trunkline.pipeline.config import load_config

    examples = sorted((ROOT / "examples").glob("*.toml"))
    assert examples
    for path in examples:
        load_config(path)


def test_a_class_name_has_one_meaning() -> None:
    """A search for a class finds one place."""
    places: dict[str, list[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    repeated = {name: found for name, found in places.items() if len(found) > 1}
    assert not repeated


def test_the_docs_name_every_folder() -> None:
    """With its idea in one line of docs/architecture.md; who needs two lines has two ideas."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")} - {"."}
    named = re.findall(r"^\| `([a-z0-9_/]+)` \| [^|]+ \|$", text, re.MULTILINE)
    packages = {folder for folder in folders if folder.startswith("train/data/sets/")}
    assert sorted(named) == sorted(folders - packages)


@pytest.mark.parametrize("way", ["An image through `run`", "A file through `convert`"])
def test_the_ways_through_go_one_way(way: str) -> None:
    """The files of docs/architecture.md are there, and none imports one that comes before it."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split(f"**{way}**")[1].split("\n\n")[1]
    steps = re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)
    assert len(steps) > 10
    for number, step in enumerate(steps):
        names = imports_of(PACKAGE / step)
        for earlier in steps[:number]:
            module = f"trunkline.{earlier.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"
            assert module not in names, f"{step} imports {earlier}"
