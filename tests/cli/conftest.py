"""Gives one finished tiny run to all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Finished, invoke, pipeline


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The tiny pipeline, run to its end once."""
    folder = tmp_path_factory.mktemp("finished")
    baselines = ("[train]\n", '[train]\nbaselines = ["single-task", "multi-task"]\n')
    path = pipeline(folder, ("[search]\n", "[search]\ncost_weight = 0.1\n"), baselines)
    return Finished(path, folder / "run", invoke("run", path, "--out", folder / "run", "--json"))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
