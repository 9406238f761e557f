"""Checkpoints on disk: whole or absent, verified on reading, never pickled."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trunkline.errors import CorruptCheckpoint, WorkFailed
from trunkline.files.write import atomic_write, json_bytes
from trunkline.train.run_folder.checkpoint_file import (
    MANIFEST,
    Checkpoint,
    check_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from trunkline.train.run_folder.checkpoint_store import CheckpointStore

pytestmark = pytest.mark.properties

PARTS = (MANIFEST, "model.safetensors", "optimisers.safetensors", "state.json")


def sample(fill: float = 1.0) -> Checkpoint:
    model = {
        "conv/w:0": torch.full((2, 3), fill),
        "count": torch.tensor(7),
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    return Checkpoint(model, {"weights/exp_avg/conv/w:0": torch.full((2, 3), -fill)}, {"step": 3, "x": float("nan")})


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_round_trip(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c-1", sample())
    found = read_checkpoint(tmp_path / "c-1")
    for name, tensor in sample().model.items():
        assert torch.equal(found.model[name], tensor)
        assert found.model[name].dtype == tensor.dtype
    assert torch.equal(found.optimisers["weights/exp_avg/conv/w:0"], torch.full((2, 3), -1.0))
    assert found.state == {"step": 3, "x": None}
    assert files(tmp_path) == {"c-1", *(f"c-1/{name}" for name in PARTS)}


def test_views_and_shared_memory_are_stored(tmp_path: Path) -> None:
    """Each tensor whole and apart, whatever it shares."""
    base = torch.arange(12.0).reshape(3, 4)
    write_checkpoint(tmp_path / "c", Checkpoint({"a": base, "b": base, "t": base.T}, {}, {}))
    assert torch.equal(read_checkpoint(tmp_path / "c").model["t"], base.T)


@pytest.mark.abuse
def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c-1"
    write_checkpoint(path, sample())
    flips = 0
    for file in sorted(path.iterdir()):
        data = file.read_bytes()
        for bit in range(0, len(data) * 8, 1 if file.name == MANIFEST else 5):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << (bit % 8)
            file.write_bytes(flipped)
            with pytest.raises(CorruptCheckpoint):
                check_checkpoint(path)
            flips += 1
        file.write_bytes(data)
    assert flips > 3_000
    check_checkpoint(path)


@pytest.mark.abuse
def test_truncated_and_missing_files_are_noticed(tmp_path: Path) -> None:
    """Wherever a file is cut off."""
    path = tmp_path / "c-1"
    write_checkpoint(path, sample())
    for file in sorted(path.iterdir()):
        data = file.read_bytes()
        for length in range(len(data)):
            file.write_bytes(data[:length])
            with pytest.raises(CorruptCheckpoint, match=file.name):
                check_checkpoint(path)
        file.unlink()
        with pytest.raises(CorruptCheckpoint, match=file.name):
            check_checkpoint(path)
        file.write_bytes(data)


@pytest.mark.abuse
@pytest.mark.parametrize("content", [b"[]", b"{}", b"null", b'{"format":1,"files":[]}', b"[" * 100_000, b"\xff\xfe"])
def test_strange_manifests_are_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever JSON they are, or are not."""
    write_checkpoint(tmp_path / "c", sample())
    (tmp_path / "c" / MANIFEST).write_bytes(content)
    with pytest.raises(CorruptCheckpoint):
        read_checkpoint(tmp_path / "c")


@pytest.mark.abuse
def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    """Whoever can write the manifest can write tensors, but must not be able to run code."""
    import hashlib
    import pickle

    path = tmp_path / "c"
    write_checkpoint(path, sample())
    (path / "model.safetensors").write_bytes(evil := pickle.dumps({"w": 1}))
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["files"]["model.safetensors"] = {"bytes": len(evil), "sha256": hashlib.sha256(evil).hexdigest()}
    (path / MANIFEST).write_bytes(json_bytes(manifest))
    with pytest.raises(CorruptCheckpoint, match="cannot be decoded"):
        read_checkpoint(path)


