"""Training the model of a plan with a teacher, by the verb: what is kept, what is gone on from, what is said of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import parse_config
from trunkline.pipeline.project import Project
from trunkline.report.training import how_trained
from trunkline.sharing.layouts.plans import independent, share_until
from trunkline.supermodel.methods.columns import columns_plan
from trunkline.supermodel.methods.cross_stitch import CrossStitch, CrossStitchOptions
from trunkline.supermodel.methods.distilled import balanced_phase, taught_phase
from trunkline.supermodel.work import Found
from trunkline.train.loop.interrupt import Interrupted
from trunkline.train.loop.taught_model import TaughtModel
from trunkline.train.progress.progress import Silence
from trunkline.train.progress.step_report import StepReport
from trunkline.train.run_folder.checkpoint_file import read_checkpoint
from trunkline.verbs.search import search
from trunkline.verbs.train import TrainResult, train, train_baseline, train_in
from trunkline.verbs.training import last_losses
from trunkline.verbs.work import ProjectWork

pytestmark = pytest.mark.golden

TASKS = ("segmentation", "depth")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def project(folder: Path, search: dict[str, Any] | None = None, **changes: Any) -> Project:
    """Four steps, each evaluated, at a rate that overshoots."""
    train_table = {"steps": 4, "batch_size": 2, "eval_every": 1, "optimiser": {"lr": 0.05}, "clip_norm": 1.0}
    content = {
        "preset": "demo",
        "seed": 3,
        "tasks": {name: {} for name in TASKS},
        "data": {"kind": "scenes", "size": [32, 48], "length": 8, "val_length": 2},
        "search": {"method": "distilled", "max_macs": 0.8, **(search or {})},
        **changes,
    }
    content["train"] = {**train_table, **changes.get("train", {})}
    return Project(parse_config(content), folder)


def found_in(given: Project, **changes: Any) -> Found:
    """A trunk with a teacher that has been trained."""
    plan = share_until(given.backbone, given.tasks, "2")
    teacher = ProjectWork(given, quiet=True).train("single", independent(given.backbone, given.tasks))
    found = Found(plan, phases=(taught_phase(given.setup.phase, 1.0),), teacher=teacher)
    return replace(found, **changes)


def same_weights(one: TrainResult, other: TrainResult) -> bool:
    assert set(one.weights) == set(other.weights)
    return all(np.array_equal(one.weights[name], weight) for name, weight in other.weights.items())


def steps(phase: str, *losses: dict[str, float]) -> list[dict[str, Any]]:
    return [{"kind": "step", "phase": phase, "step": i, "losses": each} for i, each in enumerate(losses)]


def test_last_losses_are_of_a_tenth() -> None:
    """Of the last phase, rounded up to whole steps; evaluations count for nothing."""
    records = steps("pre", *({"a": 100.0, "b": 100.0} for _ in range(15)))
    records += steps("post", *({"a": float(i), "b": 2.0 * i} for i in range(25)))
    records.insert(-2, {"kind": "evaluation", "phase": "post", "step": 23, "metrics": {}})
    assert last_losses(records) == {"a": 23.0, "b": 46.0}
    assert last_losses(records[:15]) == {"a": 100.0, "b": 100.0}
    assert last_losses([]) == last_losses(records[-3:-2]) == {}
    assert last_losses(steps("post", {"a": 1.0}, {"a": 3.0})) == {"a": 3.0}


def test_last_losses_of_rare_labels() -> None:
    """A task that has no label in the last steps has the loss of its own last ones."""
    rare = [{"a": 1.0, "b": 7.0} if i == 3 else {"a": float(i)} for i in range(20)]
    assert last_losses(steps("post", *rare, {})) == {"a": 18.5, "b": 7.0}


def test_a_training_says_its_last_losses(tmp_path: Path) -> None:
    """Those that are logged, without λ: of the last step here; loaded again they are the same."""
    given = project(tmp_path, train={"loss_weights": {"depth": 5.0}})
    plan = independent(given.backbone, given.tasks)
    trained = ProjectWork(given, quiet=True).train("single", plan)
    records = [record for record in given.folder("search-single").log.records() if record["kind"] == "step"]
    assert trained.losses == records[-1]["losses"] and set(trained.losses) == set(TASKS)
    again = ProjectWork(project(tmp_path, train={"loss_weights": {"depth": 5.0}}), quiet=True).train("single", plan)
    assert again.losses == trained.losses
    unweighed = ProjectWork(project(tmp_path / "other"), quiet=True).train("single", plan)
    assert unweighed.losses["segmentation"] == pytest.approx(trained.losses["segmentation"])


def test_a_teacher_changes_the_training(tmp_path: Path) -> None:
    """And nothing else does: without its term the weights are those of a model that has none."""
    given = project(tmp_path / "taught")
    found = found_in(given)
    taught = train(given, found, quiet=True)
    plain = train(project(tmp_path / "plain"), Found(found.plan), quiet=True)
    silent = train(project(tmp_path / "silent"), replace(found, phases=None), quiet=True)
    assert not same_weights(taught, plain)
    assert same_weights(silent, plain)
    assert set(taught.graph.initializers) == set(plain.graph.initializers)
    assert taught.training["alike"] is False and plain.training["alike"] is True
    assert taught.training["steps"] == {"search": 0, "teacher": 4, "train": 4}
    stored = read_checkpoint(taught.checkpoint).model
    assert {name for name in stored if name.startswith("teacher/")} == {f"teacher/{task}/0" for task in TASKS}
    assert set(stored) - set(taught.weights) == {f"teacher/{task}/0" for task in TASKS}


def test_the_trained_model_teaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the weights that were kept, not those that it began with."""
    shown = []

    class Watched(TaughtModel):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            shown.append({name: tensor.clone().numpy() for name, tensor in self.teacher.weights().items()})

    given = project(tmp_path)
    found = found_in(given)
    monkeypatch.setattr("trunkline.verbs.training.TaughtModel", Watched)
    train(given, found, quiet=True)
    (weights,) = shown
    assert set(weights) == set(found.teacher.weights)
    assert all(np.array_equal(weights[name], weight) for name, weight in found.teacher.weights.items())


