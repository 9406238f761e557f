"""Abuse: every bad file ends in a located error and exit code 2, runs nothing, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from bad_externals import SECRET
from bad_files import COMMANDS, Bad, bad_files
from bad_foreign import MARK
from commands import ROOT, Said, invoke

pytestmark = pytest.mark.abuse

BAD = bad_files()
MEMORY_BYTES = 2 * 2**30
SECONDS = 20
"""Of processor time: what else runs on the machine must not decide. What sleeps is ended after six times as long."""


def test_there_are_enough_of_them() -> None:
    kinds = [bad.kind for bad in BAD.values()]
    assert len(BAD) >= 450
    assert {kind: kinds.count(kind) >= 14 for kind in kinds} == dict.fromkeys(kinds, True)
    assert kinds.count("external") >= 45


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def check(bad: Bad, said: Said, before: list[str], folder: Path) -> None:
    assert said.code == 2, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    assert bad.kind == "pipeline" or f"{COMMANDS[bad.kind][0]}:" in said.err, said.err
    for fragment in bad.says:
        assert fragment in said.err, said.err
    assert SECRET[:6].decode() not in said.err
    assert listing(folder) == before
    assert not Path(MARK).exists()


@pytest.mark.parametrize("key", BAD)
def test_a_bad_file_is_refused(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which is quick; the test below runs the command as a user does."""
    folder = tmp_path / "model"
    folder.mkdir()
    monkeypatch.chdir(folder)
    command = BAD[key].place(folder)
    before = listing(folder)
    check(BAD[key], invoke(*command), before, folder)


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def spawned(command: list[str], folder: Path) -> Said:
    done = subprocess.run(
        [sys.executable, "-m", "trunkline", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=6 * SECONDS,
        preexec_fn=bounded,  # noqa: PLW1509
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


ONE_OF_EACH = set({bad.kind: key for key, bad in reversed(BAD.items())}.values())


@pytest.mark.parametrize(
    "key", [key if key in ONE_OF_EACH else pytest.param(key, marks=pytest.mark.slow) for key in BAD]
)
def test_bad_files_are_refused_within_bounds(key: str, tmp_path: Path) -> None:
    """In 2 GiB and 20 s."""
    folder = tmp_path / "model"
    folder.mkdir()
    command = BAD[key].place(folder)
    before = listing(folder)
    check(BAD[key], spawned(command, folder), before, folder)
