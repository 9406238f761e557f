"""A bundle: a folder with a model, a manifest that says all about it, and two small programs that run it anywhere."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig
from trunkline.export.engine.manifest import SealedEngine, manifest_of, manifest_text
from trunkline.files.write import json_bytes, sync_folder, write_error
from trunkline.ingest.onnx_file.data_files import data_files

MANIFEST, MODEL = "manifest.json", "model.onnx"
PROGRAMS = ("predict.py", "bench.py")
FORMAT = "trunkline-bundle"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A written bundle.

    Attributes:
        folder: Where it lies.
        manifest: What its manifest says.
    """

    folder: Path
    manifest: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {"folder": str(self.folder), "manifest": dict(self.manifest)}


def write_bundle(folder: Path, model: Path, manifest: Mapping[str, Any], engine: SealedEngine | None = None) -> Bundle:
    """Write a bundle; one that lies there already is replaced as a whole.

    Equal models, engines and manifests give equal bytes.

    Args:
        folder: Where to; its parent must exist.
        model: The ONNX file, with its weights beside it where they are too many for one file.
        manifest: What is known of the model; its file, hash and size are added.
        engine: An engine of this very model, to lie beside it.

    Raises:
        InvalidConfig: The folder holds something else than a bundle.
        InvalidModel: The model's weights do not lie beside it.
        WorkFailed: The disk is full.
    """
    if folder.exists() and not (folder / MANIFEST).is_file():
        text = "is there, and holds no bundle"
        raise InvalidConfig(text, place=str(folder), advice="name a folder that does not exist")
    if not folder.absolute().parent.is_dir():
        raise InvalidConfig("lies in a folder that does not exist", place=str(folder))
    # The model names its data files, so they keep their names.
    files = {MODEL: model, **{path.name: path for path in data_files(model)}}
    made_here = {name: _program(name) for name in PROGRAMS} | ({} if engine is None else _engine_files(engine))
    content = {"format": FORMAT, "version": 1, **manifest, "model": {**manifest.get("model", {}), **_facts(files)}}
    content["engine"] = None if engine is None else _engine_facts(engine)
    made_here[MANIFEST] = json_bytes(content, indent=2)
    try:
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".trunkline-") as made:
            new = Path(made) / folder.name
            new.mkdir()
            for name, path in files.items():
                shutil.copyfile(path, new / name)
            for name, data in made_here.items():
                (new / name).write_bytes(data)
            _replace(folder.absolute(), new, Path(made) / "old")
    except OSError as error:
        needed = content["model"]["file_bytes"] + sum(map(len, made_here.values()))
        raise write_error(error, folder, needed) from error
    return Bundle(folder, content)


def _facts(files: Mapping[str, Path]) -> dict[str, Any]:
    hashes = {name: _sha256(path) for name, path in files.items()}
    file_bytes = sum(path.stat().st_size for path in files.values())
    return {"file": MODEL, "sha256": hashes.pop(MODEL), "weights": hashes, "file_bytes": file_bytes}


def _program(name: str) -> bytes:
    return (resources.files("trunkline.export.bundle_programs") / name).read_bytes()


def _engine_files(engine: SealedEngine) -> dict[str, bytes]:
    """Return an engine and its manifest under the names by which `trunkline bench` finds them beside the model."""
    name = engine.key.engine_name(MODEL)
    text = manifest_text(engine.plan, engine.key)
    return {name: engine.plan, manifest_of(Path(name)).name: text.encode()}


def _engine_facts(engine: SealedEngine) -> dict[str, Any]:
    key, flags = engine.key, dict(engine.key.options)
    profile = {"batch": flags.pop("batch"), "sizes": flags.pop("sizes")}
    return {
        "file": key.engine_name(MODEL),
        "sha256": engine.sha256,
        "file_bytes": len(engine.plan),
        "tensorrt": key.tensorrt,
        "gpu": key.gpu,
        "driver": key.driver,
        "capability": key.capability,
        "profile": profile,
        "flags": flags,
    }


def _replace(folder: Path, new: Path, old: Path) -> None:
    """Put the new folder in place of the old one, which goes aside first: a folder cannot be renamed onto another."""
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    sync_folder(folder.parent)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
