"""What the pictures of policies, plans and joins draw, number by number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trunkline.ingest.read import read
from trunkline.report.join_picture import Mark, Row, Thread, wiring_of
from trunkline.report.policy_picture import correlations, draw_correlation, policy_rows
from trunkline.report.share_picture import panels_of
from trunkline.report.sharing_picture import tiles_of
from trunkline.report.style import SHARED, SKIPPED, task_colour
from trunkline.report.tree_picture import draw_tree, tree_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.plans import plan_of_layout

pytestmark = pytest.mark.golden

Json = dict[str, Any]
A, B, C = map(task_colour, range(3))


def plan_of(rows: list[list[object]], *, tie: bool = True, **more: Any) -> Json:
    tasks = ["a", "b", "c"][: len(rows[0])]
    units = {f"u{number}": dict(zip(tasks, row, strict=True)) for number, row in enumerate(rows)}
    return {"backbone": {"name": "net"}, "method": "m", "tasks": tasks, "units": units, "tie": tie, **more}


def colours(plan: Json) -> list[list[str]]:
    """Colours by unit."""
    found: dict[int, list[str]] = {}
    for cell in tiles_of(plan):
        assert cell.task == len(found.setdefault(cell.unit, []))
        found[cell.unit].append(cell.colour)
    return list(found.values())


def test_tied_plan_has_one_common_colour() -> None:
    """What several tasks run of instance 0 is the common one; another instance has the colour of its first task."""
    plan = plan_of([[0, 0, 0], [0, 2, 0], [1, 2, 2], ["skip", 0, 3]])
    assert colours(plan) == [[SHARED] * 3, [SHARED, B, SHARED], [A, B, B], [SKIPPED, B, C]]


def test_tree_keeps_the_first_task_s_trunk() -> None:
    """Without ties the numbers of instances mean nothing: the way of the first task is the trunk while it is shared."""
    plan = plan_of([[2, 2, 2], [1, 0, 0], [1, 1, 1]], tie=False)
    assert colours(plan) == [[SHARED] * 3, [A, B, B], [A, B, B]]


def test_views_are_as_high_as_they_are_wide() -> None:
    """A task that runs a quarter of the channels has a quarter of a cell, in the colour of the instance."""
    narrow = tiles_of(plan_of([[0, {"instance": 0, "channels": 0.25}]]))
    assert [(cell.colour, cell.part) for cell in narrow] == [(SHARED, 1.0), (SHARED, 0.25)]


def test_tree_has_an_edge_a_block() -> None:
    """Each branch has one for each of its units, the first of them from where it parts; tasks are leaves."""
    tree = tree_of(plan_of([[0, 0, 0], [0, 1, 0], [0, 1, 2]], tie=False))
    assert tree is not None
    # Task c parts from a, so that these two lie side by side.
    assert tree.leaves == ("a", "c", "b")
    assert tree.points == ((1, 1.0), (2, 0.5))
    assert [(edge.unit, edge.start, edge.height, edge.tasks) for edge in tree.edges] == [
        (0, 1.0, 1.0, ("a", "b", "c")),
        (1, 1.0, 0.5, ("a", "c")),
        (1, 1.0, 2.0, ("b",)),
        (2, 2.0, 2.0, ("b",)),
        (2, 0.5, 0.0, ("a",)),
        (2, 0.5, 1.0, ("c",)),
    ]
    assert tree.heads == (0.0, 1.0, 2.0)


def test_heads_part_behind_the_last_block() -> None:
    """Where tasks share it to the end."""
    tree = tree_of(plan_of([[0, 0, 0]]))
    assert tree is not None
    assert tree.points == ((1, 1.0),)
    assert tree.heads == (1.0, 1.0, 1.0)


def test_layouts_are_trees() -> None:
    """Of TreeMTL, of a file or by hand: tasks are leaves, and every block of every group is an edge."""
    backbone = Backbone(read("zoo:tiny"))
    layout = [[["a", "b", "c"]]] * 3 + [[["b"], ["a", "c"]]] * 2 + [[["b"], ["a"], ["c"]]] * 2
    plan = json.loads(plan_of_layout(backbone, Layout.of(["a", "b", "c"], layout)).to_json())
    tree = tree_of(plan)
    assert tree is not None
    assert tree.leaves == ("a", "c", "b")
    assert tree.points == ((3, 1.0), (5, 0.5))
    for unit, groups in enumerate(layout):
        assert sorted(list(edge.tasks) for edge in tree.edges if edge.unit == unit) == sorted(groups)


def test_single_tasks_part_at_the_image() -> None:
    """There all ways begin."""
    tree = tree_of(plan_of([[0, 1]]))
    assert tree is not None
    assert tree.points == ((0, 0.5),)
    assert [(edge.start, edge.height) for edge in tree.edges] == [(0.5, 0.0), (0.5, 1.0)]


def test_skips_are_marked_in_the_tree() -> None:
    """Edge by edge."""
    tree = tree_of(plan_of([[0, 0], ["skip", "skip"], [0, 1]]))
    assert tree is not None
    assert [edge.skipped for edge in tree.edges] == [False, True, False, False]


@pytest.mark.parametrize(
    "plan",
    [
        plan_of([[0, 1], [0, 0]]),
        plan_of([[0], [0]]),
        plan_of([[0, 0]], batchnorm="task"),
        plan_of([[0, 1]], joins=[{"name": "j"}]),
    ],
    ids=["shares again", "one task", "normalisations of tasks", "joins"],
)
def test_what_is_no_tree_is_not_drawn(plan: Json, tmp_path: Path) -> None:
    """And leaves no file."""
    assert tree_of(plan) is None
    assert not draw_tree(plan, tmp_path / "tree.png")
    assert not (tmp_path / "tree.png").exists()


def test_policy_is_drawn_by_task() -> None:
    """Where nodes choose, the ways of the tasks are drawn; what a task cannot choose is empty."""
    p = [[[0.5, 0.25, 0.25], [0.0, 0.0, 0.0]], [[1.0, 0.0, 0.0], [0.125, 0.875, 0.0]]]
    policy = {"options": ["x", "y", "z"], "units": ["u", "v"], "tasks": ["a", "b"], "probabilities": p}
    found = policy_rows(policy)
    assert found["a"].tolist() == [[0.5, 1.0], [0.25, 0.0], [0.25, 0.0]]
    np.testing.assert_equal(found["b"], [[np.nan, 0.125], [np.nan, 0.875], [np.nan, 0.0]])
    ways = policy_rows({**policy, "chosen_by": "node", "by_task": [p[1], p[0]]})
    assert ways["a"].tolist() == [[1.0, 0.5], [0.0, 0.25], [0.0, 0.25]]


def test_correlation_is_read_by_name(tmp_path: Path) -> None:
    """A pair of tasks without a number has none; with no number at all there is no picture."""
    policy: Json = {"tasks": ["a", "b"], "correlation": {"a": {"a": 1.0, "b": 0.25}, "b": {"a": 0.25, "b": None}}}
    np.testing.assert_equal(correlations(policy), [[1.0, 0.25], [0.25, np.nan]])
    assert draw_correlation(policy, tmp_path / "one.png")
    for lacking in ({"tasks": ["a", "b"]}, {"tasks": ["a"], "correlation": {"a": {"a": 1.0}}}):
        assert not draw_correlation(lacking, tmp_path / "none.png")
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]


def join(name: str, site: str, task: str, *reads: Json, **more: Any) -> Json:
    return {"name": name, "kind": "mix", "site": site, "task": task, "reads": list(reads), "gives": "site", **more}


def column(at: str, task: str) -> Json:
    return {"at": at, "task": task}


def test_columns_are_joined_by_threads() -> None:
    """A join stands behind its site in its column, and reads of others have their colours; left out ones are gone."""
    reads = column("s", "a"), column("s", "b"), column("r", "b")
    plan = plan_of([[0, 1], [0, 1]], joins=[join("j", "s", "a", *reads, left_out=[1])])
    drawn = wiring_of(plan, {"r": 1.0, "s": 2.0})
    assert drawn.rows == (Row("a", A, 0.0, 3.0), Row("b", B, 0.0, 3.0))
    assert drawn.marks == (Mark(2.45, 0),)
    assert drawn.threads == (Thread((2.0, 0), (2.45, 0), A), Thread((1.0, 1), (2.45, 0), B))


def test_beside_a_shared_column_tasks_have_rows() -> None:
    """What reads the one column, or a join that came before, has a row of its task's own from there on (MTAN)."""
    joins = [
        join("m1", "r", "a", column("r", "a"), gives="joins"),
        join("m2", "s", "a", column("s", "a"), {"join": "m1"}, gives="tap"),
    ]
    drawn = wiring_of(plan_of([[0, 0], [0, 0]], joins=joins), {"r": 1.0, "s": 2.0})
    assert drawn.rows == (Row("all tasks", SHARED, 0.0, 3.0), Row("a", A, 1.45, 3.0))
    assert drawn.marks == (Mark(1.45, 1), Mark(2.45, 1))
    assert drawn.threads[1:] == (Thread((2.0, 0), (2.45, 1), SHARED), Thread((1.45, 1), (2.45, 1), A))


