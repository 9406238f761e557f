"""Task-Grouping (Standley et al. 2020): several networks, each for the tasks that do each other good.

Every group of tasks would be a network that its tasks share whole. What a task comes to in a group is measured for all
groups, or estimated from pairs: the mean of what it comes to beside each other member. Of all ways to take at most so
many networks, the one in which the tasks come to most is trained; see :mod:`trunkline.sharing.layouts.task_groups`.

A task may be in several networks. The best of them delivers it; in the others it is trained for its neighbours' sake,
and its head is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.recipe import Count
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.pair_plans import TaskPair, table_of_pairs
from trunkline.sharing.layouts.plans import all_shared, independent, plan_of_layout
from trunkline.sharing.layouts.table_file import load_table_of
from trunkline.sharing.layouts.task_groups import Network, Performance, TaskGroups, best_groups, performance_of_pairs
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.origin import BackboneWeight, Leading, Origin
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import Method, MethodOptions
from trunkline.supermodel.methods.trees import require_judging
from trunkline.supermodel.work import Found, Trained, Work


class TaskGroupingOptions(MethodOptions):
    """How many networks, and what they are chosen by."""

    max_models: Count = Field(2, description="most networks, each of which costs one backbone")
    groups: Literal["pairs", "all"] = Field(
        "pairs", description="what is trained: every two tasks, from which larger groups are estimated; or every group"
    )
    steps: Count | None = Field(
        None, description="steps of each of these trainings; as [train] if absent. Standley et al. stop at a fifth"
    )
    table: Path | None = Field(None, description="a two-task table (CSV, xlsx), instead of training pairs")


class TaskGrouping(Method[TaskGroupingOptions]):
    """The best few networks."""

    name = "task-grouping"
    kind = "ranked"
    units = "blocks"
    needs = "single-task models, and a model for every two tasks, or for every group; or a two-task table"
    decides = "which tasks have a network together"
    yields = "several networks in one file"
    source = "Standley et al.: Which Tasks Should Be Learned Together in Multi-task Learning? (ICML 2020)"
    trains_on = True
    leaves_weights = False
    Options = TaskGroupingOptions

    def check(self) -> None:
        """Find out whether a table fits, and whether there are samples to judge groups by."""
        if len(self.setup.tasks) == 1:
            return
        if self.options.table is not None:
            load_table_of(self.options.table, self.setup.tasks)
        else:
            require_judging(self.setup)

    def find(self, work: Work) -> Found:
        """Measure groups, take the best few, and train them."""
        backbone, tasks = self.setup.backbone, self.setup.tasks
        if len(tasks) == 1:
            return Found(all_shared(backbone, tasks))
        found = best_groups(tasks, self._performance(work), self.options.max_models)
        plan = self._plan(found)
        if all(network.trained == network.served for network in found.networks):
            return Found(plan)
        # Who is trained for its neighbours alone has no output, so each network is trained by itself, with all of them.
        trained = work.each({_job(network): partial(self._train, network.trained) for network in found.networks})
        parts = [(network, trained[_job(network)]) for network in found.networks]
        return Found(plan, start=partial(self._weights, parts), goes_on=True, phases=(), steps=self.setup.phase.steps)

    def _performance(self, work: Work) -> Performance:
        path, tasks = self.options.table, self.setup.tasks
        if path is not None:
            return performance_of_pairs(load_table_of(path, tasks))
        sizes = [2] if self.options.groups == "pairs" else range(2, len(tasks) + 1)
        groups = [group for size in sizes for group in combinations(tasks, size)]
        single = self._train(tasks, work, "single", apart=True, steps=self.options.steps)
        steps = self.options.steps
        trained = work.each({"+".join(group): partial(self._train, group, steps=steps) for group in groups})
        changes = {group: trained["+".join(group)].change_against(single) for group in groups}
        if self.options.groups == "pairs":
            pairs = {TaskPair(*pair, 1): changes[pair] for pair in combinations(tasks, 2)}
            return performance_of_pairs(table_of_pairs(tasks, pairs))
        alone = {1 << number: [0.0] * len(tasks) for number in range(len(tasks))}
        measured = {
            _bits(group, tasks): [_known(each, task, group) for task in tasks] for group, each in changes.items()
        }
        return {**alone, **measured}

    def _train(
        self, group: Sequence[str], work: Work, name: str = "network", *, apart: bool = False, steps: int | None = None
    ) -> Trained:
        make = independent if apart else all_shared
        phases = None if steps is None else [self.setup.phase.model_copy(update={"steps": steps})]
        return work.train(name, make(self.setup.backbone, group), phases=phases)

    def _plan(self, found: TaskGroups) -> SharingPlan:
        depth = len(self.setup.backbone.table("block").units)
        layout = Layout.of(self.setup.tasks, [[network.served for network in found.networks]] * depth)
        plan = plan_of_layout(self.setup.backbone, layout, method=self.name)
        said = {"score": found.score, "networks": [list(network.trained) for network in found.networks]}
        return plan.model_copy(update={"provenance": {**plan.provenance, **said}})

    def _weights(self, parts: Sequence[tuple[Network, Trained]], lowered: Lowered) -> Mapping[str, Tensor]:
        """Return every network's weights, by the names of the model of all."""
        found: dict[Origin | Leading, Tensor] = {}
        first: dict[str, str] = {}
        for network, trained in parts:
            heads = {task: self.setup.heads[task] for task in network.served}
            own = lower(all_shared(self.setup.backbone, network.served), self.setup.backbone, heads)
            weights = trained.start(own)
            first |= dict.fromkeys(network.served, network.served[0])
            found |= {_in_column(origin, network.served[0]): weights[name] for name, origin in own.origin.items()}
        return {name: found[_in_column(origin, first)] for name, origin in lowered.origin.items()}

    @classmethod
    def free(cls) -> tuple[str, ...]:
        """How many networks are taken may change after groups were measured."""
        return ("max_models",)


def _in_column(origin: Origin | Leading, column: str | Mapping[str, str]) -> Origin | Leading:
    """Return a weight as that of a network alone, known by the first task that the network serves."""
    if not isinstance(origin, BackboneWeight):
        return origin
    first = column if isinstance(column, str) else column[origin.column]
    return replace(origin, instance=0, unit_instance=0, column=first)


def _job(network: Network) -> str:
    return "network-" + "+".join(network.trained)


def _bits(group: Sequence[str], tasks: Sequence[str]) -> int:
    return sum(1 << tasks.index(task) for task in group)


def _known(changes: Mapping[str, float], task: str, group: Sequence[str]) -> float:
    """Return what a task came to in a group; nothing outside it.

    Raises:
        InvalidConfig: It is a member, and no metric of it can be compared.
    """
    if task not in group:
        return 0.0
    if task not in changes:
        text = f"{task} has no metric that can be compared, in the group {', '.join(group)}"
        raise InvalidConfig(text, place="data", advice="hold out more samples")
    return changes[task]
