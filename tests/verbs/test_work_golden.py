"""Golden: what a method asks of the work is done once, each stage in a folder of its name."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trunkline.errors import InvalidConfig, InvalidModel
from trunkline.pipeline.config import parse_config
from trunkline.pipeline.project import Project
from trunkline.recipe import Move, Phase, Turn
from trunkline.sharing.layouts.plans import all_shared, independent
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.option import Option
from trunkline.sharing.origin import BackboneWeight
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.methods.columns import columns_plan
from trunkline.supermodel.methods.cross_stitch import CrossStitch, CrossStitchOptions
from trunkline.supermodel.methods.retrained import best_retrained
from trunkline.supermodel.work import Found, Work
from trunkline.train.loop.evaluate import BestMetric
from trunkline.twins.twin import Twin
from trunkline.verbs.train import train
from trunkline.verbs.training import TrainedPlan
from trunkline.verbs.work import PROBED, ProjectWork

pytestmark = pytest.mark.golden


def project_in(folder: Path, **train: Any) -> Project:
    config = parse_config(
        {
            "preset": "demo",
            "data": {"kind": "scenes", "size": [32, 48], "length": 8, "val_length": 3},
            "tasks": {"segmentation": {}, "depth": {}},
            "train": {"steps": 2, "batch_size": 2, **train},
        }
    )
    return Project(config, folder)


def work_in(folder: Path, **train: Any) -> ProjectWork:
    return ProjectWork(project_in(folder, **train), quiet=True)


def shared(work: ProjectWork) -> Any:
    return all_shared(work.project.backbone, work.project.tasks)


def test_a_stage_of_training_is_done_once(tmp_path: Path) -> None:
    """Called again, in this process or another, it returns what it made."""
    work = work_in(tmp_path)
    first = work.train("first", shared(work))
    log = (tmp_path / "search-first" / "metrics.jsonl").read_bytes()
    again = work_in(tmp_path).train("first", shared(work))
    assert (tmp_path / "search-first" / "metrics.jsonl").read_bytes() == log
    assert first.metrics == again.metrics
    assert all(np.array_equal(first.weights[name], again.weights[name]) for name in first.weights)


def test_a_stage_keeps_its_plan(tmp_path: Path) -> None:
    work = work_in(tmp_path)
    work.train("first", shared(work))
    with pytest.raises(InvalidConfig, match="plan"):
        work.train("first", independent(work.project.backbone, work.project.tasks))


def test_a_stage_keeps_its_training(tmp_path: Path) -> None:
    """What ``[train]`` says of steps and optimisers is part of it, as of the final training."""
    work = work_in(tmp_path)
    work.train("first", shared(work))
    other = work_in(tmp_path, optimiser={"lr": 0.5})
    with pytest.raises(InvalidConfig, match="optimiser"):
        other.train("first", shared(other))


def test_a_plan_of_some_tasks_is_trained(tmp_path: Path) -> None:
    """As a method asks for that compares tasks in pairs; the single-task model is the one of the independent plan."""
    work = work_in(tmp_path)
    alone = work.train("alone", independent(work.project.backbone, ["depth"]))
    beside = work.train("beside", independent(work.project.backbone, work.project.tasks))
    assert set(alone.metrics) == {"depth"} == set(alone.reported)
    assert alone.metrics["depth"] == pytest.approx(beside.metrics["depth"])
    assert alone.reported["depth"] == pytest.approx(beside.reported["depth"])


@pytest.mark.abuse
def test_a_plan_of_other_tasks_is_refused(tmp_path: Path) -> None:
    work = work_in(tmp_path)
    with pytest.raises(InvalidConfig, match='the run has no task "edges"\n  its tasks are segmentation, depth'):
        work.train("other", all_shared(work.project.backbone, ["depth", "edges"]))
    assert not (tmp_path / "search-other").exists()


def test_jobs_have_folders_of_their_own(tmp_path: Path) -> None:
    """So two jobs may call their stages alike, and jobs may have jobs."""
    work = work_in(tmp_path)

    def job(inner: Work) -> float:
        deeper = inner.each({"deep": lambda most: of_depth(most.train("one", shared(work)))})
        return of_depth(inner.train("one", shared(work))) - deeper["deep"]

    assert work.each({"x": job, "y": job}) == {"x": 0.0, "y": 0.0}
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert {"search-x-one", "search-x-deep-one", "search-y-one", "search-y-deep-one"} <= folders


def of_depth(trained: Any) -> float:
    return float(sum(trained.metrics["depth"].values()))


def test_a_probe_reads_held_out_images(tmp_path: Path) -> None:
    """Of those that choose, in their order; kept, so that another call asks no model."""
    work = work_in(tmp_path)
    trained: TrainedPlan = work.train("first", shared(work))
    site = work.project.backbone.table("block").units[2].output
    found = work.probe("look", trained, [site, "depth"], 2)
    chosen = work.project.data.val
    assert chosen is not None
    images = torch.stack([torch.as_tensor(chosen.sample(index).image) for index in range(2)])
    with torch.no_grad():
        expected = Twin(trained.graph, weights=trained.weights).eval()(images, [site, "depth"])
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values.numpy(), rtol=1e-5, atol=1e-5)
    written = (tmp_path / "search-look" / PROBED).stat().st_mtime_ns
    again = work.probe("look", trained, [site, "depth"], 2)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    assert (tmp_path / "search-look" / PROBED).stat().st_mtime_ns == written
    with pytest.raises(InvalidConfig, match="images"):
        work.probe("look", trained, [site, "depth"], 3)


def test_a_damaged_probe_is_named(tmp_path: Path) -> None:
    work = work_in(tmp_path)
    trained = work.train("first", shared(work))
    work.probe("look", trained, ["depth"], 1)
    (tmp_path / "search-look" / PROBED).write_bytes(b"junk")
    with pytest.raises(InvalidConfig, match=PROBED):
        work.probe("look", trained, ["depth"], 1)


def test_no_held_out_images_are_no_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_in(tmp_path)
    trained = work.train("first", shared(work))
    without = replace(work.project.data, val=None)
    monkeypatch.setattr(Project, "data", property(lambda self: without))
    with pytest.raises(InvalidConfig, match="val_fraction"):
        work.probe("look", trained, ["depth"], 1)


def test_a_fit_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A supermodel that was trained already gets its weights back, and trains no step."""
    work = work_in(tmp_path)
    phase = Phase(name="warm", mode="average", steps=2, turns=(Turn(moves=(Move(),)),))
    weights = []
    for _ in range(2):
        space = Space.over(
            work.project.backbone, work.project.tasks, "block", lambda unit, task: (Option(0), Option(1))
        )
        model = ChoiceModel(space, work.project.heads, {}, seed=1)
        work.fit("super", model, [phase])
        weights.append({name: tensor.detach().clone() for name, tensor in model.store.weights().items()})
        log = (tmp_path / "search-super" / "metrics.jsonl").read_text().splitlines()
        assert sum('"step"' in line for line in log) == len(log)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_plan_without_phases_keeps_its_start(tmp_path: Path) -> None:
    """No phases are not the run's own: the weights are final, and only judged."""
    work = work_in(tmp_path)
    trained = work.train("first", shared(work))
    again = work.train("again", shared(work), start=trained.start, phases=())
    assert set(again.weights) == set(trained.weights)
    assert all(np.array_equal(again.weights[name], trained.weights[name]) for name in trained.weights)
    assert again.reported == trained.reported and again.kept.steps == {}


