"""One checkpoint: a folder of four files, written whole or not at all, and checked byte by byte when it is read.

``model.safetensors`` and ``optimisers.safetensors`` hold tensors, ``state.json`` the step and what belongs to it, and
``manifest.json`` the size and SHA-256 of these three. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from trunkline.errors import CorruptCheckpoint
from trunkline.files.write import json_bytes, sync_folder, write_error, write_synced

MODEL, OPTIMISERS, STATE, MANIFEST = "model.safetensors", "optimisers.safetensors", "state.json", "manifest.json"
REPLACED = ".old"
"""Suffix of a checkpoint that one of the same name is about to replace."""

_PARTS = (MODEL, OPTIMISERS, STATE)
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state from which a run can go on.

    Attributes:
        model: The model's ``state_dict``.
        optimisers: Optimiser state, ``turn/group/slot/parameter`` → tensor.
        state: Plain JSON content: phase, step, seed, settings, best evaluation.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "train-00000010"
    ...     write_checkpoint(path, Checkpoint({"weight": torch.ones(2)}, {}, {"step": 10}))
    ...     read_checkpoint(path).model
    {'weight': tensor([1., 1.])}
    """

    model: Mapping[str, Tensor]
    optimisers: Mapping[str, Tensor]
    state: Mapping[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``path``, a folder, so that after a crash at any point the old or the new one can be read.

    Everything is written and fsynced under a temporary name in the same parent, which is then renamed. An older
    folder of the same name is renamed to ``NAME.old`` first and goes last.

    Raises:
        WorkFailed: It cannot be written; what was there is intact and nothing temporary is left.
    """
    parts = _encode(checkpoint)
    # Beside its final place: a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write_parts(temporary, parts)
        _publish(temporary, path)
    except BaseException as error:  # an interrupt too must leave nothing temporary
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise write_error(error, path, sum(len(data) for data in parts.values())) from error
        raise


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, every byte of it checked against the manifest.

    Raises:
        CorruptCheckpoint: A file is missing, or is not what was written.
    """
    manifest = _read_manifest(path)
    parts = {name: _read_part(path / name, manifest[name]) for name in _PARTS}
    try:
        return Checkpoint(
            safetensors.torch.load(parts[MODEL]), safetensors.torch.load(parts[OPTIMISERS]), json.loads(parts[STATE])
        )
    except (ValueError, safetensors.SafetensorError) as error:
        raise CorruptCheckpoint(f"cannot be decoded: {error}", place=str(path)) from error


def check_checkpoint(path: Path) -> None:
    """Raise CorruptCheckpoint, naming the file, unless every byte of the checkpoint is what was written."""
    manifest = _read_manifest(path)
    for name in _PARTS:
        _read_part(path / name, manifest[name])


def _encode(checkpoint: Checkpoint) -> dict[str, bytes]:
    parts = {
        MODEL: safetensors.torch.save(_storable(checkpoint.model)),
        OPTIMISERS: safetensors.torch.save(_storable(checkpoint.optimisers)),
        STATE: json_bytes(checkpoint.state),
    }
    files = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in parts.items()}
    return {**parts, MANIFEST: json_bytes({"format": _FORMAT, "files": files})}


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors on the CPU, contiguous, and none sharing memory with another: safetensors refuses such."""
    return {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def _write_parts(folder: Path, parts: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in parts.items():
        write_synced(folder / name, data)
    sync_folder(folder)


def _publish(temporary: Path, path: Path) -> None:
    replaced = path.with_name(path.name + REPLACED)
    # A folder cannot be renamed over one that holds files, so the older one steps aside first.
    if path.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        path.rename(replaced)
    try:
        temporary.rename(path)
    except OSError:
        if replaced.exists():
            replaced.rename(path)
        raise
    sync_folder(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    place = str(path / MANIFEST)
    try:
        data = (path / MANIFEST).read_bytes()
        manifest = json.loads(data)
        files = manifest["files"]
        has_our_keys = manifest["format"] == _FORMAT and set(manifest) == {"format", "files"}
        has_our_files = has_our_keys and set(files) == set(_PARTS)
        has_entries = has_our_files and all(set(entry) == {"bytes", "sha256"} for entry in files.values())
        # Byte for byte what we would write: no key twice, no number that reads as another.
        well_formed = has_entries and data == json_bytes(manifest)
    except OSError as error:
        raise CorruptCheckpoint(f"cannot be read: {error.strerror}", place=place) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptCheckpoint("is not a checkpoint's manifest", place=place) from error
    if not well_formed:
        raise CorruptCheckpoint(f"is not a manifest of format {_FORMAT} for {', '.join(_PARTS)}", place=place)
    return dict(files)


def _read_part(path: Path, entry: Mapping[str, Any]) -> bytes:
    try:
        # Before it is read: what takes the file's place may be of any size.
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise CorruptCheckpoint(f"has {size} bytes, but {entry['bytes']} were written", place=str(path))
        data = path.read_bytes()
    except OSError as error:
        raise CorruptCheckpoint(f"cannot be read: {error.strerror}", place=str(path)) from error
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise CorruptCheckpoint("does not have the SHA-256 that was written: its content has changed", place=str(path))
    return data
