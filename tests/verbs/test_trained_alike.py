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
from trunkline.pipeline.config import PipelineConfig, parse_config
from trunkline.pipeline.project import Project
from trunkline.recipe import Part
from trunkline.sharing.lowering.executed_cost import cost_of_lowered
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.supermodel.work import Found
from trunkline.train.loop.evaluate import evaluate
from trunkline.train.loop.trainable import TaskModel
from trunkline.train.tasks.relative import relative_performance
from trunkline.twins.twin import Twin
from trunkline.verbs.export import export
from trunkline.verbs.run import run
from trunkline.verbs.search import search
from trunkline.verbs.train import TrainResult, relative, train, train_baseline, train_in
from trunkline.verbs.work import ProjectWork

pytestmark = pytest.mark.properties

SEARCH = {"steps": [2, 4], "alternate": [1, 1], "policy_fraction": 0.25}
TRAIN = {
    **{"steps": 5, "batch_size": 2, "eval_every": 1, "checkpoint_every": 10},
    **{"optimiser": {"lr": 0.05}, "clip_norm": 1.0, "best_by": "relative"},
}
TASKS = ("segmentation", "depth")


def config(**changes: Any) -> PipelineConfig:
    """Five steps at a rate that overshoots: what is best on the validation scenes is not what is last."""
    content = {
        "preset": "demo",
        "seed": 3,
        "tasks": {name: {} for name in TASKS},
        "data": {"kind": "scenes", "size": [32, 48], "length": 8, "val_length": 2, "test_length": 3},
        "search": SEARCH,
        "train": TRAIN,
        "bench": {"samples": 11, "limit_s": 0.05},
        "export": {"parity_inputs": 2},
    }
    return parse_config({**content, **changes})


def project(folder: Path, **changes: Any) -> Project:
    return Project(config(**changes), folder)


