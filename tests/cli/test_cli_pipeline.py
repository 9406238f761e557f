"""End to end: a pipeline through the real commands, whole, stage by stage, interrupted and resumed."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commands import Finished, ended, invoke, own_head, pipeline, spawn
from safetensors.numpy import load_file

from trunkline.ingest.zoo import path as zoo_path
from trunkline.train.progress.progress import Silence

pytestmark = pytest.mark.golden

ONE_STEP = (("steps = [2, 4]", "steps = [1, 2]"), ("steps = 4\n", "steps = 1\n"))


def tree(folder: Path) -> dict[str, bytes]:
    """What the stages learned: checkpoints and metrics."""
    files = [*folder.rglob("checkpoints/*/*"), *folder.rglob("metrics.jsonl")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def weights(folder: Path, phase: str) -> dict[str, np.ndarray[Any, Any]]:
    newest = sorted((folder / "checkpoints").glob(f"{phase}-*"))[-1]
    return load_file(newest / "model.safetensors")


def test_stage_by_stage_gives_what_run_gives(finished: Finished) -> None:
    for command in ("search", "train", "export"):
        said = invoke(command, finished.pipeline, "--out", "staged", "--quiet")
        assert said.code == 0, said.err
    report = invoke("report", "staged")
    assert report.code == 0
    assert "Parity of the exported file" in report.out
    for name in ("plan.json", "policy.json", "model.onnx", "sharing.png"):
        assert Path("staged", name).read_bytes() == (finished.out / name).read_bytes(), name
    assert weights(Path("staged/train"), "post").keys() == weights(finished.out / "train", "post").keys()


def test_a_moved_run_is_only_loaded(finished: Finished) -> None:
    """It goes on where it is, and makes no step."""
    shutil.copytree(finished.out, "moved")
    before = tree(Path("moved"))
    said = invoke("run", finished.pipeline, "--out", "moved")
    assert said.code == 0, said.err
    assert "post 1/4" not in said.err  # no step was made
    assert tree(Path("moved")) == before
    assert Path("moved/model.onnx").read_bytes() == (finished.out / "model.onnx").read_bytes()


def test_another_config_is_refused(finished: Finished) -> None:
    """In the folder of a run, key by key, and nothing is changed."""
    shutil.copytree(finished.out, "run")
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    text = finished.pipeline.read_text()
    for old, new, key in (
        ("seed = 3", "seed = 4", "seed: is 4, but the run began with 3"),
        ("steps = [2, 4]", "steps = [2, 6]", "search.steps"),
        ("alternate = [1, 1]", "alternate = [1, 1]\npolicy_optimiser = { lr = 0.2 }", "search.policy_optimiser.lr"),
        ("batch_size = 2", "batch_size = 2\nloss_weights = { depth = 2.0 }", "loss_weights.depth"),
        ("length = 16", "length = 17", "data.length"),
        ("cost_weight = 0.1", "cost_weight = 0.2", "search.cost_weight"),
    ):
        Path("other.toml").write_text(text.replace(old, new, 1))
        said = invoke("run", "other.toml", "--out", "run", "--quiet")
        assert said.code == 2
        assert key in said.err
        assert "use another run folder" in said.err
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


def test_what_decides_no_number_may_change(finished: Finished) -> None:
    """Neither the bench's settings nor how a plan is drawn from the policy concern what was learned."""
    shutil.copytree(finished.out, "run")
    text = finished.pipeline.read_text().replace("samples = 11", "samples = 12")
    Path("other.toml").write_text(text + '\n[search.sampling]\nkind = "best"\ndraws = 8\nmax_macs = 0.01\n')
    before = tree(Path("run"))
    said = invoke("search", "other.toml", "--out", "run", "--quiet")
    assert said.code == 2
    assert "none of 8 plans is inside the budget" in said.err
    Path("other.toml").write_text(text + '\n[search.sampling]\nkind = "best"\ndraws = 8\n')
    assert invoke("search", "other.toml", "--out", "run", "--quiet").code == 0
    assert tree(Path("run")) == before


def test_early_mistakes_leave_no_folder(tmp_path: Path) -> None:
    """There is nothing to clear away."""
    for change in (
        ("seed = 3", 'seed = 3\ndevice = "gpu"'),
        ("[tasks.depth]", '[tasks.depth]\noptions = { loss_siz = "label" }'),
        ("length = 16", "length = 1"),
        ("[train]", '[train]\nbest_by = "depth.rms"'),
    ):
        said = invoke("run", pipeline(tmp_path, change), "--out", "run", "--quiet")
        assert said.code == 2
        assert not Path("run").exists()


class Signalling(Silence):
    """Sends this process a signal after a step, as a user or the system would."""

    def __init__(self, phase: str, step: int, number: int) -> None:
        self.at, self.number = (phase, step), number

    def step(self, report: Any) -> None:
        if (report.phase, report.step) == self.at:
            signal.raise_signal(self.number)


