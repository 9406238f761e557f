"""Abuse: torn files, full disks and losses that are not finite cost a run nothing that was saved."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from commands import Finished, Said, contents, ended, invoke, own_head, pipeline, refused, spawn
from filelock import FileLock

pytestmark = pytest.mark.abuse

SIZE = ("--input-size", "32,48")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "optimisers.safetensors", "state.json", "manifest.json"])
def test_flipped_bytes_everywhere_are_found(name: str, finished: Finished) -> None:
    """Where no checkpoint is good, the phase must begin again, and is told so."""
    shutil.copytree(finished.out, "run")
    for path in Path("run/train/checkpoints").glob(f"*/{name}"):
        flip(path)
    before = contents(Path("run"))
    said = invoke_with_warnings("train", finished.pipeline, "--out", "run", "--quiet")
    refused(said, f"train/checkpoints/post-00000004/{name}", "no checkpoint is good", "remove the folder")
    assert contents(Path("run")) == before


def test_a_flipped_byte_costs_few_steps(finished: Finished) -> None:
    """Those since the checkpoint before it."""
    shutil.copytree(finished.out, "run")
    newest = Path("run/train/checkpoints/post-00000004/model.safetensors")
    good = newest.read_bytes()
    flip(newest)
    with pytest.warns(RuntimeWarning, match="post-00000004"):
        assert invoke("train", finished.pipeline, "--out", "run", "--quiet").code == 0
    assert newest.read_bytes() == good


@pytest.mark.slow
def test_a_warning_is_one_line_on_stderr(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.out, "run")
    flip(Path("run/train/checkpoints/post-00000004/model.safetensors"))
    said = ended(spawn("train", finished.pipeline, "--out", "run", "--quiet", "--json", cwd=tmp_path))
    assert said.code == 0
    assert said.json["name"] == "model"
    assert said.err.startswith("warning: skipped a corrupt checkpoint: ")
    assert len(said.err.splitlines()) == 1


def invoke_with_warnings(*arguments: object) -> Said:
    with pytest.warns(RuntimeWarning, match="skipped a corrupt checkpoint"):
        return invoke(*arguments)


@pytest.mark.parametrize("name", ["plan.json", "search/config.json", "search/sessions.json"])
@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_torn_files_are_named(name: str, content: str, finished: Finished) -> None:
    """Whichever stage reads them."""
    shutil.copytree(finished.out, "run")
    Path("run", name).write_text(content)
    command = "train" if name == "plan.json" else "search"
    refused(invoke(command, finished.pipeline, "--out", "run", "--quiet"), f"run/{name}")


@pytest.mark.parametrize("name", ["search.json", "train.json", "export.json", "bench.json", "plan.json", "policy.json"])
def test_reports_name_torn_results(name: str, finished: Finished) -> None:
    """By the file's name."""
    shutil.copytree(finished.out, "run")
    Path("run", name).write_text(Path("run", name).read_text()[:-10])
    refused(invoke("report", "run"), f"run/{name}")


def test_endless_losses_leave_a_good_checkpoint(finished: Finished) -> None:
    """And going on from it ends the same way."""
    shutil.copytree(finished.out / "search", "run/search")
    shutil.copy(finished.out / "plan.json", "run/plan.json")
    text = finished.pipeline.read_text().replace("steps = 4\n", "steps = 40\noptimiser = { lr = 1e18 }\n")
    Path("hot.toml").write_text(text.replace("checkpoint_every = 2", "checkpoint_every = 1"))
    said = invoke("train", "hot.toml", "--out", "run", "--quiet")
    refused(said, 'phase "post"', "step ", "is not finite", "the last checkpoint is good", code=3)
    assert 'task "segmentation"' in said.err or 'task "depth"' in said.err or "gradient" in said.err
    kept = list(Path("run/train/checkpoints").iterdir())
    assert kept
    again = invoke("train", "hot.toml", "--out", "run", "--quiet")
    assert (again.code, again.err) == (said.code, said.err)  # it goes on from there, to the same end


@pytest.mark.parametrize(("optimiser", "phase"), [("pre_optimiser", "pre"), ("policy_optimiser", "policy")])
def test_a_diverging_search_decides_nothing(optimiser: str, phase: str, tmp_path: Path) -> None:
    """It says in which phase, turn and step."""
    path = pipeline(tmp_path, ("alternate = [1, 1]", f"alternate = [1, 1]\n{optimiser} = {{ lr = 1e30 }}"))
    said = invoke("search", path, "--out", "run", "--quiet")
    refused(said, f'phase "{phase}", turn "weights", step ', 'the loss of task "segmentation"', code=3)
    assert "lower the learning rate" in said.err
    assert not Path("run/plan.json").exists()


