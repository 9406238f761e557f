"""Layouts: the paper's numbering, counts, cuts, drawings, and plans."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from backbones import BACKBONES

from trunkline.errors import InvalidConfig
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.coarse_blocks import checked_blocks, expanded, load_coarse_blocks, merged_alike
from trunkline.sharing.layouts.counting import count_layouts
from trunkline.sharing.layouts.drawing import drawn
from trunkline.sharing.layouts.enumeration import enumerate_layouts
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.layout_file import load_layout, load_layouts
from trunkline.sharing.layouts.plans import all_shared, independent, layout_of_plan, plan_of_layout, share_until
from trunkline.sharing.plan_check import make_plan

pytestmark = pytest.mark.golden
LETTERS = "abcdefgh"


def partitions(items: tuple[str, ...]) -> list[tuple[tuple[str, ...], ...]]:
    """All partitions, each item put into every group or one of its own."""
    if not items:
        return [()]
    first, *rest = items
    found = []
    for others in partitions(tuple(rest)):
        found.append(((first,), *others))
        for place, group in enumerate(others):
            found.append((*others[:place], (first, *group), *others[place + 1 :]))
    return found


def brute_force(tasks: tuple[str, ...], blocks: int) -> set[Layout]:
    """Every sequence of partitions that is a tree, by trying all sequences."""
    found = set()
    for levels in product(partitions(tasks), repeat=blocks):
        pairs = zip(levels, levels[1:], strict=False)
        if all(all(any(set(g) <= set(w) for w in coarse) for g in fine) for coarse, fine in pairs):
            found.add(Layout.of(tasks, levels))
    return found


@pytest.mark.parametrize(("tasks", "blocks"), [(1, 3), (2, 4), (3, 1), (3, 3), (4, 2)])
def test_enumerated_counted_and_brute_force_are_one(tasks: int, blocks: int) -> None:
    names = tuple(LETTERS[:tasks])
    enumeration = enumerate_layouts(names, blocks)
    layouts = [enumeration.layout(number) for number in range(len(enumeration))]
    assert len(set(layouts)) == len(layouts) == count_layouts(tasks, blocks)
    assert set(layouts) == brute_force(names, blocks)


COUNTS = {
    2: (2, 3, 4, 5, 6),
    3: (5, 12, 22, 35, 51),
    4: (15, 60, 154, 315, 561),
    5: (52, 358, 1_304, 3_455, 7_556),
}
"""Coefficients of the iterates of e^x - 1, by tasks, for 1 to 5 blocks."""


@pytest.mark.parametrize("tasks", COUNTS)
def test_counts(tasks: int) -> None:
    for blocks, count in enumerate(COUNTS[tasks], start=1):
        assert count_layouts(tasks, blocks) == count == len(enumerate_layouts(LETTERS[:tasks], blocks))
    assert count_layouts(10, 20) > 4e15


def groups_of(text: str) -> list[list[str]]:
    return [list(group) for group in text.split()]


PAPER = {
    # TreeMTL's Taskonomy tasks, as 0 segmentation, 1 normals, 2 depth, 3 keypoints, 4 edges, by five blocks.
    353: ["0 1234", "0 12 34", "0 12 3 4", "0 12 3 4", "0 1 2 3 4"],
    352: ["0 1234", "0 12 34", "0 12 3 4", "0 1 2 3 4", "0 1 2 3 4"],
    958: ["03 124", "03 12 4", "03 12 4", "03 1 2 4", "03 1 2 4"],
    817: ["03 124"] * 5,
    0: ["01234"] * 5,
    1: ["0 1234"] * 5,
    7555: [*["01234"] * 4, "0123 4"],
}
"""Numbers of the paper's tables and figures, the first, the one after it, and the last."""


@pytest.mark.parametrize("number", PAPER)
def test_the_paper_s_numbering(number: int) -> None:
    found = enumerate_layouts("01234", 5).layout(number)
    assert found == Layout.of(list("01234"), [groups_of(text) for text in PAPER[number]])


def test_numbers_of_three_tasks() -> None:
    """Those of the paper's Table 1."""
    layouts = enumerate_layouts(["s", "n", "d"], 5)
    apart = {45: ("d", 3), 50: ("d", 4), 37: ("d", 2), 49: ("n", 4)}
    for number, (task, block) in apart.items():
        assert layouts.layout(number) == Layout.all_shared(["s", "n", "d"], 5).cut(block, [task])


def test_layouts_are_canonical() -> None:
    one = Layout.of(["a", "b", "c"], [[["c", "a", "b"]], [["b"], ["c", "a"]]])
    other = Layout.of(["a", "b", "c"], [[["a", "b", "c"]], [["a", "c"], ["b"]]])
    assert one == other and hash(one) == hash(other) and len({one, other}) == 1
    with pytest.raises(AttributeError):
        one.blocks = ()  # type: ignore[misc]


def test_cuts() -> None:
    """Cuts of a layout are layouts; others are refused."""
    shared = Layout.all_shared(["a", "b", "c", "d"], 4)
    tree = shared.cut(2, ["c", "d"])
    assert tree.blocks[1:3] == ((("a", "b", "c", "d"),), (("a", "b"), ("c", "d")))
    assert tree.cut(3, ["a"]).blocks[3] == (("a",), ("b",), ("c", "d"))
    with pytest.raises(InvalidConfig, match="block 1 is no place"):
        tree.cut(1, ["a"])
    for moved in (["a", "c"], ["a", "b"], [], ["x"]):
        with pytest.raises(InvalidConfig, match="no part of a group"):
            tree.cut(2, moved)
    with pytest.raises(InvalidConfig, match="block 4"):
        tree.cut(4, ["a"])


