"""Which task takes which place in a plan: the same model, with tasks that have changed places.

If a search has found out which tasks belong together, the same tree with other tasks at its leaves must be worse: the
ablation "Permutations" of BMTAS (Bruggemann et al. 2020, Table 3).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence

from trunkline.sharing.join import Join
from trunkline.sharing.option import Option
from trunkline.sharing.plan import Choice, SharingPlan


def in_places(plan: SharingPlan, places: Mapping[str, str]) -> SharingPlan:
    """Return a plan in which every task runs what another one, or itself, ran before. Heads stay with their tasks.

    Args:
        plan: Of any kind; joins follow their columns.
        places: By task, whose place it takes; every place is taken once.

    >>> from trunkline.ingest.read import read
    >>> from trunkline.sharing.layouts.layout import Layout
    >>> from trunkline.sharing.layouts.plans import plan_of_layout
    >>> layout = Layout.of(["a", "b", "c"], [[["a", "b"], ["c"]]] * 7)
    >>> plan = plan_of_layout(read("zoo:tiny"), layout)
    >>> in_places(plan, {"a": "c", "b": "b", "c": "a"}).units["conv1"]
    {'a': 1, 'b': 0, 'c': 0}
    """
    units = {unit: {task: row[places[task]] for task in plan.tasks} for unit, row in plan.units.items()}
    taker = {place: task for task, place in places.items()}
    joins = tuple(_in_column_of(join, taker) for join in plan.joins)
    return plan.model_copy(update={"units": units, "joins": joins})


def other_pairing(plan: SharingPlan, seed: str) -> SharingPlan:
    """Return the plan with its tasks at random places, such that others share than before.

    Where all places are alike, as where all tasks share everything, there is no other pairing: it is the plan itself,
    with every task at its own place. A search may come to such a plan, and then its pairing decides nothing.

    Args:
        plan: Of any kind.
        seed: Decides the places.
    """
    same = _who_shares(plan)
    # If no swap of two tasks changes the plan, no permutation does: each is made of swaps.
    if all(_who_shares(in_places(plan, places)) == same for places in _swaps(plan.tasks)):
        return _noted(plan, {task: task for task in plan.tasks})
    rng = random.Random(seed)  # noqa: S311  # a plan is no secret
    while True:
        places = dict(zip(plan.tasks, rng.sample(plan.tasks, len(plan.tasks)), strict=True))
        found = in_places(plan, places)
        if _who_shares(found) != same:
            return _noted(found, places)


def _noted(plan: SharingPlan, places: dict[str, str]) -> SharingPlan:
    return plan.model_copy(update={"provenance": {**plan.provenance, "places": places}})


def _in_column_of(join: Join, taker: Mapping[str, str]) -> Join:
    reads = [read if read.task is None else read.model_copy(update={"task": taker[read.task]}) for read in join.reads]
    return join.model_copy(update={"task": taker[join.task], "reads": tuple(reads)})


def _swaps(tasks: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for one, other in itertools.combinations(tasks, 2):
        yield {**dict(zip(tasks, tasks, strict=True)), one: other, other: one}


def _who_shares(plan: SharingPlan) -> tuple[object, object]:
    """Return what a plan says but for the numbers of instances and the names of joins, which say nothing."""
    units = {unit: [_entry(row, task) for task in plan.tasks] for unit, row in plan.units.items()}
    of_name = {join.name: (join.site, join.task, join.kind) for join in plan.joins}
    joins: list[str] = []
    for join in plan.joins:
        common = {key: value for key, value in join.settings.items() if not _is_by_read(value, join)}
        joins.append(repr((of_name[join.name], sorted(_reads_of(join, of_name)), common, join.gives)))
    return units, sorted(joins)


def _reads_of(join: Join, of_name: Mapping[str, object]) -> Iterator[str]:
    """Yield what a join reads, and what its settings say about each read, in any order: a number is no difference."""
    by_read = {key: value for key, value in join.settings.items() if _is_by_read(value, join)}
    for number, read in join.taken.items():
        source = (read.at, read.task) if read.join is None else of_name[read.join]
        yield repr((source, {key: value[number] for key, value in by_read.items()}))


def _is_by_read(value: object, join: Join) -> bool:
    return isinstance(value, list | tuple) and len(value) == len(join.reads)


def _entry(row: Mapping[str, Choice], task: str) -> tuple[Sequence[str], bool, float]:
    """Return whom a task shares a unit's instance with, whether it skips the unit, and how wide it runs it."""
    mine = Option.of(row[task])
    if mine.skip:
        return (), True, 1.0
    options = {other: Option.of(choice) for other, choice in row.items()}
    sharing = [other for other, option in options.items() if not option.skip and option.instance == mine.instance]
    return sorted(sharing), False, mine.channels