def all_own(given: Project) -> SharingPlan:
    """What a search would write that gives every task its own copy of everything: instances 1, 2, … of each unit."""
    units = given.backbone.table("operator").units
    row = {task: index + 1 for index, task in enumerate(given.tasks)}
    return make_plan(given.backbone, given.tasks, {unit.name: row for unit in units}, method="automtl")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, TrainResult]]:
    """Both baselines, and a searched model that happens to share nothing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    given = project(tmp_path_factory.mktemp("alike"))
    results = {name: train_baseline(given, name, quiet=True) for name in ("single-task", "multi-task")}
    results["model"] = train(given, Found(all_own(given)), quiet=True)
    torch.set_num_threads(threads)
    return given, results


Trained = tuple[Project, dict[str, TrainResult]]


def records(given: Project, stage: str, kind: str) -> list[dict[str, Any]]:
    lines = (given.out / stage / "metrics.jsonl").read_text().splitlines()
    return [record for line in lines if (record := json.loads(line))["kind"] == kind]


def test_baselines_are_who_they_say(trained: Trained) -> None:
    """By work, parameters and components."""
    given, results = trained
    for name, backbones in (("single-task", 2), ("multi-task", 1)):
        cost = cost_of_lowered(results[name].graph, given.backbone.graph, given.heads, 2)
        assert cost.backbone.parameters * 2 == cost.independent_backbone.parameters * backbones
        assert cost.backbone.macs * 2 == cost.independent_backbone.macs * backbones
        assert results[name].plan.method == name
        assert results[name].name == name
        assert [len(part.tasks) for part in Twin(results[name].graph).components()] == [2 // backbones] * backbones


def test_all_are_trained_by_the_same_numbers(trained: Trained) -> None:
    """Same steps, rates and settings; and the same samples: the first loss of a head is that of the same batch."""
    given, results = trained
    stages = ("train-single-task", "train-multi-task", "train")
    rates = {stage: [(r["step"], r["lr"], r["turn"]) for r in records(given, stage, "step")] for stage in stages}
    assert [step for step, _, _ in rates["train"]] == [5]
    assert rates["train"] == rates["train-single-task"] == rates["train-multi-task"]
    evaluated = {stage: [(r["step"], r["split"]) for r in records(given, stage, "evaluation")] for stage in stages}
    assert evaluated["train"] == [(step, "val") for step in range(1, 6)]
    assert evaluated["train"] == evaluated["train-single-task"] == evaluated["train-multi-task"]
    training = {name: result.training for name, result in results.items()}
    assert training["model"] == training["single-task"] == training["multi-task"]
    assert training["model"]["alike"] is True


def test_sharing_nothing_is_the_baseline(trained: Trained) -> None:
    """Whatever its instances are called: same start, same batches, same steps, and so the same numbers, all of them."""
    given, results = trained
    ours, theirs = results["model"], results["single-task"]
    assert set(ours.weights) != set(theirs.weights)
    assert ours.metrics == theirs.metrics
    assert ours.kept.steps == theirs.kept.steps
    assert records(given, "train", "evaluation") == records(given, "train-single-task", "evaluation")
    assert set(relative(given, ours, theirs).to_json().values()) == {0.0}


def test_metrics_are_of_kept_weights(trained: Trained) -> None:
    """Evaluated again, they are the same; and what reports is not what chose."""
    given, results = trained
    for result in results.values():
        twin = Twin(result.graph, weights=result.weights)
        data = given.splits
        for split, expected in (("test", result.metrics), ("val", result.kept.metrics)):
            again = evaluate(TaskModel(twin), given.losses, data.evaluation(split))
            assert flat(again) == pytest.approx(flat(expected), rel=1e-4, nan_ok=True), split
        assert flat(result.metrics) != pytest.approx(flat(result.kept.metrics), rel=1e-3)


def with_metrics(result: TrainResult, metrics: Any) -> TrainResult:
    return replace(result, trained=replace(result.trained, reported=metrics))


def flat(metrics: Any) -> dict[str, float]:
    return {f"{task}.{name}": value for task, values in metrics.items() for name, value in values.items()}


def test_every_column_keeps_its_best(trained: Trained) -> None:
    """What the log says was best for a task on the validation scenes is what its column has; a shared model has one."""
    _, results = trained
    steps = results["single-task"].kept.steps
    assert steps["segmentation"] != steps["depth"], "the case is too easy"
    assert len(set(results["multi-task"].kept.steps.values())) == 1
    assert min(steps.values()) < 5
    content = results["single-task"].to_json()
    assert {task: row["step"] for task, row in content["kept"].items()} == steps
    assert content["checkpoint"].endswith(f"post-{max(steps.values()):08d}")


def test_the_exported_file_has_the_kept_weights(trained: Trained, tmp_path: Path) -> None:
    given, results = trained
    result = results["single-task"]
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
    monkeypatch.setattr("trunkline.verbs.training.evaluate", None)
    again = train_baseline(given, "single-task", quiet=True)
    assert again.metrics == results["single-task"].metrics
    assert all(np.array_equal(again.weights[name], weight) for name, weight in results["single-task"].weights.items())


def test_delta_is_positive_where_better(trained: Trained) -> None:
    """Whether higher or lower is better."""
    given, results = trained
    single = results["single-task"]
    directions = {task.name: task.higher_is_better for task in given.losses}
    better = {
        task: {name: value * (1.1 if directions[task].get(name, True) else 0.9) for name, value in values.items()}
        for task, values in single.metrics.items()
    }
    delta = relative(given, with_metrics(single, better), single)
    assert delta.to_json() == pytest.approx({"segmentation": 10, "depth": 10, "mean": 10})
    worse = relative(given, single, with_metrics(single, better))
    assert all(value < 0 for value in worse.to_json().values())


def test_the_policy_trains_on_its_fraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the weights, while it learns, on the rest; before, on everything."""
    for fraction, count in ((0.25, 2), (0.5, 4)):
        given = project(tmp_path / str(count), search={**SEARCH, "policy_fraction": fraction})
        pre, search_phase = (found["phase"] for found in asked(monkeypatch, given))
        parts = {turn.name: turn.data for turn in search_phase.turns}
        pools = {name: set(given.splits.source(part).pool.tolist()) for name, part in parts.items()}
        everything = set(given.splits.source(pre.turns[0].data).pool.tolist())
        assert len(pools["policy"]) == count
        assert pools["weights"] == everything - pools["policy"] == set(range(8)) - pools["policy"]


