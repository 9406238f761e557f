"""Whether a plan's joins can be: what they read exists by then, and fits the fragment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.fragments.joins.base import Inputs, Size
from trunkline.fragments.registry import make_join
from trunkline.graph.graph import Graph, Shape, name_of, shape_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.plan import SharingPlan


def join_problems(plan: SharingPlan, backbone: Backbone) -> Iterator[Problem]:
    """Yield what is wrong with the joins of a plan, each problem with its place."""
    known = {value: number for number, value in enumerate(backbone.shapes)}
    joins: dict[str, Join] = {}
    replaced: dict[tuple[str, str], str] = {}
    for number, join in enumerate(plan.joins):
        place = f"joins.{number}"
        problems = [*_own_problems(plan, join, joins, known, place), *_read_problems(plan, join, joins, known, place)]
        if join.gives != "joins":
            # A tap is one value of a task, wherever the join stands; a site is one of each column.
            target = (join.task, join.site if join.gives == "site" else "")
            if target in replaced:
                problems.append(Problem(f"join {replaced[target]!r} gives this value already", place))
            replaced[target] = join.name
        joins[join.name] = join
        yield from problems
        if problems:
            return
    yield from _fragment_problems(plan, backbone)


def fragments_of(joins: tuple[Join, ...], backbone: Backbone) -> dict[str, Graph]:
    """Return the fragment of every owner of joins.

    Raises:
        InvalidConfig: A fragment cannot be made, or joins of one owner need different ones.
    """
    sizes: dict[str, Size] = {}
    made: dict[str, tuple[object, Graph]] = {}
    for number, join in enumerate(joins):
        inputs = {k: _size(read, backbone.shapes, sizes) for k, read in join.taken.items()}
        wanted = (join.kind, tuple(inputs.items()), repr(sorted(join.settings.items())))
        if join.weights_of not in made:
            made[join.weights_of] = (wanted, _made(join, inputs, number))
        found, fragment = made[join.weights_of]
        if found != wanted:
            text = f"shares its weights with joins of {join.weights_of!r}, but is of another kind, shape or settings"
            raise InvalidConfig(text, place=f"joins.{number}")
        shape = shape_of(fragment.outputs[0])
        sizes[join.name] = (int(shape[1] or 0), int(shape[2] or 0), int(shape[3] or 0))
    return {owner: fragment for owner, (_, fragment) in made.items()}


def _own_problems(
    plan: SharingPlan, join: Join, joins: Mapping[str, Join], known: Mapping[str, int], place: str
) -> Iterator[Problem]:
    if join.name in joins:
        yield Problem(f"two joins are called {join.name!r}", place)
    if join.site not in known:
        advice = did_you_mean(join.site, known)
        yield Problem(f"the backbone has no value {join.site!r}", f"{place}.site", advice)
    if join.task not in plan.tasks:
        yield Problem(f"unknown task {join.task!r}", f"{place}.task", did_you_mean(join.task, plan.tasks))


def _read_problems(
    plan: SharingPlan, join: Join, joins: Mapping[str, Join], known: Mapping[str, int], place: str
) -> Iterator[Problem]:
    for index, read in join.taken.items():
        where = f"{place}.reads.{index}"
        if read.join is not None:
            if read.join not in joins:
                yield Problem(f"no join {read.join!r} comes before", where, did_you_mean(read.join, joins))
            elif join.site in known and known[joins[read.join].site] > known[join.site]:
                yield Problem(f"join {read.join!r} runs after {join.site!r}", where)
            continue
        if read.task not in plan.tasks:
            yield Problem(f"unknown task {read.task!r}", where, did_you_mean(str(read.task), plan.tasks))
        at = str(read.at)
        if at not in known:
            yield Problem(f"the backbone has no value {at!r}", where, did_you_mean(at, known))
        elif join.site in known and known[at] > known[join.site]:
            yield Problem(f"{at!r} is computed after {join.site!r}", where, "read it at a later site")


def _fragment_problems(plan: SharingPlan, backbone: Backbone) -> Iterator[Problem]:
    try:
        fragments = fragments_of(plan.joins, backbone)
    except InvalidConfig as error:
        yield from error.problems
        return
    for number, join in enumerate(plan.joins):
        given, wanted = shape_of(fragments[join.weights_of].outputs[0]), backbone.shapes[join.site]
        if join.gives == "site" and given != wanted:
            text = f"gives {list(given)}, but the column goes on with {list(wanted)}"
            yield Problem(text, f"joins.{number}", "join values of the site's own shape")
        tap = backbone.shapes[name_of(backbone.graph.outputs[-1])]
        if join.gives == "tap" and given != tap:
            yield Problem(f"gives {list(given)}, but the head reads {list(tap)}", f"joins.{number}")


def _made(join: Join, inputs: Inputs, number: int) -> Graph:
    try:
        return make_join(join.kind, inputs, join.settings)
    except InvalidConfig as error:
        place = f"joins.{number}"
        located = [replace(item, place=f"{place}.{item.place}" if item.place else place) for item in error.problems]
        raise InvalidConfig(located) from error


def _size(read: Read, shapes: Mapping[str, Shape], sizes: Mapping[str, Size]) -> Size:
    if read.join is not None:
        return sizes[read.join]
    shape = shapes[str(read.at)]
    if len(shape) != 4:
        raise InvalidConfig(f"joins read maps [N, C, h, w], and {read.at!r} is {list(shape)}", place="joins")
    return (int(shape[1] or 0), int(shape[2] or 0), int(shape[3] or 0))