def test_joins_of_one_place_stand_apart() -> None:
    """One behind the other, and the columns end behind them all."""
    joins = [join(f"j{number}", "s", "a", column("s", "a")) for number in range(4)]
    drawn = wiring_of(plan_of([[0, 1]], joins=joins), {"s": 1.0})
    places = [mark.x for mark in drawn.marks]
    assert places == sorted(set(places))
    assert drawn.rows[0].end > places[-1]


@pytest.mark.parametrize(("count", "bands"), [(4, 0), (5, 1), (10, 1)])
def test_exchange_of_many_is_a_band(count: int, bands: int) -> None:
    """From five columns on, and only where each reads all."""
    tasks = [f"t{number}" for number in range(count)]
    joins = [join(f"s.{task}", "s", task, *(column("s", other) for other in tasks)) for task in tasks]
    joins += [join("r.t0", "r", "t0", *(column("r", other) for other in tasks))]
    units = {"u": {task: number for number, task in enumerate(tasks)}}
    drawn = wiring_of({"tasks": tasks, "units": units, "joins": joins}, {"s": 1.0, "r": 1.0})
    assert len(drawn.exchanges) == bands
    assert len(drawn.threads) == count + (0 if bands else count**2)


def test_shares_are_matrices_by_site() -> None:
    """A row a task, a column a map; the mix of layers has the sites that it reads."""
    joins = [
        join("s.a", "s", "a", column("s", "a"), column("s", "b")),
        join("s.b", "s", "b", column("s", "a"), column("s", "b"), left_out=[0]),
        join("layers.a", "s", "a", {"join": "s.a"}, {"join": "s.b"}, gives="tap"),
        join("p", "s", "a", column("r", "b"), kind="project"),
    ]
    shares = {"s.a": {"0": 0.75, "1": 0.25}, "s.b": {"1": 1.0}, "layers.a": {"0": 0.1, "1": 0.9}}
    site, head = panels_of(plan_of([[0, 1]], joins=joins), shares)
    assert (site.title, site.tasks, site.reads) == ("s", ("a", "b"), ("a", "b"))
    np.testing.assert_equal(site.values, [[0.75, 0.25], [np.nan, 1.0]])
    assert (head.title, head.tasks, head.reads) == ("head", ("a",), ("s", "b"))
    assert head.values.tolist() == [[0.1, 0.9]]
