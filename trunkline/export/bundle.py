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
from trunkline.files.write import json_bytes, sync_folder, write_error

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


def write_bundle(folder: Path, model: Path, manifest: Mapping[str, Any]) -> Bundle:
    """Write a bundle; one that lies there already is replaced as a whole.

    Equal models and manifests give equal bytes.

    Args:
        folder: Where to; its parent must exist.
        model: The ONNX file, with its weights beside it where they are too many for one file.
        manifest: What is known of the model; its file, hash and size are added.

    Raises:
        InvalidConfig: The folder holds something else than a bundle.
        WorkFailed: The disk is full.
    """
    if folder.exists() and not (folder / MANIFEST).is_file():
        text = "is there, and holds no bundle"
        raise InvalidConfig(text, place=str(folder), advice="name a folder that does not exist")
    if not folder.absolute().parent.is_dir():
        raise InvalidConfig("lies in a folder that does not exist", place=str(folder))
    beside = model.with_name(f"{model.name}.data")
    files = {MODEL: model, **({f"{MODEL}.data": beside} if beside.is_file() else {})}
    file_bytes = sum(path.stat().st_size for path in files.values())
    said = {"file": MODEL, "sha256": _sha256(model), "file_bytes": file_bytes}
    content = {"format": FORMAT, "version": 1, **manifest, "model": {**manifest.get("model", {}), **said}}
    try:
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".trunkline-") as made:
            new = Path(made) / folder.name
            new.mkdir()
            for name, path in files.items():
                shutil.copyfile(path, new / name)
            for name in PROGRAMS:
                (new / name).write_bytes((resources.files("trunkline.export.bundle_programs") / name).read_bytes())
            (new / MANIFEST).write_bytes(json_bytes(content, indent=2))
            _replace(folder.absolute(), new, Path(made) / "old")
    except OSError as error:
        raise write_error(error, folder, file_bytes) from error
    return Bundle(folder, content)


def _replace(folder: Path, new: Path, old: Path) -> None:
    """Put the new folder in place of the old one, which goes aside first: a folder cannot be renamed onto another."""
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    sync_folder(folder.parent)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
