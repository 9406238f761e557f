"""End to end: what the model of a plan starts from when it goes on from the search, and plans that cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Finished, invoke, refused
from safetensors.numpy import load_file

pytestmark = pytest.mark.golden

STEPS = ("steps = 4\n", "steps = 1\noptimiser = { lr = 1e-9 }\n")


@pytest.fixture
def searched(finished: Finished, tmp_path: Path) -> Path:
    """A finished search, and a pipeline that trains from it next to not at all."""
    shutil.copytree(finished.out / "search", tmp_path / "run" / "search")
    text = finished.pipeline.read_text().replace('baselines = ["single-task", "multi-task"]', 'start = "search"')
    (tmp_path / "start.toml").write_text(text.replace(*STEPS))
    return tmp_path


def train(folder: Path, plan: dict[str, Any]) -> Any:
    (folder / "own.json").write_text(json.dumps(plan))
    return invoke("train", "start.toml", "--out", "run", "--plan", "own.json", "--quiet")


def own_plan(finished: Finished, choice: int, **changes: object) -> dict[str, Any]:
    """A plan of the user's own: the tasks part at the first unit and hold one instance of all others."""
    plan = json.loads((finished.out / "plan.json").read_text())
    rows = {unit: {"segmentation": 0, "depth": 0} for unit in plan["units"]}
    rows[next(iter(rows))]["depth"] = choice
    return {**plan, "units": rows, **changes}


def learned(folder: Path, stage: str, phase: str) -> dict[str, np.ndarray[Any, Any]]:
    newest = sorted((folder / stage / "checkpoints").glob(f"{phase}-*"))[-1]
    return {key.removeprefix("store."): array for key, array in load_file(newest / "model.safetensors").items()}


@pytest.mark.parametrize("tie", [True, False])
def test_every_weight_starts_from_its_origin(tie: bool, finished: Finished, searched: Path) -> None:
    """Clones start as the instance that they are clones of, though nothing in the search has their name."""
    said = train(searched, own_plan(finished, 2, tie=tie))
    assert said.code == 0, said.err
    found, search = learned(Path("run"), "train", "post"), learned(Path("run"), "search", "policy")
    moving = {name for name in found if name.partition("~")[0].partition("@")[0].endswith((".mean", ".var"))}
    clones = {name for name in found if "~" in name} - moving
    assert bool(clones) == (not tie)
    for name in found.keys() - moving:
        np.testing.assert_allclose(found[name], search[name.partition("~")[0]], rtol=0, atol=1e-7, err_msg=name)


def test_plans_need_the_searchs_copies(finished: Finished, searched: Path) -> None:
    """A copy that no task has was not trained."""
    refused(
        train(searched, own_plan(finished, 7)), "the search has no such weight", "@7", "train the plan from scratch"
    )


def test_plans_of_other_tasks_are_refused(finished: Finished, searched: Path) -> None:
    """Copies are numbered by task, so that tasks in another order would start from each other's."""
    plan = own_plan(finished, 2, tasks=["depth", "segmentation"])
    refused(train(searched, plan), "the plan is for depth, segmentation; the search was for segmentation, depth")