@pytest.mark.parametrize(
    ("command", "verb", "phase", "step", "number"),
    [
        ("search", "search", "pre", 1, signal.SIGINT),
        ("search", "search", "policy", 3, signal.SIGTERM),
        ("run", "train", "post", 1, signal.SIGTERM),
        ("train", "train", "post", 3, signal.SIGINT),
    ],
)
def test_interrupted_runs_end_the_same(
    command: str, verb: str, phase: str, step: int, number: int, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, whichever stage was interrupted."""
    if verb == "train":
        shutil.copytree(finished.out / "search", "run/search")
        shutil.copy(finished.out / "plan.json", "run/plan.json")
    with monkeypatch.context() as patched:
        patched.setattr("trunkline.verbs.training.make_progress", lambda *, quiet: Signalling(phase, step, number))
        said = invoke(command, finished.pipeline, "--out", "run")
    assert said.code == 128 + number
    assert said.err.splitlines()[-1].startswith(
        f"Interrupted: interrupted by {signal.Signals(number).name}; checkpoint: "
    )
    assert f"{phase}-{step:08d}" in said.err
    assert not said.out
    again = invoke("train" if command == "run" else command, finished.pipeline, "--out", "run", "--quiet")
    assert again.code == 0, again.err
    last = "policy" if verb == "search" else "post"
    ours, theirs = weights(Path("run") / verb, last), weights(finished.out / verb, last)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        np.testing.assert_array_equal(weight, theirs[name], err_msg=name)


def interrupted_process(finished: Finished, number: int, folder: Path) -> tuple[int, str]:
    text = finished.pipeline.read_text().replace("steps = [2, 4]", "steps = [2000, 4]")
    (folder / "long.toml").write_text(text)
    process = spawn("search", "long.toml", "--out", "run", cwd=folder)
    log, until = folder / "run/search/metrics.jsonl", time.monotonic() + 60
    while time.monotonic() < until and not log.exists():
        time.sleep(0.02)
    process.send_signal(number)
    said = ended(process)
    return said.code, said.err


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_signals_end_with_a_checkpoint(number: int, finished: Finished, tmp_path: Path) -> None:
    """From outside, at any moment."""
    code, err = interrupted_process(finished, number, tmp_path)
    assert code == 128 + number
    assert "Traceback" not in err
    checkpoint = Path(err.rsplit("checkpoint: ", 1)[1].strip())
    assert json.loads((checkpoint / "state.json").read_text())["step"] == int(checkpoint.name[-8:])


@pytest.mark.slow
def test_sigterm_cleans_up(tmp_path: Path) -> None:
    """Outside of training too, with code 143."""
    process = spawn("convert", "zoo:deeplab_resnet34", "out.onnx", "--parity-inputs", 10_000, cwd=tmp_path)
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(tmp_path.glob(".trunkline-*/out.onnx")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said = ended(process)
    assert (said.code, said.err.splitlines()[-1]) == (143, "Interrupted: stopped by SIGTERM")
    assert list(tmp_path.iterdir()) == []


def test_training_can_start_from_the_search(finished: Finished, tmp_path: Path) -> None:
    """With next to no learning rate, what is trained is what the search left, or is not."""
    shutil.copytree(finished.out / "search", "run/search")
    learned = {name.removeprefix("store."): w for name, w in weights(finished.out / "search", "policy").items()}
    text = finished.pipeline.read_text().replace('baselines = ["single-task", "multi-task"]', "START")
    text = text.replace("steps = 4\n", "steps = 1\noptimiser = { lr = 1e-9 }\n")
    same = {}
    for start in ("search", "scratch"):
        (tmp_path / "start.toml").write_text(text.replace("START", f'start = "{start}"'))
        assert invoke("search", "start.toml", "--out", "run", "--quiet").code == 0
        said = invoke("train", "start.toml", "--out", "run", "--quiet")
        assert said.code == 0, said.err
        trained = weights(Path("run/train"), "post")
        names = [name for name in trained if ".weight" in name and name in learned]
        assert len(names) >= 10
        assert any(name.startswith("head.") for name in names)
        same[start] = [bool(np.allclose(trained[name], learned[name], atol=1e-7)) for name in names]
        shutil.rmtree("run/train")
    assert all(same["search"])
    assert not any(same["scratch"])


def test_baselines_are_trained_alike(finished: Finished) -> None:
    content = finished.said.json
    for name in ("single-task", "multi-task"):
        row = json.loads((finished.out / f"train-{name}.json").read_text())
        assert row["name"] == name
        assert row["metrics"].keys() == content["train"]["metrics"].keys()
        settings = json.loads((finished.out / f"train-{name}" / "config.json").read_text())
        ours = json.loads((finished.out / "train" / "config.json").read_text())
        assert {k: v for k, v in settings.items() if k != "plan"} == {k: v for k, v in ours.items() if k != "plan"}
    assert set(content["delta"]["multi-task"]) == {"segmentation", "depth", "mean"}
    report = (finished.out / "report.md").read_text()
    assert "Δ mean (%)" in report
    assert "multi-task" in report


def test_best_weights_are_kept(tmp_path: Path) -> None:
    """Where that is asked for: those that the log says were best."""
    path = pipeline(
        tmp_path,
        ("steps = [2, 4]", "steps = [1, 2]"),
        ("[train]\n", '[train]\nbest_by = "depth.rmse"\noptimiser = { lr = 0.1 }\n'),
        ("eval_every = 4", "eval_every = 1"),
        ("checkpoint_every = 2", "checkpoint_every = 1"),
    )
    assert invoke("search", path, "--out", "run", "--quiet").code == 0
    said = invoke("train", path, "--out", "run", "--quiet", "--json")
    assert said.code == 0, said.err
    log = [json.loads(line) for line in Path("run/train/metrics.jsonl").read_text().splitlines()]
    scores = {row["step"]: row["metrics"]["depth"]["rmse"] for row in log if row["kind"] == "evaluation"}
    best = min(scores, key=lambda step: scores[step])
    assert said.json["validation"]["depth"]["rmse"] == scores[best]
    assert {row["step"] for row in said.json["kept"].values()} == {best}
    assert said.json["checkpoint"].endswith(f"post-{best:08d}")


def test_equal_inputs_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever they lie."""
    made = []
    for folder, inside in ((tmp_path / "a", True), (tmp_path / "deep" / "b", False)):
        folder.mkdir(parents=True)
        shutil.copy(zoo_path("tiny"), folder / "net.prototxt")
        own_head(folder / "head.onnx", 1)
        head = ("[tasks.depth]", '[tasks.depth]\nhead = "head.onnx"')
        path = pipeline(folder, *ONE_STEP, head, ('backbone = "zoo:tiny"', 'backbone = "net.prototxt"'))
        monkeypatch.chdir(folder if inside else tmp_path)
        for command in ("search", "train", "export"):
            said = invoke(command, path.name if inside else path, "--out", folder / "run", "--quiet")
            assert said.code == 0, said.err
        made.append((folder / "run" / "model.onnx").read_bytes())
    assert made[0] == made[1]
    # From another working directory the same file is still the same run.
    monkeypatch.chdir(tmp_path / "deep")
    assert invoke("train", tmp_path / "a" / "pipeline.toml", "--out", "../a/run", "--quiet").code == 0


def test_own_plans_and_places(finished: Finished) -> None:
    """A plan of the user's own, and a place for its model."""
    plan = json.loads((finished.out / "plan.json").read_text())
    plan["units"] = {unit: dict.fromkeys(row, 0) for unit, row in plan["units"].items()}
    Path("mine.json").write_text(json.dumps(plan))
    arguments = (finished.pipeline, "--out", "run", "--plan", "mine.json", "--quiet")
    assert invoke("train", *arguments).code == 0
    said = invoke("export", *arguments, "--model", "here.onnx", "--json")
    assert said.code == 0, said.err
    assert said.json["path"] == "here.onnx"
    assert Path("here.onnx").is_file()
    assert not Path("run/model.onnx").exists()
    refused = invoke("train", finished.pipeline, "--out", "run", "--plan", finished.out / "plan.json", "--quiet")
    assert refused.code == 2
    assert "plan.units" in refused.err


def test_one_task_is_a_pipeline_too(tmp_path: Path) -> None:
    path = pipeline(tmp_path, *ONE_STEP, ("[tasks.depth]\n", ""))
    said = invoke("run", path, "--out", "run", "--quiet", "--json")
    assert said.code == 0, said.err
    assert [output.name for output in onnx.load("run/model.onnx").graph.output] == ["segmentation"]


def test_a_report_of_what_there_is(finished: Finished) -> None:
    Path("half").mkdir()
    for name in ("plan.json", "policy.json", "search.json"):
        shutil.copy(finished.out / name, "half")
    said = invoke("report", "half", "--json")
    assert said.code == 0
    assert len(said.json["tables"]) == 1
    pictures = [Path(path).name for path in said.json["pictures"]]
    assert [name for name in pictures if name != "tree.png"] == ["sharing.png", "policy.png", "correlation.png"]


def test_progress_is_on_stderr(tmp_path: Path) -> None:
    """And quiet is quiet."""
    path = pipeline(tmp_path, *ONE_STEP)
    loud = invoke("search", path, "--out", "run")
    assert "pre 1/1" in loud.err
    assert "pre 1/1" not in loud.out
    shutil.rmtree("run/search/checkpoints")
    quiet = invoke("search", path, "--out", "run", "--quiet")
    assert (quiet.err, quiet.out) == ("", loud.out)