class Stop(Silence):
    """Interrupts behind a step of the model's training."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, report: StepReport) -> None:
        if report.step == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("stop", [1, 3])
def test_a_taught_training_is_gone_on(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a process that loads the teacher again: the weights of a training that was not interrupted."""
    whole = train(given := project(tmp_path / "whole"), found_in(given), quiet=True)
    parts = project(tmp_path / "parts")
    found = found_in(parts)
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr("trunkline.verbs.training.make_progress", lambda *, quiet: Stop(stop))
        train(parts, found, quiet=True)
    again = project(tmp_path / "parts")
    resumed = train(again, found_in(again), quiet=True)
    assert same_weights(resumed, whole) and resumed.metrics == whole.metrics
    assert same_weights(train(again, found_in(again), quiet=True), whole)  # a finished one is only loaded


def test_each_column_keeps_its_best(tmp_path: Path) -> None:
    """Of a plan that shares nothing: by its own task, as a model of its own would, matrices or not."""
    given = project(tmp_path, train={"best_by": "relative"})
    result = train(given, found_in(given, plan=independent(given.backbone, given.tasks)), quiet=True)
    logged = [r for r in given.folder("train").log.records() if r["kind"] == "evaluation"]
    assert len(set(result.kept.steps.values())) == 2, "the case is too easy"
    for task, step in result.kept.steps.items():
        (metrics,) = [record["metrics"][task] for record in logged if record["step"] == step]
        assert result.kept.metrics[task] == pytest.approx(metrics)
        stored = read_checkpoint(result.kept.checkpoints[task]).model
        marks = {name: result.graph.initializers[name].metadata_props for name in result.weights}
        own = [name for name, mark in marks.items() if mark["trunkline.tasks"] == task]
        assert own and all(np.array_equal(stored[name].numpy(), result.weights[name]) for name in own)