class Asked(Exception):
    """Ends a verb once it has said what it would train."""


def asked(monkeypatch: pytest.MonkeyPatch, given: Project) -> list[dict[str, Any]]:
    """What the search would give its runner, phase by phase."""
    found = []

    def runner(model: Any, tasks: Any, data: Any, phase: Any, folder: Any, **options: Any) -> None:
        found.append({"phase": phase, "weights": {task.name: task.weight for task in tasks}, "data": data, **options})
        if phase.name == "policy":
            raise Asked

    monkeypatch.setattr("trunkline.verbs.training.Runner", runner)
    with pytest.raises(Asked):
        search(given, quiet=True)
    return found


def test_the_search_trains_by_its_own_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss weights of the policy's phase, the cost term's weight, parts, and a split that never reports.

    What is evaluated, saved and clipped is as in the final training.
    """
    numbers = {**SEARCH, "loss_weights": {"depth": 5.0}, "regularization": 0.3, "cost_weight": 0.7}
    given = project(tmp_path, search=numbers, train={**TRAIN, "loss_weights": {"depth": 2.0}})
    pre, policy = asked(monkeypatch, given)
    assert pre["weights"] == policy["weights"] == {"segmentation": 1.0, "depth": 2.0}
    assert (pre["phase"].loss_weights, policy["phase"].loss_weights) == ({}, {"depth": 5.0})
    assert {task.name: task.weight for task in given.losses} == pre["weights"]
    turn, weights = policy["phase"].turns
    assert turn.terms == {"regularization": 0.3, "cost": 0.7}
    assert (turn.data.share, weights.data.share) == ((0.0, 0.25), (0.25, 1.0))
    assert pre["phase"].turns[0].data == Part()
    for phase in (pre["phase"], policy["phase"]):
        assert (phase.eval_split, phase.eval_every, phase.checkpoint_every, phase.clip_norm) == ("val", 1, 10, 1.0)
    assert pre["data"].source(Part()).batch_size == 2
    assert (pre["phase"].steps, policy["phase"].steps) == (2, 4)
    assert {phase["seed"] for phase in (pre, policy)} == {3}
    assert not (tmp_path / "search").exists()


def test_the_search_records_its_split(tmp_path: Path) -> None:
    given = project(tmp_path, search={**SEARCH, "policy_fraction": 0.5})
    search(given, quiet=True)
    found = json.loads((tmp_path / "search" / "split.json").read_text())
    shares = {"policy.policy": (0.0, 0.5), "policy.weights": (0.5, 1.0)}
    assert found == {turn: given.splits.source(Part(share=share)).pool.tolist() for turn, share in shares.items()}
    assert sorted(found["policy.policy"] + found["policy.weights"]) == list(range(8))
    parts = json.loads((tmp_path / "data.json").read_text())["parts"]
    assert {name: part["samples"] for name, part in parts.items()} == {"train": 8, "val": 2, "test": 3}


def test_a_start_from_the_search_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model has had steps that no baseline gets: the JSON, the table and the report say so."""
    shown = []
    monkeypatch.setattr("trunkline.verbs.run.draw_predictions", lambda twin, data, *rest: shown.append(len(data)))
    train_table = {key: value for key, value in TRAIN.items() if key not in ("best_by", "clip_norm", "optimiser")}
    train_table |= {"steps": 1, "start": "search", "baselines": ["single-task"]}
    result = run(config(train=train_table), tmp_path, quiet=True)
    content = result.to_json()
    assert shown == [3]  # scenes that report, as the metrics
    single = json.loads((tmp_path / "train-single-task.json").read_text())["metrics"]
    directions = {task.name: task.higher_is_better for task in project(tmp_path).losses}
    assert content["delta"]["model"] == relative_performance(content["train"]["metrics"], single, directions).to_json()
    assert content["train"]["alike"] is False
    assert content["train"]["steps"] == {
        "search": 2 + 2,
        "teacher": 0,
        "train": 1,
    }  # half of the policy's phase moves weights
    baseline = json.loads((tmp_path / "train-single-task.json").read_text())
    assert baseline["alike"] is True
    assert baseline["steps"] == {"search": 0, "teacher": 0, "train": 1}
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