@pytest.mark.parametrize("start", [None, "search", "scratch"])
def test_final_weights_are_for_who_starts_from_them(start: str | None, tmp_path: Path) -> None:
    """A method's last weights are delivered as they are; a model from scratch is trained as every baseline is."""
    project = project_in(tmp_path, start=start)
    work = ProjectWork(project, quiet=True)
    trained = work.train("first", shared(work))
    last = {name: torch.from_numpy(content) + 1 for name, content in trained.weights.items()}
    found = Found(trained.plan, start=lambda lowered: last, goes_on=True, phases=(), steps=2)
    result = train(project, found, quiet=True)
    goes_on = start != "scratch"
    same = all(np.array_equal(result.weights[name], last[name].numpy()) for name in last)
    steps = {"search": 2, "teacher": 0, "train": 0} if goes_on else {"search": 0, "teacher": 0, "train": 2}
    assert same == goes_on
    assert result.training["steps"] == steps and result.training["alike"] == (not goes_on)
    assert (result.checkpoint is None) == goes_on


@pytest.mark.parametrize("best_by", [None, "depth.rmse"])
def test_a_score_ranks_trainings(tmp_path: Path, best_by: str | None) -> None:
    """By relative performance, or as the run ranks its checkpoints; on what chooses, and NaN where nothing did."""
    work = work_in(tmp_path, best_by=best_by)
    trained = work.train("first", shared(work))
    metric = BestMetric(best_by or "relative", work.project.losses)
    assert trained.score == metric.score(dict(trained.metrics), work.project.tasks)
    assert trained.metrics != trained.reported
    # A plan without the task that a run ranks by has its own performance.
    alone = work.train("alone", all_shared(work.project.backbone, ["segmentation"]), phases=None if not best_by else ())
    assert math.isnan(alone.score) == (best_by is not None)
    again = work.train("again", shared(work), start=trained.start, phases=())
    assert math.isnan(again.score)


