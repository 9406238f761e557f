"""The numbers of a comparison: who the models are, what they are trained on, which weights are reported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import PipelineConfig, parse_config, train_numbers
from trunkline.pipeline.project import Project
from trunkline.sharing.lowering.executed_cost import cost_of_lowered
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.sharing.units import find_units
from trunkline.train.loop.evaluate import evaluate
from trunkline.train.loop.trainable import TaskModel
from trunkline.train.tasks.relative import relative_performance
from trunkline.twins.twin import Twin
from trunkline.verbs.export import export
from trunkline.verbs.run import run
from trunkline.verbs.search import search
from trunkline.verbs.train import TrainResult, relative, tasks_of, train, train_baseline, train_in

NUMBERS = {"steps": [2, 4, 5], "alternate": [1, 1], "batch_size": 2, "eval_every": 1, "checkpoint_every": 10}
TASKS = ("segmentation", "depth")


def config(**changes: Any) -> PipelineConfig:
    """Five steps at a rate that overshoots: what is best on the validation scenes is not what is last."""
    content = {
        "seed": 3,
        "policy_fraction": 0.25,
        "tasks": {name: {} for name in TASKS},
        "data": {"kind": "scenes", "size": [32, 48], "length": 8, "val_length": 2, "test_length": 3},
        "search": {"preset": "demo", "numbers": NUMBERS},
        "train": {"numbers": {"weight_lr": 0.05, "clip_norm": 1.0}, "best_by": "relative"},
        "bench": {"samples": 11, "limit_s": 0.05},
        "export": {"parity_inputs": 2},
    }
    return parse_config({**content, **changes})


def project(folder: Path, **changes: Any) -> Project:
    return Project(config(**changes), folder)


def all_own(given: Project) -> SharingPlan:
    """What a search would write that gives every task its own copy of everything: instances 1, 2, … of each unit."""
    units = find_units(given.backbone, "operator")
    row = {task: index + 1 for index, task in enumerate(given.tasks)}
    return make_plan(given.backbone, given.tasks, {unit.name: row for unit in units}, method="automtl")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, TrainResult]]:
    """Both baselines, and a searched model that happens to share nothing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    given = project(tmp_path_factory.mktemp("alike"))
    results = {name: train_baseline(given, name, quiet=True) for name in ("independent", "all-shared")}
    results["model"] = train(given, all_own(given), quiet=True)
    torch.set_num_threads(threads)
    return given, results


Trained = tuple[Project, dict[str, TrainResult]]


def records(given: Project, stage: str, kind: str) -> list[dict[str, Any]]:
    lines = (given.out / stage / "metrics.jsonl").read_text().splitlines()
    return [record for line in lines if (record := json.loads(line))["kind"] == kind]


