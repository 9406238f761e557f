"""Whether a plan's joins can run: what they read exists by then, and fits the fragment."""

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
from trunkline.text import quoted, shape_text


def join_problems(plan: SharingPlan, backbone: Backbone) -> Iterator[Problem]:
    """Yield what is wrong with the joins of a plan, each problem with its place."""
    # Values stand in the order in which they are computed, so a smaller number is there earlier.
    known = {value: number for number, value in enumerate(backbone.shapes)}
    joins: dict[str, Join] = {}
    replaced: dict[tuple[str, str], str] = {}
    for number, join in enumerate(plan.joins):
        place = f"joins.{number}"
        problems = [*_own_problems(plan, join, joins, known, place), *_read_problems(plan, join, joins, known, place)]
        if join.gives != "joins":
            # A tap is one value of a task, wherever the join stands; a site is one of each column.
            site = join.site if join.gives == "site" else ""
            target = (join.task, site)
            if target in replaced:
                problems.append(Problem(f"join {quoted(replaced[target])} gives this value already", place))
            replaced[target] = join.name
        joins[join.name] = join
        yield from problems
        # Later joins may read this one, and would be blamed for what is wrong with it.
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
        inputs = {number: _size(read, backbone.shapes, sizes) for number, read in join.taken.items()}
        # As text, because settings may hold lists, and in order, because a file may name them in any.
        wanted = (join.kind, tuple(inputs.items()), repr(sorted(join.settings.items())))
        if join.weights_of not in made:
            made[join.weights_of] = (wanted, _made(join, inputs, number))
        found, fragment = made[join.weights_of]
        if found != wanted:
            owner = quoted(join.weights_of)
            text = f"shares its weights with joins of {owner}, but is of another kind, shape or settings"
            raise InvalidConfig(text, place=f"joins.{number}")
        sizes[join.name] = _map_size(shape_of(fragment.outputs[0]))
    return {owner: fragment for owner, (_, fragment) in made.items()}


def _own_problems(
    plan: SharingPlan, join: Join, joins: Mapping[str, Join], known: Mapping[str, int], place: str
) -> Iterator[Problem]:
    if join.name in joins:
        yield Problem(f"two joins are called {quoted(join.name)}", place)
    if join.site not in known:
        advice = did_you_mean(join.site, known)
        yield Problem(f"the backbone has no value {quoted(join.site)}", f"{place}.site", advice)
    if join.task not in plan.tasks:
        yield Problem(f"unknown task {quoted(join.task)}", f"{place}.task", did_you_mean(join.task, plan.tasks))


def _read_problems(
    plan: SharingPlan, join: Join, joins: Mapping[str, Join], known: Mapping[str, int], place: str
) -> Iterator[Problem]:
    for index, read in join.taken.items():
        where = f"{place}.reads.{index}"
        if read.join is None:
            yield from _column_problems(plan, join, read, known, where)
        elif read.join not in joins:
            yield Problem(f"no join {quoted(read.join)} comes before", where, did_you_mean(read.join, joins))
        elif _too_late(joins[read.join].site, join.site, known):
            yield Problem(f"join {quoted(read.join)} runs after {quoted(join.site)}", where)


def _column_problems(
    plan: SharingPlan, join: Join, read: Read, known: Mapping[str, int], where: str
) -> Iterator[Problem]:
    at, task = str(read.at), str(read.task)
    if task not in plan.tasks:
        yield Problem(f"unknown task {quoted(task)}", where, did_you_mean(task, plan.tasks))
    if at not in known:
        yield Problem(f"the backbone has no value {quoted(at)}", where, did_you_mean(at, known))
    elif _too_late(at, join.site, known):
        yield Problem(f"{quoted(at)} is computed after {quoted(join.site)}", where, "read it at a later site")


def _too_late(value: str, site: str, known: Mapping[str, int]) -> bool:
    # An unknown site is a problem of its own, and nothing can be said of what comes before it.
    return site in known and known[value] > known[site]


def _fragment_problems(plan: SharingPlan, backbone: Backbone) -> Iterator[Problem]:
    try:
        fragments = fragments_of(plan.joins, backbone)
    except InvalidConfig as error:
        yield from error.problems
        return
    last_map = backbone.shapes[name_of(backbone.graph.outputs[-1])]
    for number, join in enumerate(plan.joins):
        given, wanted = shape_of(fragments[join.weights_of].outputs[0]), backbone.shapes[join.site]
        # What goes on was made for the site's shape, and a head for the last map's; other joins read any shape.
        if join.gives == "site" and given != wanted:
            text = f"gives {shape_text(given)}, but the column goes on with {shape_text(wanted)}"
            yield Problem(text, f"joins.{number}", "join values of the site's own shape")
        if join.gives == "tap" and given != last_map:
            text = f"gives {shape_text(given)}, but the head reads {shape_text(last_map)}"
            yield Problem(text, f"joins.{number}")


def _made(join: Join, inputs: Inputs, number: int) -> Graph:
    try:
        return make_join(join.kind, inputs, join.settings)
    except InvalidConfig as error:
        # A kind knows its settings, not where in the plan they stand.
        located = []
        for item in error.problems:
            keys = [f"joins.{number}", *([item.place] if item.place else [])]
            located.append(replace(item, place=".".join(keys)))
        raise InvalidConfig(located) from error


def _size(read: Read, shapes: Mapping[str, Shape], sizes: Mapping[str, Size]) -> Size:
    if read.join is not None:
        return sizes[read.join]
    shape = shapes[str(read.at)]
    if len(shape) != 4:
        text = f"joins read maps [N, C, h, w], and {quoted(str(read.at))} is {shape_text(shape)}"
        raise InvalidConfig(text, place="joins")
    return _map_size(shape)


def _map_size(shape: Shape) -> Size:
    channels, height, width = (int(size or 0) for size in shape[1:])
    return channels, height, width
