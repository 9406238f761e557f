"""How much a trained model's joins take of each map is read from its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from method_work import ShakenWork, method_for, setup_for

from trunkline.sharing.plan import SharingPlan
from trunkline.verbs.training import TrainedPlan

pytestmark = pytest.mark.golden


def trained(name: str, folder: Path) -> tuple[SharingPlan, TrainedPlan]:
    setup = setup_for("residual")
    work = ShakenWork(setup)
    plan = method_for(name, setup, folder).find(work).plan
    return plan, work.train("model", plan)


def test_mix_takes_its_weights(tmp_path: Path) -> None:
    """One number a map."""
    plan, model = trained("cross-stitch", tmp_path)
    assert list(model.shares) == [join.name for join in plan.joins]
    for join in plan.joins:
        for number, share in model.shares[join.name].items():
            assert share == pytest.approx(float(model.weights[f"join.{join.name}.weight{number}"].item()))
    assert len({share for row in model.shares.values() for share in row.values()}) > 3


def test_subspaces_add_up_what_they_take(tmp_path: Path) -> None:
    """The mean over the groups of a result of what all groups of a map give it."""
    plan, model = trained("sluice", tmp_path)
    join = next(join for join in plan.joins if join.kind == "subspaces")
    for number, share in model.shares[join.name].items():
        square = model.weights[f"join.{join.name}.weight{number}"][:, :, 0, 0]
        assert share == pytest.approx(float(np.mean([sum(row) for row in square.tolist()])))


@pytest.mark.parametrize("name", ["nddr", "mtan", "single-task"])
def test_other_joins_take_no_number(name: str, tmp_path: Path) -> None:
    """A projection or an attention weighs by channel or position."""
    _, model = trained(name, tmp_path)
    assert model.shares == {}
