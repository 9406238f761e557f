"""Run folders, the log, progress, and the pieces around the runner."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runner_fakes import ALL, FOR_POLICY, FOR_WEIGHTS, TASKS, Numbered, Tiny, data, train_phase

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.files.write import json_bytes
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import HEAD
from trunkline.recipe import Moment, Move, Optimiser, Part, Phase, Turn
from trunkline.train.data.base import DataSets
from trunkline.train.data.sets.scenes import Scenes
from trunkline.train.loop.batch_feed import PrefetchedBatches, split_data
from trunkline.train.loop.device import Compute
from trunkline.train.loop.evaluate import evaluate
from trunkline.train.loop.runner import Outcome, Runner
from trunkline.train.loop.trainable import TaskModel, Trainable, parameter_group
from trunkline.train.progress.progress import Bar, Lines, Silence, make_progress
from trunkline.train.progress.step_report import StepReport, Throughput
from trunkline.train.run_folder.metrics_log import MetricsLog
from trunkline.train.run_folder.run_folder import open_run
from trunkline.train.tasks.registry import make_task
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden


def test_run_folders_tell_how_they_began(tmp_path: Path) -> None:
    """Configuration, and for each start its seed and versions."""
    for _ in range(2):
        with open_run(tmp_path / "deep" / "run", {"train": {"preset": "demo"}}, seed=4) as folder:
            folder.write_result({"depth": {"abs_error": float("nan")}})
    assert json.loads((folder.path / "config.json").read_text()) == {"train": {"preset": "demo"}}
    assert json.loads((folder.path / "result.json").read_text()) == {"depth": {"abs_error": None}}
    sessions = json.loads((folder.path / "sessions.json").read_text())["sessions"]
    assert len(sessions) == 2
    assert sessions[1]["seed"] == 4
    assert set(sessions[1]["versions"]) == {"python", "trunkline", "torch", "onnx", "numpy", "onnxruntime"}
    assert sessions[1]["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("/usr/bin/trunkline", "trunkline run 'my net.toml'"),
        ("/lib/trunkline/__main__.py", "trunkline run 'my net.toml'"),
        ("-c", ""),
    ],
)
def test_a_session_has_the_command_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, command: str
) -> None:
    """The process of a job has none: another process started it."""
    monkeypatch.setattr("sys.argv", [program, "run", "my net.toml"])
    with open_run(tmp_path, {}, seed=0):
        pass
    assert json.loads((tmp_path / "sessions.json").read_text())["sessions"][0]["command"] == command


@pytest.mark.abuse
def test_another_configuration_is_refused(tmp_path: Path) -> None:
    """Key by key."""
    with open_run(tmp_path, {"a": {"b": 1, "c": 2}, "d": 3}, seed=0):
        pass
    with pytest.raises(InvalidConfig) as caught, open_run(tmp_path, {"a": {"b": 5, "c": 2}, "e": 3}, seed=0):
        pass
    assert [problem.place for problem in caught.value.problems] == ["a.b", "d", "e"]
    assert "is 5, but the run began with 1" in str(caught.value)


@pytest.mark.abuse
def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """While the first one has the folder."""
    script = (
        "import sys\nfrom trunkline.errors import InvalidConfig\n"
        "from trunkline.train.run_folder.run_folder import open_run\n"
        "try:\n    with open_run(sys.argv[1], {}, seed=0): print('opened')\n"
        "except InvalidConfig as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def other() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    with open_run(tmp_path, {}, seed=0):
        assert "another process is using this run folder" in other()
    assert other() == "opened\n"


@pytest.mark.abuse
def test_strange_folders_are_refused(tmp_path: Path) -> None:
    """Files in a folder's place, and configurations that are none."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidConfig, match="expected a folder"), open_run(tmp_path / "file", {}, seed=0):
        pass
    with pytest.raises(WorkFailed, match="cannot be written"), open_run(tmp_path / "file" / "below", {}, seed=0):
        pass
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(InvalidConfig, match=r"config\.json: cannot be read as JSON"), open_run(tmp_path, {}, seed=0):
        pass


