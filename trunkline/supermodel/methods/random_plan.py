"""``random``: every unit and task draws one of its options, all equally likely. What a search must at least beat."""

from __future__ import annotations

import random

from pydantic import Field

from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.option import Option
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.space import Space
from trunkline.sharing.units import Granularity, Unit
from trunkline.supermodel.methods.base import MethodOptions
from trunkline.supermodel.methods.fixed import FixedMethod


class RandomOptions(MethodOptions):
    """What is drawn."""

    draw: int = Field(0, ge=0, description="number of the draw; together with the run's seed it decides the plan")
    units: Granularity = Field("operator", description="what is decided about")
    skip: bool = Field(True, description="whether skip is an option")


class Random(FixedMethod[RandomOptions]):
    """Shared, own or skip, each as likely as the others."""

    name = "random"
    units = "operators or blocks"
    decides = "everything by chance"
    source = "the ablation of AutoMTL (Sec. 4.4)"
    Options = RandomOptions
    argument = "draw"

    def plan(self) -> SharingPlan:
        """Draw a plan; a task that would skip everything runs the first unit."""

        def options(unit: Unit, task: int) -> list[Option]:
            both = [Option(0), Option(task + 1)]
            return [*both, Option(skip=True)] if self.options.skip else both

        space = Space.over(self.setup.backbone, self.setup.tasks, self.options.units, options)
        rng = random.Random(f"{self.setup.seed}/{self.options.draw}")  # noqa: S311  # a plan is no secret
        picks = {choice: rng.randrange(space.option_count(choice)) for choice in space.choices}
        for task in space.tasks:
            if all(row[task][0].skip for row in space.fixed(picks).entries.values()):
                # No plan may skip everything; the shared first unit is the least that can be put in its place.
                picks[ChoiceId(space.table.names[0], task)] = 0
        return space.plan(picks, method=self.name, provenance={"draw": self.options.draw})