@contextlib.contextmanager
def little_room(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes: what a full disk looks like, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_keeps_the_older_model() -> None:
    """And leaves no half of the new one."""
    Path("out.onnx").write_text("an older model")
    with little_room(100_000):
        said = invoke("convert", "zoo:tiny", "out.onnx", *SIZE, "--parity-inputs", 1)
    refused(said, "out.onnx", "bytes", "free at least", code=3)
    assert [path.name for path in Path().iterdir()] == ["out.onnx"]
    assert Path("out.onnx").read_text() == "an older model"


def test_no_room_keeps_older_checkpoints(finished: Finished) -> None:
    """And with room the training goes on."""
    shutil.copytree(finished.out / "search", "run/search")
    shutil.copy(finished.out / "plan.json", "run/plan.json")
    before = contents(Path("run"))
    with little_room(100_000):
        said = invoke("train", finished.pipeline, "--out", "run", "--quiet")
    refused(said, "train/checkpoints/post-00000002", "free at least", code=3)
    assert before.items() <= contents(Path("run")).items()
    assert not list(Path("run/train").rglob("*.tmp"))
    assert invoke("train", finished.pipeline, "--out", "run", "--quiet").code == 0


@pytest.mark.parametrize("command", ["run", "report"])
def test_no_room_for_a_picture(command: str, finished: Finished) -> None:
    shutil.copytree(finished.out, "run")
    arguments = (finished.pipeline, "--out", "run", "--quiet") if command == "run" else ("run",)
    with little_room(2_000):
        said = invoke(command, *arguments)
    refused(said, "cannot write", code=3)
    assert "free at least" in said.err
    assert contents(finished.out).items() <= contents(Path("run")).items()


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_takes_no_files(error: int, finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refusing(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            raise OSError(error, os.strerror(error), str(path))
        return real(path, flags, *rest, **options)

    shutil.copytree(finished.out, "run")
    before = contents(Path("run"))
    monkeypatch.setattr(os, "open", refusing)
    for arguments in (("report", "run"), ("train", finished.pipeline, "--out", "run", "--quiet")):
        refused(invoke(*arguments), "run", os.strerror(error), code=3)
    assert contents(Path("run")) == before


def test_what_the_machine_refuses_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, words in (
        (OSError(errno.EIO, "Input/output error", "a/file"), "a/file: Input/output"),
        (MemoryError(), "memory"),
    ):

        def failing(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("trunkline.cli.inspect_command.inspect", failing)
        refused(invoke("inspect", "zoo:tiny"), "WorkFailed: ", words, code=3)


def test_a_run_in_use_is_untouched(finished: Finished) -> None:
    """Two processes would tear it."""
    shutil.copytree(finished.out, "run")
    before = contents(Path("run"))
    with FileLock("run/train/.lock"):
        said = invoke("train", finished.pipeline, "--out", "run", "--quiet")
    refused(said, "another process is using this run folder")
    assert contents(Path("run")) == before


def test_stages_say_what_comes_first(tmp_path: Path) -> None:
    """And make no folder."""
    path = pipeline(tmp_path)
    for command in ("train", "export"):
        refused(invoke(command, path, "--out", "run"), "there is no plan yet", "run `trunkline search`")
    refused(invoke("report", "run"), "there is no run in this folder", "`trunkline run` makes one")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("command", ["search", "train", "export"])
def test_a_file_is_no_run_folder(command: str, finished: Finished) -> None:
    """And is not written over."""
    Path("taken").write_text("mine")
    said = invoke(command, finished.pipeline, "--out", "taken", "--quiet")
    assert said.code in (2, 3)
    refused(said, "taken", code=said.code)
    assert Path("taken").read_text() == "mine"


def test_changed_files_of_a_run_are_noticed(tmp_path: Path) -> None:
    """Its weights are where a search begins and what training from the file goes back to."""
    assert invoke("convert", "zoo:tiny", "net.onnx", *SIZE).code == 0
    own_head("head.onnx", channels=1)
    config = pipeline(tmp_path, ('"zoo:tiny"', '"net.onnx"'), ("[tasks.depth]", '[tasks.depth]\nhead = "head.onnx"'))
    assert invoke("search", config, "--out", "run", "--quiet").code == 0
    before = contents(Path("run"))
    assert invoke("search", config, "--out", "run", "--quiet").code == 0
    for name, key in (("net.onnx", "contents.backbone.weights"), ("head.onnx", "contents.heads.depth")):
        good = Path(name).read_bytes()
        model = onnx.load(name)
        model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
        onnx.save(model, name)
        refused(invoke("search", config, "--out", "run", "--quiet"), key, "use another run folder")
        Path(name).write_bytes(good)
    assert contents(Path("run")) == before
