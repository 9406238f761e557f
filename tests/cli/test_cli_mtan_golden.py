"""MTAN through the real command: three tasks on generated scenes, from a pipeline file to a measured model."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from commands import invoke

pytestmark = pytest.mark.golden

PIPELINE = """\
backbone = "zoo:tiny"
seed = 3

[tasks.segmentation]
[tasks.depth]
[tasks.normals]

[data]
kind = "scenes"
size = [32, 48]
length = 4
val_length = 2

[search]
method = "mtan"
refinement = "bottleneck"

[train]
steps = 2
batch_size = 2
eval_every = 2
baselines = []

[export]
parity_inputs = 2

[bench]
samples = 11
limit_s = 0.05
"""


def test_a_run_of_three_tasks() -> None:
    """It trains, is exported with parity, and is the multi-task plan but for its joins."""
    Path("pipeline.toml").write_text(PIPELINE, encoding="utf-8")
    said = invoke("run", "pipeline.toml", "--out", "run", "--quiet")
    assert said.code == 0, said.err
    result = json.loads(Path("run/result.json").read_text())
    assert result["export"]["parity"]["passed"]
    plan = json.loads(Path("run/plan.json").read_text())
    assert plan["method"] == "mtan"
    assert all(set(row.values()) == {0} for row in plan["units"].values())
    assert [join["kind"] for join in plan["joins"]] == 2 * [*3 * ["attention"], *3 * ["refine"]] + 3 * ["attention"]
    graph = onnx.load("run/model.onnx").graph
    assert {value.name for value in graph.output} == {"segmentation", "depth", "normals"}
    assert sum(node.op_type == "Sigmoid" for node in graph.node) == 9
    assert "mtan" in Path("run/report.md").read_text()


@pytest.mark.abuse
def test_a_wrong_option_is_told() -> None:
    """By its place, with what it may be."""
    for old, new, fragment in (
        ('refinement = "bottleneck"', 'refinements = "plain"', 'did you mean "refinement"?'),
        ('refinement = "bottleneck"', 'refinement = "plane"', "search.refinement"),
        ('refinement = "bottleneck"', "reduction = 0", "search.reduction"),
        ('refinement = "bottleneck"', "mask_start = nan", "search.mask_start"),
        ('refinement = "bottleneck"', 'stages = ["stage9"]', 'the backbone has no block "stage9"'),
    ):
        Path("pipeline.toml").write_text(PIPELINE.replace(old, new), encoding="utf-8")
        said = invoke("search", "pipeline.toml", "--out", "other", "--quiet")
        assert said.code == 2 and fragment in said.err, said.err
