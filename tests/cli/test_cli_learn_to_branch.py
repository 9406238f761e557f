"""Learn-to-Branch through the real command, on generated scenes with three tasks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import invoke

from trunkline.export.count import count_file
from trunkline.sharing.plan import SharingPlan

pytestmark = pytest.mark.golden

PIPELINE = """
backbone = "zoo:tiny"
[data]
kind = "scenes"
size = [32, 32]
length = 8
val_length = 2
[tasks.segmentation]
[tasks.depth]
[tasks.normals]
[search]
method = "learn-to-branch"
warm_up = 1
steps = 3
cost_weight = 0.1
[train]
batch_size = 2
steps = 1
baselines = []
[export]
parity_inputs = 2
[bench]
samples = 11
limit_s = 0.05
"""


def test_a_tree_of_three_tasks() -> None:
    """Searched, trained, exported with parity and measured; the work that was counted is that of the file."""
    Path("pipeline.toml").write_text(PIPELINE)
    said = invoke("run", "pipeline.toml", "--out", "run", "--quiet")
    assert said.code == 0, said.err
    result = json.loads(Path("run/result.json").read_text())
    assert result["export"]["parity"]["passed"]
    counted = count_file(Path("run/model.onnx")).macs
    assert result["search"]["macs"]["executed"] == result["export"]["macs"] == counted
    graph = onnx.load("run/model.onnx").graph
    assert [value.name for value in graph.output] == ["segmentation", "depth", "normals"]
    assert "BatchNormalization" not in {node.op_type for node in graph.node}  # all folded, as of any tree
    plan = SharingPlan.load(Path("run/plan.json"))
    assert plan.method == "learn-to-branch" and plan.granularity == "block" and not plan.tie and not plan.joins
    policy = json.loads(Path("run/policy.json").read_text())
    assert policy["options"] == ["node 0", "node 1", "node 2"]
    assert np.allclose(np.array(policy["probabilities"]).sum(-1), 1)
    logged = [json.loads(line) for line in Path("run/search/metrics.jsonl").read_text().splitlines()]
    assert any("temperature" in json.dumps(line) for line in logged)