def test_joined_columns_may_be_taught(tmp_path: Path) -> None:
    """Heads read what a join gives, which is what is compared."""
    given = project(tmp_path)
    plan = columns_plan(given.setup, CrossStitch(given.setup, CrossStitchOptions()).joins(), "cross-stitch")
    assert plan.joins
    result = train(given, found_in(given, plan=plan), quiet=True)
    (last,) = [record for record in given.folder("train").log.records() if record["kind"] == "step"]
    assert 0 < last["terms"]["teacher"] < 8 and set(result.metrics) == set(TASKS)


def test_low_precision_is_taught_too(tmp_path: Path) -> None:
    given = project(tmp_path, precision="bfloat16")
    result = train(given, found_in(given), quiet=True)
    assert all(np.isfinite(weight).all() for weight in result.weights.values())


def test_train_alone_has_the_teacher_too(tmp_path: Path) -> None:
    """`train` behind `search`; with `--plan` it trains as the pipeline says, and a plan to be taught is an option."""
    search(project(tmp_path), quiet=True)
    own = train_in(project(tmp_path), quiet=True)
    assert own.training["steps"]["teacher"] == 4 and own.plan.method == "distilled"
    given, file = project(tmp_path / "other"), tmp_path / "mine.json"
    share_until(given.backbone, given.tasks, "0").save(file)
    plain = train_in(given, file, quiet=True)
    assert plain.plan.method == "share-until" and plain.training["alike"]
    option = project(tmp_path / "option", search={"file": str(file)})
    taught = train(option, search(option, quiet=True).found, quiet=True)
    assert taught.plan.units == plain.plan.units and taught.training["steps"]["teacher"] == 4
    assert taught.training["loss_weights"] == own.training["loss_weights"]  # of the same single-task models
    with pytest.raises(InvalidConfig, match="ends with a plan, not with weights"):
        train_in(project(tmp_path / "start", train={"start": "search"}), file, quiet=True)


@pytest.mark.parametrize(
    ("options", "alike"),
    [({}, False), ({"weight": 0.0}, False), ({"balance": False}, False), ({"weight": 0.0, "balance": False}, True)],
)
def test_who_is_trained_alike(options: dict[str, Any], alike: bool, tmp_path: Path) -> None:
    """Only a cut that neither has a teacher nor weighs its losses; it is `share-until`, bit for bit."""
    given = project(tmp_path / "model", search={"block": "2", **options})
    result = train(given, search(given, quiet=True).found, quiet=True)
    assert result.training["alike"] is alike
    cut = train_baseline(project(tmp_path / "cut"), "share-until:2", quiet=True)
    assert same_weights(result, cut) is alike
    said = how_trained([result.to_json(), cut.to_json()])
    assert len([sentence for sentence in said if "not trained alike" in sentence]) == (not alike)
    assert cut.training["loss_weights"] == {"segmentation": 1.0, "depth": 1.0}
    if "balance" in options:
        assert result.training["loss_weights"] == cut.training["loss_weights"]
    else:
        assert result.training["loss_weights"]["depth"] != 1.0


def test_weights_that_change_nothing_are_alike(tmp_path: Path) -> None:
    """Losses that are weighed as the pipeline weighs them are no other training."""
    given = project(tmp_path, train={"loss_weights": {"depth": 3.0}})
    plan, phase = share_until(given.backbone, given.tasks, "2"), given.setup.phase
    same = balanced_phase(phase, dict.fromkeys(TASKS, 0.5), {"segmentation": 1.0, "depth": 3.0})
    result = train(given, Found(plan, phases=(same,)), quiet=True)
    assert result.training["alike"] is True
    assert result.training["loss_weights"] == {"segmentation": 1.0, "depth": 3.0}
