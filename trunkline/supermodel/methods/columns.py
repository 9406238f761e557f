"""What soft methods have in common: columns with joins, sites where these may stand, the phase that trains both."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

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


def start_of_own(alpha: float | None, tasks: int) -> float:
    """Return what a column's own map counts at the start of a join: ``alpha``, or what papers have where it is None."""
    if alpha is not None:
        return alpha
    # Misra et al. (2016) have 0.9 for two tasks; BMTAS, Appendix B, has 0.8 for five, with units of NDDR-CNN too.
    return 0.9 if tasks == 2 else 0.8


def joint_phase(
    setup: Setup, name: str, factor: float, *, heads: float = 1.0, terms: Mapping[str, float] | None = None
) -> Phase:
    """Return the pipeline's phase, in which joins learn at ``factor`` times the rate of everything else.

    ``heads`` is the factor of the heads' rate, ``terms`` are weights of loss terms of the method's own.
    """
    # The pipeline's own phase has one turn with one move: [train] says no more.
    (turn,) = setup.phase.turns
    (move,) = turn.moves
    moves = []
    for group, times in (("weights.backbone", 1.0), ("weights.heads", heads), ("weights.joins", factor)):
        optimiser = move.optimiser.model_copy(update={"lr": move.optimiser.lr * times})
        moves.append(move.model_copy(update={"group": group, "optimiser": optimiser}))
    joint = turn.model_copy(update={"moves": tuple(moves), "terms": {**turn.terms, **(terms or {})}})
    return setup.phase.model_copy(update={"name": name, "turns": (joint,)})