@pytest.mark.abuse
@pytest.mark.parametrize("content", ["{}", '{"sessions": 3}'])
def test_strange_sessions_are_refused(tmp_path: Path, content: str) -> None:
    """With advice, for no number comes from them."""
    (tmp_path / "sessions.json").write_text(content)
    with (
        pytest.raises(InvalidConfig, match=r"sessions\.json: is not .*\n.*remove the file"),
        open_run(tmp_path, {}, seed=0),
    ):
        pass


def test_log_truncation_keeps_what_the_checkpoint_knows(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert list(log.records()) == []
    log.truncate("a", 0, 0)
    for phase in ("a", "b"):
        for step in range(1, 5):
            log.append({"kind": "step", "phase": phase, "step": step, "loss": float("inf")})
        log.append({"kind": "evaluation", "phase": phase, "step": 2})
    with log.path.open("ab") as file:
        file.write(b'{"kind": "step", "phase": "a", "st')
    assert len(list(log.records())) == 10
    log.truncate("b", 2, 0)
    kept = [(r["phase"], r["kind"], r["step"]) for r in log.records()]
    assert kept[5:] == [("b", "step", 1), ("b", "step", 2)]
    assert len(kept) == 7
    assert log.path.read_bytes().endswith(b"}\n")


@pytest.mark.abuse
def test_unwritten_record_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that the disk does not take is an error."""
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"step": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkFailed, match=r"metrics\.jsonl: cannot be written: No space left"):
        log.sync()


def test_json_is_one_line_without_nan() -> None:
    """As a log needs it."""
    data = json_bytes({"a": float("nan"), "b": [1.5, float("-inf")], "c": {"é": (1, None)}})
    assert data == '{"a":null,"b":[1.5,null],"c":{"é":[1,null]}}\n'.encode()


RATES = {"weights": 0.1, "policy": 0.02}


def report(step: int, steps: int = 100) -> StepReport:
    return StepReport("pre", "weights", step, steps, {"depth": 0.25}, {"cost": 1.0}, RATES, 12.0, {"temperature": 4.5})


def test_a_record_holds_the_steps_numbers() -> None:
    assert report(3).record() == {
        "kind": "step",
        "phase": "pre",
        "turn": "weights",
        "step": 3,
        "losses": {"depth": 0.25},
        "terms": {"cost": 1.0},
        "lr": {"weights": 0.1, "policy": 0.02},
        "images_per_s": 12.0,
        "temperature": 4.5,
    }


def test_plain_progress() -> None:
    """A line at most every so many seconds, and one at the end."""
    stream, now = io.StringIO(), [0.0]
    with Lines(stream, every_s=10, clock=lambda: now[0]) as progress:
        for step in range(1, 101):
            now[0] = float(step)
            progress.step(report(step))
            if step == 50:
                progress.evaluation("pre", 50, {"depth": {"abs_error": 0.5, "delta_1": 0.75}})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "pre 1/100  depth 0.25  12.0 images/s"
    assert lines[1] == "pre 11/100  depth 0.25  12.0 images/s  ETA 1:29"
    assert "pre 50 evaluation  depth.abs_error 0.5  depth.delta_1 0.75" in lines
    assert lines[-1] == "pre 100/100  depth 0.25  12.0 images/s"
    assert len(lines) == 12


def test_progress_suits_the_stream() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert type(make_progress(quiet=True)) is Silence
    assert type(make_progress(stream=io.StringIO())) is Lines
    terminal = Terminal()
    with make_progress(stream=terminal) as progress:
        assert type(progress) is Bar
        progress.step(report(40))
        progress.step(report(41))
        progress.evaluation("pre", 41, {"depth": {"abs_error": 0.5}})
    assert "41/100" in terminal.getvalue()
    assert "depth.abs_error 0.5" in terminal.getvalue()


def test_throughput_counts_from_the_last_restart() -> None:
    now = [0.0]
    throughput = Throughput(clock=lambda: now[0])
    throughput.add(8)
    now[0] = 2.0
    assert throughput.images_per_s == 4.0
    throughput.restart()
    throughput.add(3)
    now[0] = 3.0
    assert throughput.images_per_s == 3.0


def test_speed_counts_from_run_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed counts from the start of the run.

    Runners of several phases are made together: the phases before are no time of this one.
    """
    now, speeds = [0.0], list[float]()

    class Ticking(Silence):
        def step(self, report: StepReport) -> None:
            speeds.append(report.images_per_s)
            now[0] += 2.0

    monkeypatch.setattr("trunkline.train.loop.runner.Throughput", lambda: Throughput(clock=lambda: now[0]))
    with open_run(tmp_path, {}, seed=0) as folder:
        runner = Runner(Tiny(), TASKS, data(), train_phase(3), folder, progress=Ticking())
        now[0] = 1_000.0
        runner.run()
    assert speeds[1:] == [2.0, 1.5]


def test_lookahead_gives_every_wanted_batch_in_order() -> None:
    source = data()
    salts = {ALL: 0, FOR_WEIGHTS: 1, FOR_POLICY: 2}
    wanted = [(FOR_WEIGHTS, 3), (FOR_POLICY, 0), (FOR_WEIGHTS, 4), (ALL, 9)]
    with PrefetchedBatches(source, wanted) as batches:
        found = list(batches)
    for (part, number), batch in zip(wanted, found, strict=True):
        assert torch.equal(batch.image, Numbered(salts[part]).batch(number).image)


def test_lookahead_ends_its_thread_when_left_early() -> None:
    import threading

    before = threading.active_count()
    source = data(all=(numbered := Numbered(0)))
    with PrefetchedBatches(source, ((ALL, number) for number in range(10**9))) as batches:
        next(batches)
    assert threading.active_count() == before
    assert len(numbered.asked) <= 3


def scenes() -> DataSets:
    lengths = {"train": 10, "val": 3, "test": 2}
    return DataSets(*(Scenes(length=n, size=(32, 32), seed=1, split=part) for part, n in lengths.items()))


def twin(channels: dict[str, int]) -> Twin:
    """A conv with BatchNorm, and a 1x1 conv per task."""
    build = GraphBuilder("tiny")
    x = build.image("image", (3, 32, 32))
    weight = build.weight("conv.weight", (4, 3, 3, 3), Filler("msra"))
    x = build.node("Conv", [x, weight], name="conv", attributes={"strides": [2, 2], "pads": [1, 1, 1, 1]})
    shape = {"bn.scale": 1.0, "bn.bias": 0.0, "bn.mean": 0.0, "bn.var": 1.0}
    weights = [build.tensor(name, np.full(4, value, np.float32)) for name, value in shape.items()]
    x = build.node("BatchNormalization", [x, *weights], name="bn", attributes={"epsilon": 1e-5, "momentum": 0.9})
    x = build.node("Relu", [x], name="relu")
    outputs = []
    for task, count in channels.items():
        head = build.weight(f"head.{task}.weight", (count, 4, 1, 1), Filler("msra"))
        outputs.append(build.node("Conv", [x, head], name=f"head.{task}", outputs=[task]))
    return Twin(build.finish(outputs))


def test_split_data_has_all_parts() -> None:
    """Those that phases name, and those that are evaluated."""
    source = split_data(scenes(), batch_size=2, seed=3)
    parts = {"all": Part(), "weights": Part(share=(0.2, 1.0)), "policy": Part(share=(0.0, 0.2))}
    pools = {name: set(source.source(part).pool.tolist()) for name, part in parts.items()}
    assert pools["all"] == set(range(10))
    assert pools["weights"] | pools["policy"] == pools["all"]
    assert not pools["weights"] & pools["policy"]
    assert len(pools["policy"]) == 2
    assert source.source(Part(share=(0.0, 0.2))) is source.source(parts["policy"]), "made once"
    assert sum(len(batch) for batch in source.evaluation("val")) == 3
    assert sum(len(batch) for batch in source.evaluation("test")) == 2
    without = split_data(replace(scenes(), val=None), batch_size=2, seed=3)
    with pytest.raises(InvalidConfig, match='no validation split "val"'):
        without.evaluation("val")


def test_a_twin_learns_scenes(tmp_path: Path) -> None:
    """Real data, real tasks, a real Twin: the loss falls, and its weights keep their ONNX names on disk."""
    infos = scenes().train.tasks
    chosen = {name: infos[name] for name in ("segmentation", "depth", "normals")}
    tasks = [make_task(name, info.kind, info.channels, **info.options) for name, info in chosen.items()]
    phase = Phase(
        steps=25,
        turns=(Turn(moves=(Move(optimiser=Optimiser(lr=0.02)),)),),
        log_every=1,
        eval_every=10,
        checkpoint_every=10,
        best_by="segmentation.miou",
    )

    def session(folder: Path) -> tuple[TaskModel, Outcome, list[dict[str, Any]]]:
        model = TaskModel(twin({name: info.channels for name, info in chosen.items()}))
        with open_run(folder, {}, seed=1) as opened:
            source = split_data(scenes(), batch_size=4, seed=1)
            return model, Runner(model, tasks, source, phase, opened, seed=1).run(), list(opened.log.records())

    model, outcome, records = session(tmp_path)
    losses = [sum(r["losses"].values()) for r in records if r["kind"] == "step"]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    assert set(outcome.metrics) == set(chosen)
    assert all(np.isfinite(list(values.values())).all() for values in outcome.metrics.values())
    assert set(model.state_dict()) == set(model.twin.weights())
    assert "conv.weight" in model.state_dict()
    again, repeated, _ = session(tmp_path)
    assert repeated.resumed_from == 25
    source = split_data(scenes(), batch_size=4, seed=1)
    assert evaluate(again, tasks, source.evaluation("val")) == outcome.metrics


def test_task_models_are_trainable() -> None:
    """Their groups are the parts of the model, and they follow every mode."""
    parts = {"head.depth.weight": HEAD}
    model: Trainable = TaskModel(twin({"depth": 1}), parts)
    assert model.tasks == ("depth",)
    groups = {group: set(parameters) for group, parameters in model.groups().items()}
    backbone = {"conv.weight", "bn.scale", "bn.bias"}
    assert groups == {"weights.backbone": backbone, "weights.heads": {"head.depth.weight"}}
    assert set(parameter_group(TaskModel(twin({"depth": 1})), "weights")) == {*backbone, "head.depth.weight"}
    assert set(model.users().values()) == {frozenset(["depth"])}
    assert model.at(Moment("train", "average", step=3)) == {}
    assert Compute().resolve() == torch.device("cpu")


def test_task_models_reset_their_statistics() -> None:
    """To those of the file: mean 0 and variance 1."""
    model = TaskModel(twin({"depth": 1}))
    model.train(True)
    model(torch.randn(4, 3, 32, 32))
    means, variances = (model.statistics()[name] for name in ("bn.mean", "bn.var"))
    assert means.any() and not torch.equal(variances, torch.ones(4))
    model.reset_statistics()
    assert not means.any() and torch.equal(variances, torch.ones(4))


def test_task_models_add_terms_over_weights() -> None:
    """Those that a method gives them; others are refused."""
    model = TaskModel(twin({"depth": 1}), terms={"l1": lambda weights: weights["conv.weight"].abs().sum()})
    assert model.terms([], {}) == {}
    term = model.terms(["l1"], {})["l1"]
    assert term.item() == pytest.approx(model.state_dict()["conv.weight"].abs().sum().item())
    term.backward()
    assert model.groups()["weights.backbone"]["conv.weight"].grad is not None
    with pytest.raises(InvalidConfig, match='no term "regularization"'):
        model.terms(["l1", "regularization"], {})
