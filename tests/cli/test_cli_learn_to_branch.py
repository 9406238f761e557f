"""Learn-to-Branch through the real command, on generated scenes with three tasks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from three_tasks import run_three

from trunkline.sharing.plan import SharingPlan

pytestmark = pytest.mark.golden

SEARCH = """\
method = "learn-to-branch"
warm_up = 1
steps = 3
cost_weight = 0.1
"""


@pytest.mark.slow  # of a whole run; those of sluice, den and distilled are in the default suite
def test_a_tree_of_three_tasks(tmp_path: Path) -> None:
    """Searched, trained, exported with parity and measured; the work that was counted is that of the file."""
    result, _ = run_three(tmp_path, SEARCH)
    assert result["search"]["macs"]["executed"] == result["export"]["macs"]
    run = tmp_path / "run"
    graph = onnx.load(run / "model.onnx").graph
    assert "BatchNormalization" not in {node.op_type for node in graph.node}  # all folded, as of any tree
    plan = SharingPlan.load(run / "plan.json")
    assert plan.method == "learn-to-branch" and plan.granularity == "block" and not plan.tie and not plan.joins
    policy = json.loads((run / "policy.json").read_text())
    assert policy["options"] == ["node 0", "node 1", "node 2"]
    assert np.allclose(np.array(policy["probabilities"]).sum(-1), 1)
    logged = [json.loads(line) for line in (run / "search/metrics.jsonl").read_text().splitlines()]
    assert any("temperature" in json.dumps(line) for line in logged)