def test_the_best_of_several_is_taken(tmp_path: Path) -> None:
    """Each is trained in a folder of its own, as the pipeline says."""
    work = work_in(tmp_path)
    plans = {7: shared(work), 9: independent(work.project.backbone, work.project.tasks)}
    plan, trained = best_retrained(work, plans)
    scores = plan.provenance["scores"]
    assert plan.provenance["taken"] == max((7, 9), key=lambda number: scores[str(number)])
    assert plan.units == plans[plan.provenance["taken"]].units == trained.plan.units
    assert trained.score == max(scores.values())
    folders = sorted(path.name.partition("-")[2] for path in tmp_path.iterdir() if path.is_dir())
    assert [name.partition("-")[0] for name in folders] == ["plan7", "plan9"]


def test_columns_go_on_from_single_tasks(tmp_path: Path) -> None:
    """Of columns with joins, every weight but the joins' is the one of its task; a join starts as its kind says."""
    work = work_in(tmp_path)
    tasks, backbone = work.project.tasks, work.project.backbone
    single = work.train("single", independent(backbone, tasks))
    method = CrossStitch(work.project.setup, CrossStitchOptions())
    plan = columns_plan(work.project.setup, method.joins(), "cross-stitch")
    stitched = work.train("stitched", plan, start=single.start, phases=())
    joins = {name for name in stitched.weights if name.startswith("join.")}
    assert joins and set(stitched.weights) - joins == set(single.weights)
    assert all(np.array_equal(stitched.weights[name], single.weights[name]) for name in single.weights)
    assert {round(float(value), 6) for name in joins for value in stitched.weights[name].ravel()} == {0.9, 0.1}


def test_one_set_goes_on_from_column_one(tmp_path: Path) -> None:
    """Where one model has a set of a weight and the other one a task, the first column's is taken."""
    work = work_in(tmp_path)
    trained = work.train("first", shared(work))
    apart = lower(independent(work.project.backbone, work.project.tasks), work.project.backbone, work.project.heads)
    with pytest.raises(InvalidModel, match="the trained model has no such weight"):
        trained.start(apart)  # it has one instance of each weight
    single = work.train("single", independent(work.project.backbone, work.project.tasks))
    back = single.start(lower(shared(work), work.project.backbone, work.project.heads))
    for name, origin in trained.origin.items():
        column = [name for name, own in single.origin.items() if own == origin or of_first_column(own) == origin]
        assert column and np.array_equal(back[name].numpy(), single.weights[column[0]]), name


def of_first_column(origin: Any) -> Any:
    return replace(origin, column="") if isinstance(origin, BackboneWeight) else origin
