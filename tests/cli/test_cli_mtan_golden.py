"""MTAN through the real command: three tasks on generated scenes, from a pipeline file to a measured model."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from commands import invoke, refused
from three_tasks import pipeline_of_three, run_three

pytestmark = pytest.mark.golden

SEARCH = 'method = "mtan"\nrefinement = "bottleneck"'


@pytest.mark.slow  # of a whole run; those of sluice, den and distilled are in the default suite
def test_a_run_of_three_tasks(tmp_path: Path) -> None:
    """It trains, is exported with parity, and is the multi-task plan but for its joins."""
    _, plan = run_three(tmp_path, SEARCH)
    assert plan["method"] == "mtan"
    assert all(set(row.values()) == {0} for row in plan["units"].values())
    assert [join["kind"] for join in plan["joins"]] == 2 * [*3 * ["attention"], *3 * ["refine"]] + 3 * ["attention"]
    graph = onnx.load(tmp_path / "run/model.onnx").graph
    assert sum(node.op_type == "Sigmoid" for node in graph.node) == 9
    assert "mtan" in (tmp_path / "run/report.md").read_text()


@pytest.mark.abuse
def test_a_wrong_option_is_told(tmp_path: Path) -> None:
    """By its place, with what it may be."""
    for old, new, fragment in (
        ('refinement = "bottleneck"', 'refinements = "plain"', 'did you mean "refinement"?'),
        ('refinement = "bottleneck"', 'refinement = "plane"', "search.refinement"),
        ('refinement = "bottleneck"', "reduction = 0", "search.reduction"),
        ('refinement = "bottleneck"', "mask_start = nan", "search.mask_start"),
        ('refinement = "bottleneck"', 'stages = ["stage9"]', 'the backbone has no block "stage9"'),
    ):
        path = pipeline_of_three(tmp_path, SEARCH.replace(old, new))
        refused(invoke("search", str(path), "--out", str(tmp_path / "other"), "--quiet"), fragment)
