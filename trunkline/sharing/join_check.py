"""Whether joins of a plan or a space can run: what they read is there by then, in its column, and fits the fragment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.fragments.joins.base import Inputs
from trunkline.fragments.map_size import Size, map_size
from trunkline.fragments.registry import make_join
from trunkline.graph.graph import Graph, Shape, name_of, shape_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.columns import Columns, hidden_values, order_of_values
from trunkline.sharing.join import Join, Read
from trunkline.sharing.open_join import OpenJoin
from trunkline.text import quoted, shape_text


def join_problems(columns: Columns, joins: Sequence[OpenJoin]) -> Iterator[Problem]:
    """Yield what is wrong with joins, each problem with its place.

    Args:
        columns: The columns that are joined. Where a task may run a unit in several ways, its joins must do for each.
        joins: The joins. Where reads are chosen, all of them must do.
    """
    found = list(_JoinCheck(columns, joins).problems())
    # A fragment is made of what a join reads, so all of that must be right first.
    yield from found or _fragment_problems(columns.backbone, joins)


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
    """Goes through joins in order, and knows which values each of them can reach."""

    def __init__(self, columns: Columns, joins: Sequence[OpenJoin]) -> None:
        self._tasks = columns.tasks
        self._joins = joins
        self._shapes = columns.backbone.shapes
        self._known = order_of_values(columns.backbone)
        self._hidden = hidden_values(columns, self._known)
        self._earlier: dict[str, Join] = {}
        self._replaced: dict[tuple[str, str], str] = {}

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the first join that has any."""
        for number, join in enumerate(each.join for each in self._joins):
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
        if join.task not in self._tasks:
            yield self._unknown_task(join.task, f"{place}.task")

    def _target_problems(self, join: Join, place: str) -> Iterator[Problem]:
        # A tap is one value of a task, wherever the join stands; a site is one of each column.
        site = join.site if join.gives == "site" else ""
        target = (join.task, site)
        if target in self._replaced:
            yield Problem(f"join {quoted(self._replaced[target])} gives this value already", place)
        if target in self._hidden:
            yield Problem(self._hidden[target].reason, f"{place}.site", "join the column behind the unit")
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
        if task not in self._tasks:
            yield self._unknown_task(task, where)
        if at not in self._known:
            yield self._unknown_value(at, where)
        elif self._is_behind(at, join.site):
            yield Problem(f"{quoted(at)} is computed after {quoted(join.site)}", where, "read it at a later site")
        elif self._is_hidden(task, at, join.site):
            yield Problem(self._hidden[task, at].reason, where, "read the value behind the unit")

    def _is_hidden(self, task: str, value: str, site: str) -> bool:
        hidden = self._hidden.get((task, value))
        if hidden is None or hidden.until is None:
            return hidden is not None
        return site in self._known and self._known[site] < hidden.until

    def _is_behind(self, value: str, site: str) -> bool:
        # An unknown site is a problem of its own, and nothing can be said of what comes before it.
        return site in self._known and self._known[value] > self._known[site]

    def _unknown_task(self, task: str, place: str) -> Problem:
        return Problem(f"unknown task {quoted(task)}", place, did_you_mean(task, self._tasks))

    def _unknown_value(self, value: str, place: str) -> Problem:
        if value in self._shapes:
            text = f"{quoted(value)} is a weight, or leads to no feature map"
            return Problem(text, place, "join values on the way from the image to a feature map")
        return Problem(f"the backbone has no value {quoted(value)}", place, did_you_mean(value, self._known))


def _fragment_problems(backbone: Backbone, joins: Sequence[OpenJoin]) -> Iterator[Problem]:
    try:
        fragments = fragments_of(tuple(each.made_for for each in joins), backbone)
    except InvalidConfig as error:
        yield from error.problems
        return
    last_map = backbone.shapes[name_of(backbone.graph.outputs[-1])]
    shapes: dict[Read, Shape] = {}
    for number, each in enumerate(joins):
        join = each.join
        yield from _choice_problems(each, backbone, shapes, f"joins.{number}")
        given, replaced = shape_of(fragments[join.weights_of].outputs[0]), backbone.shapes[join.site]
        # What goes on was made for the site's shape, and a head for the last map's; other joins read any shape.
        if join.gives == "site" and given != replaced:
            text = f"gives {shape_text(given)}, but the column goes on with {shape_text(replaced)}"
            yield Problem(text, f"joins.{number}", "join values of the site's own shape")
        if join.gives == "tap" and given != last_map:
            text = f"gives {shape_text(given)}, but the head reads {shape_text(last_map)}"
            yield Problem(text, f"joins.{number}")
        shapes[Read.of(join.name)] = given


def _choice_problems(
    open_join: OpenJoin, backbone: Backbone, joined: Mapping[Read, Shape], place: str
) -> Iterator[Problem]:
    """Yield the reads that cannot be chosen instead of the first: until one is, a search adds them up.

    Args:
        open_join: The join.
        backbone: Its values have shapes.
        joined: Shapes of what reads of earlier joins give.
        place: Of the join.
    """
    if open_join.open != "one":
        return
    shapes = [joined[read] if read.join else backbone.shapes[str(read.at)] for read in open_join.join.reads]
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            text = f"is {shape_text(shape)}, and the first read {shape_text(shapes[0])}"
            yield Problem(text, f"{place}.reads.{number}", "let it choose one of values of one shape")


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
