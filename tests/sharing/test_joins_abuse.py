"""Abuse: joins that cannot be are refused, each with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from backbones import BACKBONES, unit

from trunkline.errors import InvalidConfig
from trunkline.fragments.joins.base import Inputs, JoinKind, JoinSettings, reading
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.option import Option
from trunkline.sharing.plan import Choice, SharingPlan, View
from trunkline.sharing.plan_check import check_plan, make_plan
from trunkline.sharing.space import Space
from trunkline.sharing.units import Granularity, Unit
from trunkline.supermodel.choice_model import ChoiceModel

pytestmark = pytest.mark.abuse

TASKS = ("a", "b")
FIRST, LATER = "stem_relu", "b_relu"
GOOD: Mapping[str, Any] = {
    "name": "to.a",
    "kind": "mix",
    "settings": {"starts": [0.9, 0.1]},
    "site": FIRST,
    "task": "a",
    "reads": [{"at": FIRST, "task": "a"}, {"at": FIRST, "task": "b"}],
}
OTHER: Mapping[str, Any] = {"name": "x", "task": "b", "owner": "to.a"}
"""What makes of it a join of another task, with its weights."""


def plan_file(folder: Path, *joins: Mapping[str, Any]) -> Path:
    plan = independent(Backbone(BACKBONES["residual"]()), TASKS)
    content = json.loads(plan.to_json())
    content["joins"] = list(joins)
    (folder / "plan.json").write_text(json.dumps(content))
    return folder / "plan.json"


def refusal(folder: Path, *joins: Mapping[str, Any]) -> str:
    with pytest.raises(InvalidConfig) as caught:
        check_plan(SharingPlan.load(plan_file(folder, *joins)), BACKBONES["residual"]())
    return str(caught.value)


def test_the_good_join_is_accepted(tmp_path: Path) -> None:
    """So that what the others are refused for is what they change."""
    check_plan(SharingPlan.load(plan_file(tmp_path, GOOD)), BACKBONES["residual"]())


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ({"kind": "mixx"}, "joins.0.kind", 'did you mean "mix"'),
        ({"settings": {"starts": [1]}}, "joins.0.settings.starts", "one number for each read"),
        ({"settings": {"starts": [1, 1], "pre": "channel"}}, "joins.0.settings.pre", 'did you mean "per"'),
        ({"settings": {"starts": [1, 1], "per": "pixel"}}, "joins.0.settings.per", "channel"),
        ({"settings": {"starts": [1, float("nan")]}}, "joins.0.settings.starts.1", "finite"),
        ({"site": "stem_rel"}, "joins.0.site", 'did you mean "stem_relu"'),
        ({"task": "x"}, "joins.0.task", "unknown task"),
        ({"reads": [{"at": FIRST, "task": "x"}, GOOD["reads"][1]]}, "joins.0.reads.0", "unknown task"),
        ({"reads": [{"at": "stem_rel", "task": "a"}, GOOD["reads"][1]]}, "joins.0.reads.0", 'did you mean "stem_relu"'),
        ({"reads": [GOOD["reads"][0], {"at": LATER, "task": "b"}]}, "joins.0.reads.1", 'computed after "stem_relu"'),
        ({"reads": [{"join": "to.b"}, GOOD["reads"][1]]}, "joins.0.reads.0", 'no join "to.b" comes before'),
        ({"reads": [{"join": "to.a"}, GOOD["reads"][1]]}, "joins.0.reads.0", "comes before"),
        ({"reads": [{"at": FIRST, "task": "a"}, {"at": "image", "task": "a"}]}, "joins.0.reads", "one shape"),
        ({"gives": "tap"}, "joins.0", "the head reads"),
        ({"reads": []}, "joins.0.reads", "at least 1"),
        ({"left_out": [0, 1]}, "joins.0", "reads something"),
        ({"left_out": [2]}, "joins.0", "no read 2 to leave out"),
        ({"left_out": [True]}, "joins.0.left_out.0", "True"),
        ({"left_out": ["1"]}, "joins.0.left_out.0", "'1'"),
        ({"reads": ["on"]}, "joins.0.reads.0", "on"),
        ({"reads": [{"at": FIRST}]}, "joins.0.reads.0", "`at` and `task`, or `join`"),
        ({"reads": [{"at": FIRST, "task": "a", "join": "x"}]}, "joins.0.reads.0", "`at` and `task`, or `join`"),
        ({"gives": "site, too"}, "joins.0.gives", "site"),
        ({"name": ""}, "joins.0.name", "at least 1"),
        ({"sight": FIRST}, "joins.0.sight", 'did you mean "site"'),
    ],
)
def test_an_impossible_join_is_refused(tmp_path: Path, change: Mapping[str, Any], place: str, message: str) -> None:
    text = refusal(tmp_path, {**GOOD, **change})
    assert place in text
    assert message in text


@pytest.mark.parametrize(
    ("second", "place", "message"),
    [
        ({}, "joins.1", 'two joins are called "to.a"'),
        ({"name": "again"}, "joins.1", '"to.a" gives this value already'),
        ({**OTHER, "reads": GOOD["reads"][:1], "settings": {"starts": [1]}}, "joins.1", "shares its weights"),
        ({**OTHER, "settings": {"starts": [1, 2]}}, "joins.1", "shares its weights"),
    ],
)
def test_joins_that_exclude_each_other_are_refused(
    tmp_path: Path, second: Mapping[str, Any], place: str, message: str
) -> None:
    text = refusal(tmp_path, GOOD, {**GOOD, **second})
    assert place in text
    assert message in text


def test_a_later_join_is_no_read(tmp_path: Path) -> None:
    """Joins come in the order of their sites where they read each other."""
    late = {**GOOD, "site": LATER, "reads": [{"at": LATER, "task": "a"}, {"at": LATER, "task": "b"}]}
    early = {**GOOD, "name": "x", "task": "b", "reads": [{"join": "to.a"}, GOOD["reads"][1]]}
    text = refusal(tmp_path, late, early)
    assert "joins.1.reads.0" in text
    assert 'runs after "stem_relu"' in text


def test_a_site_keeps_its_shape(tmp_path: Path) -> None:
    """The column goes on with what the join gives."""
    read = {"at": FIRST, "task": "a"}
    text = refusal(tmp_path, {**GOOD, "site": LATER, "reads": [read, read]})
    assert "joins.0" in text
    assert "the column goes on with" in text


def blocks_joined(choice: Choice, join: Mapping[str, Any], name: str = "residual", unit: str = "a1") -> SharingPlan:
    """Task b runs ``choice`` at a unit, and everything else is shared."""
    backbone = Backbone(BACKBONES[name]())
    rows: dict[str, dict[str, Choice]] = {block: dict.fromkeys(TASKS, 0) for block in backbone.table("block").names}
    rows[unit]["b"] = choice
    return make_plan(backbone, TASKS, rows, granularity="block", joins=(Join.model_validate(join),))


INSIDE: Mapping[str, Any] = {**GOOD, "site": "a1_relu"}
"""A join inside the block a1, at its inner map."""


@pytest.mark.parametrize(("choice", "message"), [("skip", '"b" skips "a1"'), (View(channels=0.5), "channel view")])
@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"reads": [GOOD["reads"][0], {"at": "a1_relu", "task": "b"}]}, "joins.0.reads.1"),
        ({"task": "b"}, "joins.0.site"),
    ],
)
def test_column_lacks_what_is_not_run(choice: Choice, message: str, change: Mapping[str, Any], place: str) -> None:
    """Inside a block that a task skips or narrows, no value of its column fits a join."""
    with pytest.raises(InvalidConfig) as caught:
        blocks_joined(choice, {**INSIDE, **change})
    assert place in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("choice", ["skip", View(channels=0.5)])
def test_joins_stand_around_a_skipped_unit(choice: Choice) -> None:
    """Its input and its output are there whatever the task runs, and inside it another task's column is."""
    backbone = BACKBONES["residual"]()
    around = [{"at": FIRST, "task": "b"}, {"at": "a_relu", "task": "b"}]
    lower(blocks_joined(choice, {**GOOD, "site": "a_relu", "task": "b", "reads": around}), backbone, {})
    lower(blocks_joined(choice, {**INSIDE, "reads": [*GOOD["reads"][:1], {"at": FIRST, "task": "b"}]}), backbone, {})


