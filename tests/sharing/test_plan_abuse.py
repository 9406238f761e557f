"""Abuse: plans, layouts and task names that do not fit are refused with place and advice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from backbones import BACKBONES
from plans import TASKS, random_plan

from trunkline.errors import InvalidConfig
from trunkline.graph.fingerprint import fingerprint
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.layout_file import load_layout
from trunkline.sharing.layouts.plans import all_shared, plan_of_layout, share_until
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import check_plan

pytestmark = pytest.mark.abuse


def test_plan_survives_its_file(tmp_path: Path) -> None:
    """Written and read again it is the same, and has one line a unit."""
    plan = random_plan(BACKBONES["mobile"](), TASKS, 1)
    plan.save(tmp_path / "plan.json")
    assert SharingPlan.load(tmp_path / "plan.json") == plan
    text = (tmp_path / "plan.json").read_text()
    assert len(text.splitlines()) < 40 + len(plan.units)  # one line a unit: a person can read it
    json.loads(text)


def test_fingerprint_ignores_image_size() -> None:
    """A plan holds for a backbone at any image size, but for no other structure."""
    assert fingerprint(BACKBONES["mobile"](16)) == fingerprint(BACKBONES["mobile"](32))
    assert fingerprint(BACKBONES["mobile"]()) != fingerprint(BACKBONES["residual"]())


def edited(tmp_path: Path, **changes: object) -> Path:
    content = json.loads(random_plan(BACKBONES["residual"](), TASKS, 1).to_json())
    content.update(changes)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methd": "x"}, 'did you mean "method"'),
        ({"version": 3}, "version"),
        ({"tasks": []}, "tasks"),
        ({"tasks": ["a", "a"]}, "given twice"),
        ({"tasks": ["a b"]}, "not a task name"),
        ({"units": {"stem": {"depth": -1}}}, "units.stem.depth"),
        ({"units": {"stem": {"depth": True}}}, "units.stem.depth: True: input should be"),
        ({"units": {"stem": {"depth": "1"}}}, "units.stem.depth: '1': input should be"),
        ({"units": {"stem": {"depth": 1.0}}}, "units.stem.depth: 1.0: input should be"),
        (
            {"units": {"stem": {"depth": {"instance": True, "channels": 0.5}}}},
            "units.stem.depth.instance: True: input should be",
        ),
        (
            {"units": {"stem": {"depth": {"instance": "1", "channels": 0.5}}}},
            "units.stem.depth.instance: '1': input should be",
        ),
        ({"units": {"stem": {"depth": {"instance": 0, "chanels": 0.5}}}}, "units.stem.depth.chanels: unknown key"),
        ({"units": 3}, "units"),
    ],
)
def test_malformed_plan_is_located(tmp_path: Path, change: dict[str, object], message: str) -> None:
    """The message names the key that is wrong, and a likely one for a misspelt key."""
    path = edited(tmp_path, **change)
    with pytest.raises(InvalidConfig) as caught:
        SharingPlan.load(path)
    assert message in str(caught.value)
    assert "plan.json" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", b"[1, 2", b"null", b"[" * 100_000])
def test_junk_is_no_plan(tmp_path: Path, content: bytes) -> None:
    """Bytes that are no JSON, no object, or nested without end are refused, not a crash."""
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(InvalidConfig):
        SharingPlan.load(path)


def test_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="nothing.json"):
        SharingPlan.load(tmp_path / "nothing.json")


def test_plan_for_another_backbone_is_refused() -> None:
    """By the fingerprint, whatever the backbone is called."""
    plan = random_plan(BACKBONES["residual"](), TASKS, 1)
    with pytest.raises(InvalidConfig, match="another backbone"):
        lower(plan, BACKBONES["mobile"](), {})


def test_problems_come_in_one_report() -> None:
    """Unknown and missing entries are told together, then what is impossible."""
    backbone = BACKBONES["residual"]()
    plan = random_plan(backbone, TASKS, 1)
    units = {("stm" if name == "stem" else name): row for name, row in plan.units.items()}
    with pytest.raises(InvalidConfig) as caught:
        check_plan(plan.model_copy(update={"units": units}), backbone)
    assert 'did you mean "stem"' in str(caught.value)
    assert '"stem" is missing' in str(caught.value)
    row = {**plan.units["b_short"], "seg": "skip"}
    with pytest.raises(InvalidConfig, match='"b_short" cannot be skipped'):
        check_plan(plan.model_copy(update={"units": {**plan.units, "b_short": row}}), backbone)
    everything = {name: {**row, "seg": "skip"} for name, row in plan.units.items()}
    with pytest.raises(InvalidConfig):
        check_plan(plan.model_copy(update={"units": everything}), backbone)


def test_task_that_skips_everything_is_refused() -> None:
    """Each skip is possible, but a task would be left without a backbone."""
    backbone = BACKBONES["chain"]()
    plan = random_plan(backbone, TASKS, 1)
    everything = {name: {**row, "seg": "skip"} for name, row in plan.units.items()}
    with pytest.raises(InvalidConfig, match="skips every unit"):
        check_plan(plan.model_copy(update={"units": everything}), backbone)


def test_layouts_must_refine_partitions(tmp_path: Path) -> None:
    """Each entry holds each task once, and only splits groups of the entry before."""
    backbone = BACKBONES["residual"]()
    depth = len(all_shared(backbone, TASKS).units)
    whole, apart = [list(TASKS)], [[task] for task in TASKS]
    for layout, message in (
        ([whole] * (depth - 1), f"{depth} blocks"),
        ([whole] * (depth - 1) + [[["depth"], ["seg"]]], "each task once"),
        ([apart] + [whole] * (depth - 1), "joins tasks"),
        ([whole] * (depth - 1) + [[*apart, []]], "each task once"),
    ):
        with pytest.raises(InvalidConfig, match=message):
            plan_of_layout(backbone, Layout.of(TASKS, layout))
    for content in ("", "{}", "[1]", '[["a"]]', "[[[1]]]"):
        path = tmp_path / "layout.json"
        path.write_text(content)
        with pytest.raises(InvalidConfig, match=r"layout\.json"):
            load_layout(path, TASKS)


def test_unknown_block_is_guessed() -> None:
    """A misspelt name gets a guess, an impossible number the range of numbers."""
    with pytest.raises(InvalidConfig, match='did you mean "stem"'):
        share_until(BACKBONES["residual"](), TASKS, "stemm")
    with pytest.raises(InvalidConfig, match="numbered 0 to 2"):
        share_until(BACKBONES["residual"](), TASKS, "99")


def test_a_plan_is_for_some_task() -> None:
    with pytest.raises(InvalidConfig, match="there is no task"):
        all_shared(BACKBONES["residual"](), [])


def test_head_for_unknown_task_is_refused() -> None:
    """A misspelt task of a head is no task of the plan."""
    backbone = BACKBONES["residual"]()
    with pytest.raises(InvalidConfig, match="which is no task"):
        lower(all_shared(backbone, ["depth"]), backbone, {"detph": backbone})
