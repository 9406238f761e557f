"""What methods of columns have in common: where columns may be joined, how they start, and how both are trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, TypeVar

from pydantic import Field

from trunkline.recipe import Phase, Positive
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import check_plan
from trunkline.supermodel.methods.base import Kind, Method, MethodOptions, Setup
from trunkline.supermodel.methods.stages import block_ends, stage_ends
from trunkline.supermodel.work import Found, WeightTerm, Work


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


class ColumnsOptions(MethodOptions):
    """What can be set about every method of columns; each says what its joins are."""

    alpha: float | None = Field(
        None, gt=0, le=1, description="a column's own share at the start; 0.9 for two tasks, 0.8 for more, if absent"
    )
    sites: Literal["stages", "blocks"] = Field("stages", description="join behind every stage, or behind every block")
    rate_factor: Positive = Field(100.0, description="how many times as fast as all other weights the joins learn")


C_ = TypeVar("C_", bound=ColumnsOptions)


class ColumnsMethod(Method[C_]):
    """Columns from single-task models, with joins between them that learn; a method says which joins."""

    kind: ClassVar[Kind] = "soft"
    units = "blocks"
    trains_on = True

    @abstractmethod
    def joins_at(self, sites: Sequence[str]) -> list[Join]:
        """Return the joins of several columns at these values."""

    def find(self, work: Work) -> Found:
        """Train single-task models, and join them."""
        setup = self.setup
        plan = columns_plan(setup, self.joins(), self.name)
        terms = self.terms(plan)
        # As the papers do: each column starts from the trained network of its task, not from the backbone.
        single = work.train("single", independent(setup.backbone, setup.tasks))
        phase = self.joint_phase(list(terms)) if plan.joins else setup.phase
        return Found(plan, start=single.start, goes_on=True, phases=(phase,), terms=terms, steps=setup.phase.steps)

    def joins(self) -> list[Join]:
        """Return all joins; a single task has nobody to be joined with."""
        return [] if len(self.setup.tasks) == 1 else self.joins_at(self.sites())

    def sites(self) -> list[str]:
        """Return the values at which columns may meet, in order."""
        ends = stage_ends if self.options.sites == "stages" else block_ends
        return ends(self.setup.backbone)

    def starts(self, task: str) -> list[float]:
        """Return what each column counts in a join of ``task`` at the start."""
        tasks = self.setup.tasks
        own = start_of_own(self.options.alpha, len(tasks))
        # They add up to 1, so columns that are still equal pass on what they had before they were joined.
        return [own if other == task else (1 - own) / (len(tasks) - 1) for other in tasks]

    def terms(self, plan: SharingPlan) -> dict[str, WeightTerm]:
        """Return loss terms over the weights, by name; none unless a method has some."""
        return {}

    def joint_phase(self, terms: Sequence[str]) -> Phase:
        """Return the pipeline's phase, in which joins learn faster than everything else."""
        return joint_phase(self.setup, self.options.rate_factor)


def joint_phase(setup: Setup, factor: float, *, heads: float = 1.0, terms: Mapping[str, float] | None = None) -> Phase:
    """Return the pipeline's phase, in which joins learn at ``factor`` times the rate of everything else.

    ``heads`` is the factor of the heads' rate, ``terms`` are weights of loss terms of the method's own.
    """
    # The pipeline's own phase has one turn with one move: [train] says no more.
    (turn,) = setup.phase.turns
    (move,) = turn.moves
    moves = []
    for group, times in (("weights.backbone", 1.0), ("weights.heads", heads), ("weights.joins", factor)):
        moves.append(move.model_copy(update={"group": group, "optimiser": move.optimiser.faster(times)}))
    joint = turn.model_copy(update={"moves": tuple(moves), "terms": {**turn.terms, **(terms or {})}})
    return setup.phase.model_copy(update={"name": "joint", "turns": (joint,)})