def test_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(tmp_path / "checkpoints")
    for step in range(1, 7):
        checkpoints.save("pre", step, sample(), keep=2, best={2} if step >= 2 else ())
    checkpoints.save("pre-2", 1, sample(), keep=1)
    assert [path.name for path in checkpoints.paths("pre")] == ["pre-00000006", "pre-00000005", "pre-00000002"]
    assert [path.name for path in checkpoints.paths("pre-2")] == ["pre-2-00000001"]


@pytest.mark.parametrize("keep", [1, 2])
def test_corrupt_checkpoints_take_no_place(tmp_path: Path, keep: int) -> None:
    """A run that went back to a good one keeps as many as without the later, corrupt ones."""
    checkpoints = CheckpointStore(tmp_path)
    for step in (10, 20, 30):
        checkpoints.save("pre", step, sample(), keep=3)
    for step in (20, 30):
        (checkpoints.path("pre", step) / MANIFEST).unlink()
    for step in (12, 15):
        assert check_checkpoint(checkpoints.save("pre", step, sample(), keep=keep)) is None
    with pytest.warns(RuntimeWarning):
        assert checkpoints.latest("pre") == checkpoints.path("pre", 15)
    good = [path.name for path in checkpoints.paths("pre") if (path / MANIFEST).exists()]
    assert good == ["pre-00000015", "pre-00000012"][:keep]


@pytest.mark.abuse
def test_corrupt_checkpoints_are_skipped(tmp_path: Path) -> None:
    """With a warning; who loads one is told which other is good."""
    checkpoints = CheckpointStore(tmp_path)
    for step in (1, 2):
        checkpoints.save("pre", step, sample(), keep=5)
    assert checkpoints.latest("post") is None
    (checkpoints.path("pre", 2) / "model.safetensors").write_bytes(b"")
    with pytest.warns(RuntimeWarning, match=r"pre-00000002.*model\.safetensors"):
        assert checkpoints.latest("pre") == checkpoints.path("pre", 1)
    with pytest.raises(CorruptCheckpoint, match=r"(?s)model\.safetensors.*pre-00000001: this checkpoint is good"):
        checkpoints.load(checkpoints.path("pre", 2))
    (checkpoints.path("pre", 1) / MANIFEST).unlink()
    with pytest.warns(RuntimeWarning), pytest.raises(CorruptCheckpoint, match="no checkpoint is good"):
        checkpoints.latest("pre")


class Crash(BaseException):
    """The machine loses power: nothing after this happens."""


OPERATIONS = ("open", "write", "fsync", "mkdir", "rename", "replace", "close", "rmdir", "unlink")