def space_joined(
    options: Sequence[Option],
    join: Mapping[str, Any],
    *,
    granularity: Granularity = "block",
    opened: Literal["none", "one", "each"] = "none",
    graph: Graph | None = None,
) -> Space:
    """Task b has these options at the unit a1, and everything else is shared."""
    joins = (OpenJoin(Join.model_validate(join), opened),)

    def options_at(unit: Unit, task: int) -> Sequence[Option]:
        return options if unit.name == "a1" and task else [Option(0)]

    backbone = Backbone(BACKBONES["residual"]() if graph is None else graph)
    return Space.over(backbone, TASKS, granularity, options_at, joins=joins)


READ_INSIDE: Mapping[str, Any] = {"reads": [GOOD["reads"][0], {"at": "a1_relu", "task": "b"}]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([Option(0), Option(skip=True)], '"b" may skip "a1"'),
        ([Option(0), Option(0, channels=0.5)], '"b" may run a channel view of "a1"'),
        ([Option(0), Option(1)], '"b" chooses among options of "a1"'),
        ([Option(skip=True)], '"b" skips "a1"'),
    ],
)
@pytest.mark.parametrize(
    ("change", "place"), [(READ_INSIDE, "joins.0.reads.1"), ({"task": "b"}, "joins.0.site")], ids=["read", "site"]
)
def test_a_column_lacks_what_is_open(
    options: Sequence[Option], message: str, change: Mapping[str, Any], place: str
) -> None:
    """Inside a block that may be run in several ways no value of the column is the one that a plan would have."""
    with pytest.raises(InvalidConfig) as caught:
        space_joined(options, {**INSIDE, **change})
    assert place in str(caught.value)
    assert message in str(caught.value)
    assert "behind the unit" in str(caught.value)


