"""Whether a plan's joins can run: what they read is there by then, in its column, and fits the fragment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.fragments.joins.base import Inputs
from trunkline.fragments.map_size import Size, map_size
from trunkline.fragments.registry import make_join
from trunkline.graph.computed_weights import depends_on_image
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.option import Option
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.units import Unit
from trunkline.text import quoted, shape_text


def join_problems(plan: SharingPlan, backbone: Backbone) -> Iterator[Problem]:
    """Yield what is wrong with the joins of a plan, each problem with its place.

    Args:
        plan: Its units fit the backbone.
        backbone: The backbone whose columns are joined.
    """
    if not plan.joins:
        return  # most plans have none, and a search checks many
    found = list(_JoinCheck(plan, backbone).problems())
    # A fragment is made of what a join reads, so all of that must be right first.
    yield from found or _fragment_problems(plan, backbone)


def fragments_of(joins: tuple[Join, ...], backbone: Backbone) -> dict[str, Graph]:
    """Return the fragment of every owner of joins.

    Raises:
        InvalidConfig: A fragment cannot be made, or joins of one owner need different ones.
    """
    sizes: dict[str, Size] = {}
    made: dict[str, tuple[object, Graph]] = {}
    for number, join in enumerate(joins):
        place = f"joins.{number}"
        inputs = {index: _size(read, backbone, sizes, place) for index, read in join.taken.items()}
        # As text, because settings may hold lists, and in order, because a file may name them in any.
        wanted = (join.kind, tuple(inputs.items()), repr(sorted(join.settings.items())))
        if join.weights_of not in made:
            made[join.weights_of] = (wanted, _made(join, inputs, place))
        found, fragment = made[join.weights_of]
        if found != wanted:
            owner = quoted(join.weights_of)
            text = f"shares its weights with joins of {owner}, but is of another kind, shape or settings"
            raise InvalidConfig(text, place=place)
        sizes[join.name] = map_size(shape_of(fragment.outputs[0]))
    return {owner: fragment for owner, (_, fragment) in made.items()}


class _JoinCheck:
    """Goes through the joins of a plan in order, and knows which values each of them can reach."""

    def __init__(self, plan: SharingPlan, backbone: Backbone) -> None:
        self._plan = plan
        self._shapes = backbone.shapes
        self._known = _order_of_values(backbone)
        self._lost = _lost_values(plan, backbone)
        self._earlier: dict[str, Join] = {}
        self._replaced: dict[tuple[str, str], str] = {}

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the first join that has any."""
        for number, join in enumerate(self._plan.joins):
            place = f"joins.{number}"
            found = [*self._own_problems(join, place), *self._read_problems(join, place)]
            if join.gives != "joins":
                found += self._target_problems(join, place)
            self._earlier[join.name] = join
            yield from found
            # Later joins may read this one, and would be blamed for what is wrong with it.
            if found:
                return

    def _own_problems(self, join: Join, place: str) -> Iterator[Problem]:
        if join.name in self._earlier:
            yield Problem(f"two joins are called {quoted(join.name)}", place)
        if join.site not in self._known:
            yield self._unknown_value(join.site, f"{place}.site")
        if join.task not in self._plan.tasks:
            yield self._unknown_task(join.task, f"{place}.task")

    def _target_problems(self, join: Join, place: str) -> Iterator[Problem]:
        # A tap is one value of a task, wherever the join stands; a site is one of each column.
        site = join.site if join.gives == "site" else ""
        target = (join.task, site)
        if target in self._replaced:
            yield Problem(f"join {quoted(self._replaced[target])} gives this value already", place)
        if target in self._lost:
            yield Problem(self._lost[target], f"{place}.site", "join the column behind the unit")
        self._replaced[target] = join.name

    def _read_problems(self, join: Join, place: str) -> Iterator[Problem]:
        for number, read in join.taken.items():
            where = f"{place}.reads.{number}"
            if read.join is None:
                yield from self._column_problems(join, read, where)
            elif read.join not in self._earlier:
                yield Problem(
                    f"no join {quoted(read.join)} comes before", where, did_you_mean(read.join, self._earlier)
                )
            elif self._is_behind(self._earlier[read.join].site, join.site):
                yield Problem(f"join {quoted(read.join)} runs after {quoted(join.site)}", where)

    def _column_problems(self, join: Join, read: Read, where: str) -> Iterator[Problem]:
        at, task = str(read.at), str(read.task)
        if task not in self._plan.tasks:
            yield self._unknown_task(task, where)
        if at not in self._known:
            yield self._unknown_value(at, where)
        elif self._is_behind(at, join.site):
            yield Problem(f"{quoted(at)} is computed after {quoted(join.site)}", where, "read it at a later site")
        elif (task, at) in self._lost:
            yield Problem(self._lost[task, at], where, "read the value behind the unit")

    def _is_behind(self, value: str, site: str) -> bool:
        # An unknown site is a problem of its own, and nothing can be said of what comes before it.
        return site in self._known and self._known[value] > self._known[site]

    def _unknown_task(self, task: str, place: str) -> Problem:
        return Problem(f"unknown task {quoted(task)}", place, did_you_mean(task, self._plan.tasks))

    def _unknown_value(self, value: str, place: str) -> Problem:
        if value in self._shapes:
            text = f"{quoted(value)} is a weight, or leads to no feature map"
            return Problem(text, place, "join values on the way from the image to a feature map")
        return Problem(f"the backbone has no value {quoted(value)}", place, did_you_mean(value, self._known))


