"""What a search is told reaches what it does, seen in a real search of very few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from trunkline.pipeline.config import parse_config
from trunkline.pipeline.project import Project
from trunkline.verbs.search import SearchResult, search

pytestmark = pytest.mark.golden

TASKS = ("segmentation", "depth")


def searched(out: Path, **settings: Any) -> SearchResult:
    """Run a search of one step of pre-training and two of the policy, with no regularisation."""
    few = {"steps": [1, 2], "alternate": [1, 1], "regularization": 0.0, "policy_optimiser": {"lr": 0.5}}
    content = {
        "preset": "demo",
        "data": {"kind": "scenes", "size": [32, 32], "length": 8, "val_length": 2, "tasks": list(TASKS)},
        "search": {**few, **settings},
        "train": {"batch_size": 2},
    }
    return search(Project(parse_config(content), out), quiet=True)


def policy(out: Path) -> dict[str, list[list[float]]]:
    """The learned probabilities of each task: of shared, own and skip, unit by unit."""
    found = json.loads((out / "policy.json").read_text())
    return {task: [row[i] for row in found["probabilities"]] for i, task in enumerate(found["tasks"])}


def untouched(rows: list[list[float]]) -> bool:
    """Whether every option that exists is as likely as at the start."""
    return all(row == pytest.approx([1 / 3] * 3) or row == pytest.approx([0.5, 0.5, 0.0]) for row in rows)


def last_record(out: Path) -> dict[str, Any]:
    """The last step that was logged, which is the search's last step."""
    records = map(json.loads, (out / "search/metrics.jsonl").read_text().splitlines())
    return [record for record in records if record["kind"] == "step"][-1]


def settings_of(out: Path, checkpoint: str) -> dict[str, Any]:
    """The phase that a checkpoint was made by."""
    state = json.loads((out / "search/checkpoints" / checkpoint / "state.json").read_text())
    return dict(state["settings"])


def test_the_policys_loss_weights_are_the_searchs(tmp_path: Path) -> None:
    """A task that weighs nothing there leaves its policy alone; pre-training has the ordinary weights."""
    searched(tmp_path / "weighed", loss_weights={"segmentation": 1.0, "depth": 0.0})
    assert untouched(policy(tmp_path / "weighed")["depth"])
    assert not untouched(policy(tmp_path / "weighed")["segmentation"])
    searched(tmp_path / "plain")
    assert not untouched(policy(tmp_path / "plain")["depth"])
    file = "search/checkpoints/pre-00000001/model.safetensors"
    assert (tmp_path / "weighed" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()


@pytest.mark.parametrize("counted", ["macs", "parameters"])
def test_the_search_pays_for_cost(tmp_path: Path, counted: str) -> None:
    """Nothing but the cost moves the policy here: away from copies of one's own, to whatever is cheaper."""
    nothing = {"segmentation": 0.0, "depth": 0.0}
    numbers = {"loss_weights": nothing, "alternate": [2, 1]}
    options = {"cost": counted, "sampling": {"max_" + counted: 0.9}}
    result = searched(tmp_path, **numbers, cost_weight=7.5, **options)
    (turn, _) = settings_of(tmp_path, "policy-00000002")["turns"]
    assert turn["terms"] == {"regularization": 0.0, "cost": 7.5}
    assert set(last_record(tmp_path)["terms"]) == {"regularization", "cost"}
    for rows in policy(tmp_path).values():
        assert all(max(shared, skip) > own + 0.1 for shared, own, skip in rows)
    assert result.plan.provenance["sampling"]["max_" + counted] == 0.9


def test_without_a_cost_weight_nothing_is_paid(tmp_path: Path) -> None:
    """Nor is the cost even computed."""
    nothing = {"segmentation": 0.0, "depth": 0.0}
    searched(tmp_path, loss_weights=nothing, alternate=[2, 1])
    assert set(last_record(tmp_path)["terms"]) == {"regularization"}
    assert all(untouched(rows) for rows in policy(tmp_path).values())


def test_the_search_starts_from_its_seed(tmp_path: Path) -> None:
    """One step of Adam moves no weight further than its rate; another seed's weights are far away."""
    content = {"data": {"kind": "scenes", "size": [32, 32], "length": 4, "val_length": 1}, "seed": 5}
    search_table = {"steps": [1, 1], "alternate": [1, 1], "pre_optimiser": {"lr": 1e-4}}
    given = parse_config({**content, "search": search_table, "train": {"batch_size": 1}})
    project = Project(given, tmp_path)
    search(project, quiet=True)
    found = load_file(tmp_path / "search/checkpoints/pre-00000001/model.safetensors")
    far = {}
    for seed in (5, 0):
        again = Project(given.model_copy(update={"seed": seed}), tmp_path)
        start = again.method.model.state_dict()
        kernels = [name for name, tensor in start.items() if tensor.dim() == 4]
        assert len(kernels) > 50
        far[seed] = max(float((found[name] - start[name]).abs().max()) for name in kernels)
    assert far[5] < 2e-4 < 0.1 < far[0]