def test_skippable_operators_are_joined_behind() -> None:
    """Its nodes are mixed one by one, but the plan in which it is skipped has no value inside it."""
    inside = {**INSIDE, "site": "a1", "reads": [GOOD["reads"][0], {"at": "a1", "task": "b"}]}
    with pytest.raises(InvalidConfig, match='"b" may skip "a1"'):
        space_joined([Option(0), Option(skip=True)], inside, granularity="operator")
    space = space_joined([Option(0), Option(1)], inside, granularity="operator")
    ChoiceModel(space, {}, {})(torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("options", [[Option(0), Option(skip=True)], [Option(0), Option(0, channels=0.5)]])
def test_joins_stand_around_an_open_unit(options: Sequence[Option]) -> None:
    """Its input and its output are there whatever is chosen, and inside it another task's column is."""
    around = [{"at": FIRST, "task": "b"}, {"at": "a_relu", "task": "b"}]
    for join in (
        {**GOOD, "site": "a_relu", "task": "b", "reads": around},
        {**INSIDE, "reads": [{"at": "a1_relu", "task": "a"}, {"at": FIRST, "task": "b"}]},
    ):
        model = ChoiceModel(space_joined(options, join), {}, {})
        model(torch.zeros(1, 3, 16, 16))
        lower(model.space.plan(model.picks()), model.space.backbone, {})


def with_side_map() -> Graph:
    """A block in which a feature map lies: it hands on ``a1_relu``, and ends with the branch to ``side_relu``."""
    b = GraphBuilder("side")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 8)
    y = unit(b, x, "a1", 8)
    side = unit(b, x, "side", 8)
    return b.finish([side, unit(b, y, "last", 8)])


@pytest.mark.parametrize("at", ["side_relu", "a1_relu"])
def test_open_block_gives_maps_at_end(at: str) -> None:
    """Options run together when all of the block's nodes are passed, so a join before that finds nothing yet."""
    options = [Option(0), Option(1)]
    reads = [GOOD["reads"][0], {"at": at, "task": "b"}]
    join = {**GOOD, "reads": reads, "gives": "joins"}
    for site in ("side_relu", "last_relu"):
        space = space_joined(options, {**join, "site": site}, graph=with_side_map())
        ChoiceModel(space, {}, {})(torch.zeros(1, 3, 16, 16))
    with pytest.raises(InvalidConfig, match=r"joins\.0\.reads\.1"):
        space_joined(options, {**join, "site": "a1_relu"}, graph=with_side_map())