def _order_of_values(backbone: Backbone) -> dict[str, int]:
    """Return, by value that columns have, its place in the order in which they are computed."""
    written = [backbone.graph.input]
    for node in backbone.needed:
        # A weight that is computed belongs to its reader, and no column has it.
        written += [value for value in node.outputs if value.name and depends_on_image(value)]
    return {name_of(value): number for number, value in enumerate(written)}


def _lost_values(plan: SharingPlan, backbone: Backbone) -> dict[tuple[str, str], str]:
    """Return, by task and value inside a unit, why no join can read or replace it in that task's column."""
    lost: dict[tuple[str, str], str] = {}
    for unit in backbone.table(plan.granularity).units:
        for task in plan.tasks:
            option = Option.of(plan.choice(unit.name, task))
            deed = "skips" if option.skip else "runs a channel view of"
            for name in _lost_nodes(backbone, unit, option):
                for value in backbone.nodes[name].outputs:
                    # What the unit hands on is there, and whole, whatever the task runs.
                    if value.name and value.name != unit.output:
                        reason = f"{quoted(value.name)} cannot be joined: {quoted(task)} {deed} {quoted(unit.name)}"
                        lost[task, value.name] = reason
    return lost


def _lost_nodes(backbone: Backbone, unit: Unit, option: Option) -> tuple[str, ...]:
    """Return the nodes of a unit that an option does not run, or runs with fewer channels than a join would read."""
    if option.skip:
        return unit.nodes
    span = None if option.channels == 1.0 else backbone.span(unit)
    return () if span is None else span.narrowed


def _fragment_problems(plan: SharingPlan, backbone: Backbone) -> Iterator[Problem]:
    try:
        fragments = fragments_of(plan.joins, backbone)
    except InvalidConfig as error:
        yield from error.problems
        return
    last_map = backbone.shapes[name_of(backbone.graph.outputs[-1])]
    for number, join in enumerate(plan.joins):
        given, replaced = shape_of(fragments[join.weights_of].outputs[0]), backbone.shapes[join.site]
        # What goes on was made for the site's shape, and a head for the last map's; other joins read any shape.
        if join.gives == "site" and given != replaced:
            text = f"gives {shape_text(given)}, but the column goes on with {shape_text(replaced)}"
            yield Problem(text, f"joins.{number}", "join values of the site's own shape")
        if join.gives == "tap" and given != last_map:
            text = f"gives {shape_text(given)}, but the head reads {shape_text(last_map)}"
            yield Problem(text, f"joins.{number}")


def _made(join: Join, inputs: Inputs, place: str) -> Graph:
    try:
        fragment = make_join(join.kind, inputs, join.settings)
    except InvalidConfig as error:
        # A kind knows its settings, not where in the plan they stand.
        located = []
        for item in error.problems:
            keys = [place, *([item.place] if item.place else [])]
            located.append(replace(item, place=".".join(keys)))
        raise InvalidConfig(located) from error
    given = shape_of(fragment.outputs[0])
    if len(given) != 4:
        text = f"joins give maps [N, C, h, w], and the kind {quoted(join.kind)} gives {shape_text(given)}"
        raise InvalidConfig(text, place=place)
    return fragment


def _size(read: Read, backbone: Backbone, sizes: Mapping[str, Size], place: str) -> Size:
    """Return the size of what a read takes: of a column's map, or of an earlier join's."""
    if read.join is not None:
        return sizes[read.join]
    shape = backbone.shapes[str(read.at)]
    if len(shape) != 4:
        text = f"joins read maps [N, C, h, w], and {quoted(str(read.at))} is {shape_text(shape)}"
        raise InvalidConfig(text, place=place)
    return map_size(shape)
