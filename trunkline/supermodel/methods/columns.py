"""What soft methods have in common: columns with joins, sites where these may stand, the phase that trains both."""

from __future__ import annotations

import itertools

from trunkline.recipe import Phase
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join
from trunkline.sharing.layouts import independent
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import check_plan
from trunkline.supermodel.methods.base import Setup


def block_ends(backbone: Backbone) -> list[str]:
    """Return the values behind all blocks, in order."""
    return [unit.output for unit in backbone.table("block").units]


def stage_ends(backbone: Backbone) -> list[str]:
    """Return the values behind the stages: behind the last of each run of blocks whose outputs have one shape.

    >>> from trunkline.ingest.read import read
    >>> stage_ends(Backbone(read("zoo:tiny")))[-1] == block_ends(Backbone(read("zoo:tiny")))[-1]
    True
    """
    ends = block_ends(backbone)
    stages: list[str] = []
    for value, following in itertools.pairwise(ends):
        if backbone.shapes[value] != backbone.shapes[following]:
            stages.append(value)
    return [*stages, *ends[-1:]]


def columns_plan(setup: Setup, joins: list[Join], method: str) -> SharingPlan:
    """Return the plan of independent columns with joins between them.

    Raises:
        InvalidConfig: A join cannot be where it is.
    """
    return joined_plan(independent(setup.backbone, setup.tasks), setup.backbone, joins, method)


def joined_plan(columns: SharingPlan, backbone: Backbone, joins: list[Join], method: str) -> SharingPlan:
    """Return a plan of ``columns``, apart or shared, with joins between or beside them.

    Raises:
        InvalidConfig: A join cannot be where it is.
    """
    plan = columns.model_copy(update={"joins": tuple(joins), "method": method})
    check_plan(plan, backbone)
    return plan


def joint_phase(setup: Setup, name: str, factor: float) -> Phase:
    """Return the pipeline's phase, in which joins learn at ``factor`` times the rate of everything else."""
    # The pipeline's own phase has one turn with one move: [train] says no more.
    (turn,) = setup.phase.turns
    (move,) = turn.moves
    faster = move.optimiser.model_copy(update={"lr": move.optimiser.lr * factor})
    moves = [move.model_copy(update={"group": group}) for group in ("weights.backbone", "weights.heads")]
    moves.append(move.model_copy(update={"group": "weights.joins", "optimiser": faster}))
    joint = turn.model_copy(update={"moves": tuple(moves)})
    return setup.phase.model_copy(update={"name": name, "turns": (joint,)})