def test_associated_two_task_layouts() -> None:
    """Algorithm 1: two tasks are together as long as in the whole."""
    tree = Layout.of(["a", "b", "c"], [groups_of("abc"), groups_of("ac b"), groups_of("ac b"), groups_of("a b c")])
    assert [tree.branching_point(*pair) for pair in ("ab", "ac", "bc", "ca")] == [1, 3, 1, 3]
    assert tree.two_task("c", "a") == Layout.of(["a", "c"], [*[groups_of("ac")] * 3, groups_of("a c")])


def test_drawing() -> None:
    tree = Layout.of(["a", "b", "c", "d"], [groups_of("abcd"), groups_of("ad b c"), groups_of("a d b c")])
    assert drawn(tree).splitlines() == ["──┬─┬─ a", "  │ └─ d", "  ├─── b", "  └─── c"]
    assert drawn(Layout.all_shared(["a", "b"], 2)) == "──── a, b"


@pytest.mark.parametrize("name", ["chain", "residual"])
def test_layouts_and_plans(name: str) -> None:
    """Every layout is a plan, and that plan is the layout."""
    backbone = Backbone(BACKBONES[name]())
    depth = len(backbone.table("block").units)
    layouts = enumerate_layouts(["a", "b", "c"], depth)
    for number in range(0, len(layouts), 3):
        layout = layouts.layout(number)
        assert layout_of_plan(plan_of_layout(backbone, layout)) == layout
    assert layout_of_plan(all_shared(backbone, ["a", "b"])) == Layout.all_shared(["a", "b"], depth)
    assert layout_of_plan(independent(backbone, ["a", "b"])) == Layout.independent(["a", "b"], depth)


def test_plans_that_are_no_layouts() -> None:
    backbone = Backbone(BACKBONES["residual"]())
    plan = share_until(backbone, ["a", "b"], "0")
    names = backbone.table("block").names
    assert layout_of_plan(plan.model_copy(update={"granularity": "operator"})) is None
    again: dict[str, Any] = {name: {"a": 0, "b": int(number == 1)} for number, name in enumerate(names)}
    assert (
        layout_of_plan(make_plan(backbone, ["a", "b"], again, granularity="block")) is None
    )  # shared again at the end


def test_merging_blocks_alike() -> None:
    """Against all ways to merge, by the sum of squares."""
    costs = [5.0, 1.0, 1.0, 3.0, 2.0, 2.0]

    def squares(runs: Any) -> float:
        return sum(sum(costs[number] for number in run) ** 2 for run in runs)

    for count in range(1, 7):
        found = merged_alike(costs, count)
        assert checked_blocks(found, 6) == found and len(found) == count
        every = [tuple(i for i in range(1, 6) if mask >> i & 1) for mask in range(0, 64, 2)]
        ways = [
            [range(a, b) for a, b in zip((0, *cuts), (*cuts, 6), strict=True)]
            for cuts in every
            if len(cuts) == count - 1
        ]
        assert squares(found) == min(map(squares, ways))
    for count in (0, 7):
        with pytest.raises(InvalidConfig, match="cannot be merged"):
            merged_alike(costs, count)


def test_layouts_of_merged_blocks_are_expanded() -> None:
    coarse = Layout.of(["a", "b"], [groups_of("ab"), groups_of("a b")])
    assert expanded(coarse, ((0, 1), (2,))) == Layout.of(["a", "b"], [*[groups_of("ab")] * 2, groups_of("a b")])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot read"),
        ("{}", "list of lists"),
        ("[[0], 1]", "list of lists"),
        ("[[true]]", "list of lists"),
        ("[[0], [2], [1]]", "each once and in order"),
        ("[[0], [1]]", "each once and in order"),
        ("[[0, 1, 2], []]", "each once and in order"),
        ("[[0, 1, 2, 3]]", "no block 3"),
        ("[[-1, 0, 1, 2]]", "no block -1"),
    ],
)
def test_wrong_lists_of_blocks(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "blocks.json"
    path.write_text(content)
    with pytest.raises(InvalidConfig, match=message) as caught:
        load_coarse_blocks(path, 3)
    assert caught.value.problems[0].place.startswith(str(path))


def test_files_of_layouts(tmp_path: Path) -> None:
    """One layout, or a list of them."""
    one, other = Layout.all_shared(["a", "b"], 2), Layout.independent(["a", "b"], 2)
    path = tmp_path / "layouts.json"
    path.write_text(str(one.as_lists()).replace("'", '"'))
    assert load_layout(path, ["a", "b"]) == one and load_layouts(path, ["a", "b"]) == [one]
    path.write_text(str([one.as_lists(), other.as_lists()]).replace("'", '"'))
    assert load_layouts(path, ["a", "b"]) == [one, other]
    path.write_text("[]")
    with pytest.raises(InvalidConfig, match="0 entries"):
        load_layouts(path, ["a", "b"])
