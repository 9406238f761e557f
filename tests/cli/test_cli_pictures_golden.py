"""What a run finds is in its report, by the shape of what was found."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import invoke
from three_tasks import THREE_TASKS, pipeline_of_three, run_three

from trunkline.report.document import write_report

pytestmark = pytest.mark.golden


def test_run_draws_what_columns_take(tmp_path: Path) -> None:
    """Joins where they stand, and how much of each map they go on with, a number for each read."""
    result, plan = run_three(tmp_path, 'method = "cross-stitch"')
    names = [Path(path).name for path in result["report"]["pictures"]]
    assert names[:3] == ["sharing.png", "joins.png", "shares.png"] and "policy.png" not in names
    assert set(result["search"]["sites"]) == {join["site"] for join in plan["joins"]}
    shares = result["train"]["shares"]
    assert list(shares) == [join["name"] for join in plan["joins"]]
    assert all(list(row) == ["0", "1", "2"] for row in shares.values())


def test_search_draws_what_nodes_choose(tmp_path: Path) -> None:
    """A policy, the tree that was taken from it, and how alike the tasks' ways are."""
    path = pipeline_of_three(tmp_path, 'method = "learn-to-branch"\nwarm_up = 1\nsteps = 1')
    said = invoke("search", str(path), "--out", str(tmp_path / "run"), "--quiet", "--json")
    assert said.code == 0, said.err
    report = write_report(tmp_path / "run")
    names = [path.name for path in report.pictures]
    assert names[:4] == ["sharing.png", "tree.png", "policy.png", "correlation.png"]
    content = report.path.read_text()
    assert all(f"({name})" in content for name in names)
    correlation = said.json["correlation"]
    assert tuple(correlation) == THREE_TASKS
    # At the last block heads choose by themselves, and before it they come by the same nodes.
    assert all(0 < correlation[one][other] <= 1 for one in THREE_TASKS for other in THREE_TASKS)
    assert correlation["depth"]["normals"] == pytest.approx(correlation["normals"]["depth"])
    assert said.json["sites"] == {}
