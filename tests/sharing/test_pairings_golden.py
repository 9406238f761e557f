"""Plans whose tasks change places: what each task runs afterwards, and when that is another model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import BACKBONES
from method_work import TASKS, ShakenWork, image, method_for, setup_for
from pydantic import ValidationError

from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.plans import all_shared, independent, plan_of_layout
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.pairings import in_places, other_pairing
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import check_plan, make_plan
from trunkline.supermodel.methods.plan_file import PlanFile, PlanFileOptions
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden

TURN = {"depth": "normals", "normals": "seg", "seg": "depth"}


def tree(backbone: Backbone) -> SharingPlan:
    """Depth leaves the others behind the first block, and normals and seg part at the last."""
    last = len(backbone.table("block").units) - 1
    pairs = [[["depth"], ["normals", "seg"]]] * (last - 1)
    return plan_of_layout(backbone, Layout.of(TASKS, [[list(TASKS)], *pairs, [[task] for task in TASKS]]))


def outputs(plan: SharingPlan, backbone: Backbone) -> Mapping[str, torch.Tensor]:
    """Of weights that know their instance, and nothing of tasks."""
    lowered = lower(plan, backbone, {})
    twin = Twin(lowered.graph).eval()
    content = {}
    for name, tensor in twin.weights().items():
        origin = lowered.origin[name]
        of = getattr(origin, "name", None) or origin.unit  # a skip's weight is called after its unit
        seed = sum(map(ord, repr((of, getattr(origin, "instance", 0)))))
        content[name] = 0.1 + torch.rand(tensor.shape, generator=torch.Generator().manual_seed(seed))
    twin.load_weights(content, strict=False)
    with torch.no_grad():
        return twin(image())


def test_a_task_runs_what_the_other_ran() -> None:
    """Operators with shared, own and skipped units: the outputs change places with the tasks."""
    backbone = Backbone(BACKBONES["residual"]())
    rng = np.random.default_rng(2)
    rows: dict[str, dict[str, Any]] = {}
    for index, (unit, skip) in enumerate(zip(*_operators(backbone), strict=True)):
        options = [0, 1, 2, *(["skip"] if skip is not None and index else [])]
        rows[unit.name] = {task: options[int(rng.integers(len(options)))] for task in TASKS}
    plan = make_plan(backbone, TASKS, rows)
    moved = in_places(plan, TURN)
    before, after = outputs(plan, backbone), outputs(moved, backbone)
    for task, place in TURN.items():
        torch.testing.assert_close(after[task], before[place])
    assert not torch.allclose(before["depth"], before["seg"])


def _operators(backbone: Backbone) -> tuple[Any, Any]:
    table = backbone.table("operator")
    return table.units, table.skips


def test_joins_follow_their_columns() -> None:
    """A join of the column of depth belongs to whoever takes depth's place, and so does what it reads."""
    backbone = Backbone(BACKBONES["chain"]())
    site = backbone.table("block").units[0].output
    reads = (Read.column(site, "depth"), Read.column(site, "seg"))
    join = Join(name="mixed", kind="mix", settings={"starts": (0.9, 0.1)}, site=site, task="depth", reads=reads)
    plan = independent(backbone, TASKS).model_copy(update={"joins": (join,)})
    moved = in_places(plan, TURN)
    check_plan(moved, backbone)
    assert moved.joins[0].task == "seg"
    assert [read.task for read in moved.joins[0].reads] == ["seg", "normals"]


@pytest.mark.parametrize("draw", range(16))
def test_a_draw_is_another_tree_of_equal_cost(draw: int) -> None:
    backbone = Backbone(BACKBONES["residual"]())
    plan = tree(backbone)
    found = other_pairing(plan, f"0/{draw}")
    check_plan(found, backbone)
    # Depth alone behind the first block is the plan itself, whoever of the others takes whose place.
    second = found.units[backbone.table("block").names[1]]
    assert [task for task in TASKS if list(second.values()).count(second[task]) == 1] in (["normals"], ["seg"])
    assert executed_cost(found, backbone) == executed_cost(plan, backbone)
    assert found.provenance["places"].keys() == set(TASKS)
    assert in_places(plan, found.provenance["places"]).units == found.units
    assert found == other_pairing(plan, f"0/{draw}")


def test_draws_differ() -> None:
    backbone = Backbone(BACKBONES["residual"]())
    found = {repr(other_pairing(tree(backbone), f"0/{draw}").units) for draw in range(8)}
    assert len(found) > 1


@pytest.mark.parametrize("make", [all_shared, independent])
def test_equal_places_stay(make: Any) -> None:
    """Numbers of instances say nothing: independent columns are the same ones, whoever has which."""
    check_stays(make(Backbone(BACKBONES["chain"]()), TASKS))


def check_stays(plan: Any) -> None:
    found = other_pairing(plan, "0/0")
    assert found.units == plan.units and found.joins == plan.joins
    assert found.provenance == {**plan.provenance, "places": {task: task for task in TASKS}}


def test_equal_columns_with_joins_stay(tmp_path: Path) -> None:
    """Soft sharing treats all columns alike; how its joins are called is no difference."""
    setup = setup_for("chain")
    for name in ("cross-stitch", "nddr"):
        plan = method_for(name, setup, tmp_path, rate_factor=1.0).find(ShakenWork(setup)).plan
        check_stays(plan)


def test_skips_are_places_too() -> None:
    """One task skips the last block: the others may be the one, and two that both run own instances are no pair."""
    backbone = Backbone(BACKBONES["residual"]())
    names = backbone.table("block").names
    last = next(name for name, skip in zip(names[::-1], backbone.table("block").skips[::-1], strict=True) if skip)
    rows: dict[str, dict[str, Any]] = {name: dict.fromkeys(TASKS, 0) for name in names}
    rows[last] = {"depth": "skip", "normals": 1, "seg": 0}
    plan = make_plan(backbone, TASKS, rows, granularity="block")
    for draw in range(6):
        assert other_pairing(plan, f"0/{draw}").units[last]["depth"] != "skip"


def test_a_plan_file_is_permuted_on_request(tmp_path: Path) -> None:
    """By the run's seed and the number; without a number it is as it is. Another number is another search."""
    setup = setup_for("residual")
    plan = tree(setup.backbone)
    plan.save(tmp_path / "plan.json")
    options = [PlanFileOptions(file=tmp_path / "plan.json", permutation=number) for number in (None, 0, 1)]
    plans = [PlanFile(setup, each).plan() for each in options]
    assert plans[0] == plan
    assert plans[1] == other_pairing(plan, "3/0") and plans[2] == other_pairing(plan, "3/1")
    assert len({repr(PlanFile.decisive(each)) for each in options}) == 3
    with pytest.raises(ValidationError, match="permutation"):
        PlanFileOptions(file=tmp_path / "plan.json", permutation=-1)