def test_baselines_are_who_they_are_said_to_be(trained: Trained) -> None:
    given, results = trained
    for name, backbones in (("independent", 2), ("all-shared", 1)):
        cost = cost_of_lowered(results[name].graph, given.backbone, given.heads, 2)
        assert cost.backbone.parameters * 2 == cost.independent_backbone.parameters * backbones
        assert cost.backbone.macs * 2 == cost.independent_backbone.macs * backbones
        assert results[name].plan.method == name
        assert results[name].name == name
        assert [len(part.tasks) for part in Twin(results[name].graph).components()] == [2 // backbones] * backbones


def test_all_are_trained_by_the_same_numbers(trained: Trained) -> None:
    """Same steps, rates and settings; and the same samples: the first loss of a head is that of the same batch."""
    given, results = trained
    stages = {"train-independent": "independent", "train-all-shared": "all-shared", "train": "model"}
    rates = {stage: [(r["step"], r["lr"], r["turn"]) for r in records(given, stage, "step")] for stage in stages}
    assert [step for step, _, _ in rates["train"]] == [5]
    assert rates["train"] == rates["train-independent"] == rates["train-all-shared"]
    evaluated = {stage: [(r["step"], r["split"]) for r in records(given, stage, "evaluation")] for stage in stages}
    assert evaluated["train"] == [(step, "val") for step in range(1, 6)]
    assert evaluated["train"] == evaluated["train-independent"] == evaluated["train-all-shared"]
    training = {name: result.training for name, result in results.items()}
    assert training["model"] == training["independent"] == training["all-shared"]
    assert training["model"]["alike"] is True


def test_a_searched_model_that_shares_nothing_is_the_baseline(trained: Trained) -> None:
    """Whatever its instances are called: same start, same batches, same steps, and so the same numbers, all of them."""
    given, results = trained
    ours, theirs = results["model"], results["independent"]
    assert set(ours.weights) != set(theirs.weights)
    assert ours.metrics == theirs.metrics
    assert ours.kept.steps == theirs.kept.steps
    assert records(given, "train", "evaluation") == records(given, "train-independent", "evaluation")
    assert set(relative(given, ours, theirs).to_json().values()) == {0.0}


def test_reported_metrics_are_those_of_the_kept_weights(trained: Trained) -> None:
    given, results = trained
    for result in results.values():
        twin = Twin(result.graph, weights=result.weights)
        data = given.splits(train_numbers(given.config))
        for split, expected in (("test", result.metrics), ("val", result.kept.metrics)):
            again = evaluate(TaskModel(twin), tasks_of(given), data.evaluation(split))
            assert flat(again) == pytest.approx(flat(expected), rel=1e-4, nan_ok=True), split
        assert flat(result.metrics) != pytest.approx(flat(result.kept.metrics), rel=1e-3)


def flat(metrics: Any) -> dict[str, float]:
    return {f"{task}.{name}": value for task, values in metrics.items() for name, value in values.items()}


def test_every_single_task_model_keeps_its_own_best(trained: Trained) -> None:
    """What the log says was best for a task on the validation scenes is what its column has; a shared model has one."""
    _, results = trained
    steps = results["independent"].kept.steps
    assert steps["segmentation"] != steps["depth"], "the case is too easy"
    assert len(set(results["all-shared"].kept.steps.values())) == 1
    assert min(steps.values()) < 5
    content = results["independent"].to_json()
    assert {task: row["step"] for task, row in content["kept"].items()} == steps
    assert content["checkpoint"].endswith(f"post-{max(steps.values()):08d}")


def test_the_exported_file_has_the_kept_weights(trained: Trained, tmp_path: Path) -> None:
    given, results = trained
    result = results["independent"]
    exported = export(given, result, tmp_path / "model.onnx")
    image = given.data.test.sample(0).image[None]
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    found = dict(zip(TASKS, session.run(list(TASKS), {session.get_inputs()[0].name: image}), strict=True))
    with torch.no_grad():
        expected = Twin(result.graph, weights=result.weights).eval()(torch.from_numpy(image))
    for task in TASKS:
        scale = float(expected[task].abs().max())
        np.testing.assert_allclose(found[task], expected[task].numpy(), atol=1e-4 * scale)


def test_a_finished_training_is_not_evaluated_again(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    given, results = trained
    monkeypatch.setattr("trunkline.verbs.train.evaluate", None)
    again = train_baseline(given, "independent", quiet=True)
    assert again.metrics == results["independent"].metrics
    assert all(np.array_equal(again.weights[name], weight) for name, weight in results["independent"].weights.items())


def test_delta_is_positive_where_the_model_is_better(trained: Trained) -> None:
    given, results = trained
    single = results["independent"]
    directions = {task.name: task.higher_is_better for task in tasks_of(given)}
    better = {
        task: {name: value * (1.1 if directions[task].get(name, True) else 0.9) for name, value in values.items()}
        for task, values in single.metrics.items()
    }
    delta = relative(given, replace(single, metrics=better), single)
    assert delta.to_json() == pytest.approx({"segmentation": 10, "depth": 10, "mean": 10})
    worse = relative(given, single, replace(single, metrics=better))
    assert all(value < 0 for value in worse.to_json().values())


def test_the_policy_trains_on_its_fraction_alone(tmp_path: Path) -> None:
    for fraction, count in ((0.25, 2), (0.5, 4)):
        given = project(tmp_path / str(count), policy_fraction=fraction)
        data = given.splits(train_numbers(given.config))
        pools = {name: set(source.pool.tolist()) for name, source in data.training.items()}
        assert len(pools["train2"]) == count
        assert pools["train1"] == pools["train"] - pools["train2"] == set(range(8)) - pools["train2"]


class Asked(Exception):
    """Ends a verb once it has said what it would train."""


def asked(monkeypatch: pytest.MonkeyPatch, given: Project) -> list[dict[str, Any]]:
    """What the search would give its runner, phase by phase."""
    found = []

    def runner(model: Any, tasks: Any, data: Any, phase: Any, folder: Any, **options: Any) -> None:
        found.append({"phase": phase, "weights": {task.name: task.weight for task in tasks}, "data": data, **options})
        if phase.name == "policy":
            raise Asked

    monkeypatch.setattr("trunkline.verbs.search.Runner", runner)
    with pytest.raises(Asked):
        search(given, quiet=True)
    return found


def test_the_search_trains_by_its_own_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss weights of the policy's phase, the cost term's weight, splits, and a split that never reports."""
    numbers = {**NUMBERS, "loss_weights": {"depth": 2.0}, "search_loss_weights": {"depth": 5.0}, "regularization": 0.3}
    given = project(tmp_path, search={"preset": "demo", "numbers": numbers, "cost_weight": 0.7})
    pre, policy = asked(monkeypatch, given)
    assert pre["weights"] == {"segmentation": 1.0, "depth": 2.0}
    assert policy["weights"] == {"segmentation": 1.0, "depth": 5.0}
    assert {task.name: task.weight for task in tasks_of(given)} == pre["weights"]
    turn, weights = policy["phase"].turns
    assert turn.terms == {"regularization": 0.3, "cost": 0.7}
    assert (turn.split, weights.split, pre["phase"].turns[0].split) == ("train2", "train1", "train")
    assert {phase["phase"].eval_split for phase in (pre, policy)} == {"val"}
    assert (pre["phase"].steps, policy["phase"].steps) == (2, 4)
    assert {phase["seed"] for phase in (pre, policy)} == {3}
    assert not (tmp_path / "search").exists()


def test_the_search_records_its_split(tmp_path: Path) -> None:
    given = project(tmp_path, policy_fraction=0.5)
    search(given, quiet=True)
    found = json.loads((tmp_path / "search" / "split.json").read_text())
    assert found == {"train1": list(given.policy_split.train1), "train2": list(given.policy_split.train2)}
    assert sorted(found["train1"] + found["train2"]) == list(range(8))
    parts = json.loads((tmp_path / "data.json").read_text())["parts"]
    assert {name: part["samples"] for name, part in parts.items()} == {"train": 8, "val": 2, "test": 3}


def test_a_start_from_the_search_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model has had steps that no baseline gets: the JSON, the table and the report say so."""
    shown = []
    monkeypatch.setattr("trunkline.verbs.run.draw_predictions", lambda twin, data, *rest: shown.append(len(data)))
    train_table = {"numbers": {"steps": [2, 4, 1]}, "start": "search", "baselines": ["independent"]}
    result = run(config(train=train_table), tmp_path, quiet=True)
    content = result.to_json()
    assert shown == [3]  # scenes that report, as the metrics
    single = json.loads((tmp_path / "train-independent.json").read_text())["metrics"]
    directions = {task.name: task.higher_is_better for task in tasks_of(project(tmp_path))}
    assert content["delta"]["model"] == relative_performance(content["train"]["metrics"], single, directions).to_json()
    assert content["train"]["alike"] is False
    assert content["train"]["steps"] == {"search": 2 + 2, "train": 1}  # half of the policy's phase moves weights
    baseline = json.loads((tmp_path / "train-independent.json").read_text())
    assert baseline["alike"] is True
    assert baseline["steps"] == {"search": 0, "train": 1}
    report = (tmp_path / "report.md").read_text()
    assert "(not alike)" in report
    assert "was not trained alike" in report and "4 steps" in report
    assert "Metrics are of test (3 samples" in report
    assert "Nothing was chosen" in report


def test_what_chose_and_what_reports_is_told(trained: Trained) -> None:
    given, results = trained
    content = results["model"].to_json()
    assert content["splits"]["choose"]["split"] == "val"
    assert content["splits"]["choose"]["samples"] == 2
    assert content["splits"]["report"]["split"] == "test"
    assert content["splits"]["report"]["samples"] == 3
    assert content["best_by"] == "relative"
    assert json.loads((given.out / "train.json").read_text())["metrics"].keys() == content["metrics"].keys()


def test_abuse_choosing_without_samples_to_choose_by(tmp_path: Path) -> None:
    """Before anything is trained, and with advice."""
    images = tmp_path / "data"
    for name in ("train/{}/a", "train/{}/b", "train/{}/c", "val/{}/a"):
        for kind, shape in (("images", (32, 48, 3)), ("labels", (32, 48))):
            path = images / f"{name.format(kind)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((np.arange(np.prod(shape)).reshape(shape) % 2).astype(np.uint8)).save(path)
    data = {"kind": "folder", "path": str(images), "classes": ["a", "b"], "size": [32, 48], "val_fraction": 0.0}
    given = config(tasks={}, data=data)
    with pytest.raises(InvalidConfig, match=r"train\.best_by: no samples are held out.*\n.*val_fraction"):
        run(given, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_search_says_what_it_found_and_training_goes_by_it(tmp_path: Path) -> None:
    given = project(tmp_path)
    found = search(given, quiet=True)
    said = json.loads((tmp_path / "search.json").read_text())
    macs, parameters = found.cost.shares
    assert said == {
        "plan": str(tmp_path / "plan.json"),
        "tasks": list(TASKS),
        "method": "automtl",
        "macs": {"executed": found.cost.total.macs, "independent": found.cost.independent.macs},
        "parameters": found.cost.total.parameters,
        "backbone_macs_share": macs,
        "backbone_parameters_share": parameters,
        "parts": json.loads(json.dumps(found.cost.to_json())),
    }
    with_own = train_in(given, quiet=True)
    assert with_own.plan == found.plan == SharingPlan.load(tmp_path / "plan.json")


def test_batches_are_augmented_as_the_pipeline_says(tmp_path: Path) -> None:
    """The same step draws the same samples; with augmentation they are cut and turned."""
    plain, again, changed = (
        given.splits(train_numbers(given.config)).source("train").batch(0).image
        for given in (project(tmp_path, augment=augment) for augment in (False, False, True))
    )
    assert torch.equal(plain, again)
    assert plain.shape == changed.shape and not torch.equal(plain, changed)