def crash_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Let the first `number` operations on files happen, and none after; returns the list that counts them."""
    done: list[str] = []

    def wrap(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: object, **options: object) -> Any:
            if len(done) >= number:
                raise Crash(name)
            done.append(name)
            return original(*arguments, **options)

        return operation

    for name in OPERATIONS:
        monkeypatch.setattr(os, name, wrap(name, getattr(os, name)))
    original = shutil.rmtree

    def rmtree(*arguments: object, **options: object) -> None:
        if len(done) >= number:
            raise Crash("rmtree")
        original(*arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    return done


@pytest.mark.abuse
@pytest.mark.parametrize("same_step", [False, True])
def test_a_crash_loses_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_step: bool) -> None:
    """Whatever the moment, the old or the new one loads; replacing a checkpoint of the same step included."""
    crashes, found_old, found_new = 0, 0, 0
    for number in range(1_000):
        checkpoints = CheckpointStore(tmp_path / f"{number}")
        checkpoints.save("pre", 1, sample(1.0), keep=1)
        with monkeypatch.context() as patch:
            crash_at(patch, number)
            try:
                checkpoints.save("pre", 1 if same_step else 2, sample(2.0), keep=1)
                finished = True
            except Crash:
                finished = False
        path = checkpoints.latest("pre")
        value = checkpoints.load(path).model["conv/w:0"][0, 0].item()
        found_old += value == 1.0
        found_new += value == 2.0
        if finished:
            assert value == 2.0
            break
        crashes += 1
        checkpoints.save("pre", 3, sample(3.0), keep=1)
        assert files(checkpoints.folder) == {"pre-00000003", *(f"pre-00000003/{name}" for name in PARTS)}
    assert crashes > 15
    assert found_old + found_new == crashes + 1
    assert found_old > 10
    assert found_new > 1


def full_disk_after(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """Let `allowed` bytes be written, one call at a time, then raise ENOSPC."""
    original, left = os.write, [allowed]

    def write(handle: int, data: bytes | memoryview) -> int:
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = original(handle, bytes(data)[: left[0]])
        left[0] -= count
        return count

    monkeypatch.setattr(os, "write", write)


@pytest.mark.abuse
@pytest.mark.parametrize("allowed", [0, 1, 100, 300, 700])
def test_a_full_disk_loses_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    checkpoints = CheckpointStore(tmp_path)
    checkpoints.save("pre", 1, sample(1.0), keep=1)
    before = files(tmp_path)
    with monkeypatch.context() as patch:
        full_disk_after(patch, allowed)
        with pytest.raises(WorkFailed, match=r"pre-00000002.*cannot write \d+ bytes: No space left"):
            checkpoints.save("pre", 2, sample(2.0), keep=1)
    assert files(tmp_path) == before
    assert checkpoints.latest("pre") == checkpoints.path("pre", 1)
    checkpoints.save("pre", 2, sample(2.0), keep=1)
    assert checkpoints.latest("pre") == checkpoints.path("pre", 2)


@pytest.mark.abuse
@pytest.mark.parametrize("operation", ["open", "fsync", "mkdir", "rename"])
def test_any_os_error_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    checkpoints = CheckpointStore(tmp_path)
    checkpoints.save("pre", 1, sample(1.0), keep=1)
    before = files(tmp_path)

    originals = {"open": os.open, "rename": os.rename}

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    def refuse_new(path: Path, *arguments: object, **options: object) -> Any:
        """Files of the new checkpoint only: cleaning up may go on."""
        mine = str(path).endswith(PARTS if operation == "open" else ".tmp")
        return refuse() if mine else originals[operation](path, *arguments, **options)

    for step in (1, 2):
        with monkeypatch.context() as patch:
            patch.setattr(os, operation, refuse_new if operation in originals else refuse)
            with pytest.raises(WorkFailed, match="Permission denied"):
                checkpoints.save("pre", step, sample(2.0), keep=1)
        assert files(tmp_path) == before
        assert checkpoints.load(checkpoints.latest("pre")).model["conv/w:0"][0, 0] == 1.0


def test_atomic_write_replaces_or_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    atomic_write(path, b"old")
    with monkeypatch.context() as patch:
        full_disk_after(patch, 2)
        with pytest.raises(WorkFailed, match=r"result\.json: cannot write 8 bytes.*\n.*free at least 8 bytes"):
            atomic_write(path, b"new data")
    assert path.read_bytes() == b"old"
    atomic_write(path, b"new data")
    assert path.read_bytes() == b"new data"
    assert files(tmp_path) == {"result.json"}


@pytest.mark.abuse
def test_a_crash_tears_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each operation of an atomic write: the old content, or the new."""
    path = tmp_path / "config.json"
    seen = set()
    for number in range(100):
        atomic_write(path, b"old")
        with monkeypatch.context() as patch:
            crash_at(patch, number)
            try:
                atomic_write(path, b"new")
                finished = True
            except Crash:
                finished = False
        seen.add(path.read_bytes())
        if finished:
            break
    assert number >= 6
    assert seen == {b"old", b"new"}
