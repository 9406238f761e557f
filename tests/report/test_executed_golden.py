"""What a model executes, part by part, and how that is drawn."""

from __future__ import annotations

import pytest

from trunkline.graph.cost import graph_cost
from trunkline.ingest.read import read
from trunkline.report.html.executed import Executed, ExecutedPart, executed_of
from trunkline.report.html.executed_drawing import executed_drawing, table_of, text_of
from trunkline.report.settling_picture import settlings_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.plans import independent, plan_of_layout, share_until
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan

pytestmark = pytest.mark.golden

BACKBONE = Backbone(read("zoo:tiny"))
TASKS = ["depth", "seg", "edges"]


def cut_behind(block: int) -> SharingPlan:
    return share_until(BACKBONE, TASKS, BACKBONE.table("block").names[block])


def executed(plan: SharingPlan) -> Executed:
    found = executed_of(lower(plan, BACKBONE, {}).graph)
    assert found is not None
    return found


def test_what_is_shared_is_one_part() -> None:
    """Up to the cut one part for all tasks, behind it one a task; rows are the units in order."""
    found = executed(cut_behind(3))
    users = {row: [part.tasks for part in found.parts if part.row == i] for i, row in enumerate(found.rows)}
    counts = [len(parts) for parts in users.values()]
    assert counts == [1] * counts.count(1) + [3] * counts.count(3)
    assert {1, 3} == set(counts)
    names = list(BACKBONE.table("operator").names)
    assert [row for row in found.rows if row in names] == [name for name in names if name in found.rows]
    assert users["conv1"] == [tuple(TASKS)]


@pytest.mark.parametrize("cut", [0, 2, 5])
def test_parts_cost_what_the_model_costs(cut: int) -> None:
    """Every node is in one part."""
    plan = cut_behind(cut)
    graph = lower(plan, BACKBONE, {}).graph
    found = executed_of(graph)
    assert found is not None
    assert sum(part.macs or 0 for part in found.parts) == graph_cost(graph).macs
    assert sum(sum(part.operators.values()) for part in found.parts) == len(graph.nodes)


def test_independent_columns_do_not_read_each_other() -> None:
    found = executed(independent(BACKBONE, TASKS))
    for start, end in found.arrows:
        assert found.parts[start].tasks == found.parts[end].tasks
        assert found.parts[start].row < found.parts[end].row


def test_tasks_that_share_longer_stand_side_by_side() -> None:
    """A part is one box where it can be."""
    together, apart = [TASKS], [["depth", "edges"], ["seg"]]
    found = executed(plan_of_layout(BACKBONE, Layout.of(TASKS, [together] * 4 + [apart] * 3)))
    assert abs(found.tasks.index("edges") - found.tasks.index("depth")) == 1


def test_parts_of_a_row_stand_apart() -> None:
    """A sum that one of two tasks needs alone stands below the unit that both need."""
    parts = (ExecutedPart(0, ("a", "b"), "0", {"Conv": 1}, 4_000_000), ExecutedPart(0, ("b",), "", {"Add": 1}, 0))
    drawn = executed_drawing(Executed(("a", "b"), ("conv1",), parts, ((0, 1),)), ["a", "b"])
    tops = [line.split('y="')[1].split('"')[0] for line in str(drawn.svg).split("<rect") if 'class="box' in line]
    assert len(set(tops)) == 2


def test_text_and_table_say_what_is_drawn() -> None:
    parts = (
        ExecutedPart(0, ("a", "b"), "0", {"Conv": 2}, 3_000_000),
        ExecutedPart(1, ("b",), "", {"Add": 1}, 1_000_000),
    )
    found = Executed(("a", "b"), ("conv1", "heads"), parts, ((0, 1),))
    assert "2 parts, of which 1 are computed once for several tasks" in text_of(found)
    assert "75 % of the executed MACs" in text_of(found)
    assert table_of(found).rows == (("conv1", "a, b", "0", "2 Conv", "3.00"), ("heads", "b", "–", "Add", "1.00"))


def test_a_policy_is_followed_from_its_first_move() -> None:
    """A warm-up in which nothing moves is one moment; a choice that a later phase lacks is not followed."""
    rows = [("warm", 1, 0.5), ("warm", 2, 0.5), ("search", 1, 0.6), ("search", 2, 0.9)]
    records = [
        {
            "kind": "policy",
            "phase": phase,
            "step": step,
            "probabilities": {
                "depth": {"u": [1 - p, p], "only": [1.0], **({"gone": [0.5, 0.5]} if phase == "warm" else {})}
            },
        }
        for phase, step, p in rows
    ]
    (found,) = settlings_of([{"kind": "step"}, *records])
    assert found.moments == (("warm", 2), ("search", 1), ("search", 2))
    assert found.choices == ("u",)
    assert found.probabilities.tolist() == [[0.5, 0.6, 0.9]]
    assert found.undecided[0] == 1.0 > found.undecided[1] > found.undecided[2] > 0
    assert settlings_of([{"kind": "step"}]) == []