def test_open_block_hands_on_its_own() -> None:
    """Nothing can replace what it hands on before its options have run."""
    join = {**GOOD, "site": "a1_relu", "task": "b"}
    with pytest.raises(InvalidConfig, match=r"joins\.0\.site"):
        space_joined([Option(0), Option(1)], join, graph=with_side_map())
    space_joined([Option(1)], join, graph=with_side_map())


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ({"site": "stem_rel"}, "joins.0.site", 'did you mean "stem_relu"'),
        ({"settings": {"starts": [1], "per": "pixel"}}, "joins.0.settings.per", "channel"),
        ({"reads": [GOOD["reads"][0], {"at": LATER, "task": "b"}]}, "joins.0.reads.1", "computed after"),
        ({"reads": [{"at": "image", "task": "b"}, *GOOD["reads"]]}, "joins.0", "the column goes on with"),
        ({"reads": [*GOOD["reads"], {"at": "image", "task": "b"}]}, "joins.0.reads.2", "one of values of one shape"),
    ],
)
def test_joins_of_a_space_are_checked(change: Mapping[str, Any], place: str, message: str) -> None:
    """Where one of several reads is chosen, any of them must do."""
    with pytest.raises(InvalidConfig) as caught:
        space_joined([Option(0)], {**GOOD, "settings": {"starts": [1]}, **change}, opened="one")
    assert place in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"site": "stem.kernel", "reads": [{"at": "image", "task": "a"}]}, "joins.0.site"),
        ({"site": "first", "reads": [{"at": "stem.kernel", "task": "a"}]}, "joins.0.reads.0"),
    ],
)
def test_a_computed_weight_is_no_map(change: Mapping[str, Any], place: str) -> None:
    """A kernel has four axes too, but belongs to its reader: no column has it."""
    with pytest.raises(InvalidConfig) as caught:
        blocks_joined(0, {**GOOD, "settings": {"starts": [1]}, **change}, "reparametrised", "first")
    assert place in str(caught.value)
    assert "is a weight" in str(caught.value)


class Pooled(JoinKind):
    """The mean of each channel: no map."""

    name = "pooled"

    def make(self, inputs: Inputs, settings: JoinSettings) -> Graph:
        """Return the fragment."""
        builder, values = reading(self.name, inputs)
        pooled = builder.node("GlobalAveragePool", [values[0]], name="pool")
        return builder.finish([builder.node("Flatten", [pooled], name="flat", attributes={"axis": 1})])


def test_kind_without_map_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kind that gives no map is refused.

    A kind may be anybody's file, so what it makes is looked at.
    """
    monkeypatch.setattr("trunkline.fragments.registry.join_kinds", lambda: {"pooled": Pooled})
    text = refusal(tmp_path, {**GOOD, "kind": "pooled", "settings": {}})
    assert "joins.0: joins give maps" in text


@pytest.mark.parametrize(
    ("granularity", "unit", "message"),
    [("operator", "a1", "only blocks have channel views"), ("block", "stem", "no inner map")],
)
def test_a_view_of_nothing_narrow_is_refused(granularity: str, unit: str, message: str) -> None:
    backbone = Backbone(BACKBONES["residual"]())
    plan = independent(backbone, TASKS)
    names = backbone.table(granularity).names  # type: ignore[arg-type]  # a parametrised literal
    rows = {name: dict.fromkeys(TASKS, 0) for name in names}
    wrong = {**rows, unit: {"a": View(channels=0.5), "b": 0}}
    with pytest.raises(InvalidConfig) as caught:
        check_plan(plan.model_copy(update={"granularity": granularity, "units": wrong}), backbone)
    assert f"units.{unit}.a" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("share", [0, -0.5, 1.5, "wide"])
def test_a_view_is_a_share(tmp_path: Path, share: object) -> None:
    content = json.loads(plan_file(tmp_path).read_text())
    content["units"]["stem"]["a"] = {"instance": 0, "channels": share}
    (tmp_path / "plan.json").write_text(json.dumps(content))
    with pytest.raises(InvalidConfig, match=r"units\.stem\.a"):
        SharingPlan.load(tmp_path / "plan.json")