@pytest.mark.abuse
def test_choosing_needs_samples_to_choose(tmp_path: Path) -> None:
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


def test_training_goes_by_what_was_found(tmp_path: Path) -> None:
    """And the search's JSON says it."""
    given = project(tmp_path)
    found = search(given, quiet=True)
    said = json.loads((tmp_path / "search.json").read_text())
    macs, parameters = found.cost.relative
    assert said == {
        "plan": str(tmp_path / "plan.json"),
        "tasks": list(TASKS),
        "method": "automtl",
        "macs": {"executed": found.cost.total.macs, "independent": found.cost.independent.macs},
        "parameters": found.cost.total.parameters,
        "backbone_macs_share": macs,
        "backbone_parameters_share": parameters,
        "parts": json.loads(json.dumps(found.cost.to_json())),
        "correlation": found.found.policy.correlation if found.found.policy else None,
        "sites": {},
    }
    with_own = train_in(given, quiet=True)
    assert with_own.plan == found.plan == SharingPlan.load(tmp_path / "plan.json")


def test_batches_are_augmented_as_the_pipeline_says(tmp_path: Path) -> None:
    """The same step draws the same samples; with augmentation they are cut and turned."""
    plain, again, changed = (
        given.splits.source(Part()).batch(0).image
        for given in (project(tmp_path, augment=augment) for augment in (False, False, True))
    )
    assert torch.equal(plain, again)
    assert plain.shape == changed.shape and not torch.equal(plain, changed)


def test_what_a_method_trained_is_delivered(tmp_path: Path) -> None:
    """A plan that the work has trained is what the run itself makes of it, bit for bit, and is trained alike."""
    own, other = project(tmp_path / "own"), project(tmp_path / "other")
    plan = own.baseline("share-until:1")
    trained = ProjectWork(own, quiet=True).train("draw", plan)
    delivered = train(own, Found(plan, trained=trained), quiet=True)
    expected = train(other, Found(plan), quiet=True)
    assert not (tmp_path / "own" / "train").exists()
    assert all(np.array_equal(delivered.weights[key], expected.weights[key]) for key in expected.weights)
    assert delivered.metrics == expected.metrics and delivered.kept.metrics == expected.kept.metrics
    assert delivered.training == expected.training and delivered.training["alike"]
    assert json.loads((tmp_path / "own" / "train.json").read_text())["steps"] == {"search": 0, "teacher": 0, "train": 5}


def test_the_search_is_gone_on_from_if_asked(tmp_path: Path) -> None:
    """Then what a method trained from scratch is not what is wanted."""
    given = project(tmp_path, train={**TRAIN, "start": "search"})
    plan = given.baseline("multi-task")
    trained = ProjectWork(given, quiet=True).train("draw", plan)
    result = train(given, Found(plan, start=trained.start, trained=trained, steps=7), quiet=True)
    assert (tmp_path / "train").is_dir()
    assert result.training["steps"]["search"] == 7 and not result.training["alike"]
