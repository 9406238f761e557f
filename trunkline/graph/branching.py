"""Which of the places where a network could be cut are branching points: where tasks may part.

Any place where one tensor is all that goes on will do, but a block without layers has nothing to share. So each
segment without any is merged with a neighbour (TreeMTL, Zhang et al. 2022, "branching point detector"), into as many
blocks either way:

* ``previous``, as TreeMTL's release: a convolution keeps the normalisation and the activation that follow it.
* ``next``, the other way to read the paper: these begin the block behind, and each task has its own where tasks part.

Users may add points and take some away, as the paper allows. The rule travels with the Graph, so that whatever is
built of it has the same blocks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import onnx_ir as ir

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.graph.branching_rule import DEFAULT_BRANCHING, Branching, MergeDirection
from trunkline.graph.computed_weights import has_parameters
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.layers import is_layer
from trunkline.graph.segments import Segment, segments_of
from trunkline.text import quoted

BRANCHING_KEY = "trunkline.branching"
"""On a backbone's model, where its rule is not the default one."""


def branching_of(graph: Graph) -> Branching:
    """Return the rule that a Graph has."""
    text = graph.model.metadata_props.get(BRANCHING_KEY)
    if text is None:
        return DEFAULT_BRANCHING
    found = json.loads(text)
    return Branching(found["merge"], tuple(found["after"]), tuple(found["not_after"]))


def with_branching(graph: Graph, branching: Branching) -> Graph:
    """Return a Graph with a rule; names of nodes in it become those of the values that they write.

    Raises:
        InvalidConfig: A name is not in the network, or no place where it can be cut; a point is taken away where there
            is none; or a block would have no weights.
    """
    segments = segments_of(graph)
    kept = _kept(segments, branching.merge)
    after = _points_named(graph, segments, branching.after, "after")
    not_after = _points_named(graph, segments, branching.not_after, "not after")
    _check_taken_away(not_after, kept, after)
    # As values, and without what is so anyway: two ways to say the same are one rule.
    rule = Branching(branching.merge, _in_order(segments, after - kept), _in_order(segments, not_after))
    _check_blocks(joined_segments(segments, rule), rule)
    if rule == branching_of(graph):
        return graph
    copy = graph.copy()
    copy.model.metadata_props[BRANCHING_KEY] = json.dumps(asdict(rule))
    return copy


def branching_candidates(graph: Graph) -> list[str]:
    """Return the names of all values at which a network can be cut, in order; a rule says which of them count."""
    return [name_of(segment.output) for segment in segments_of(graph)[:-1]]


def joined_segments(segments: Sequence[Segment], branching: Branching) -> list[Segment]:
    """Return segments joined as a rule says; together they hold the same nodes in the same order."""
    points = _kept(segments, branching.merge) | set(branching.after)
    points -= set(branching.not_after)
    joined: list[Segment] = []
    nodes: list[ir.Node] = []
    for number, segment in enumerate(segments, start=1):
        nodes += segment.nodes
        if number == len(segments) or name_of(segment.output) in points:
            joined.append(Segment(nodes, segment.output))
            nodes = []
    return joined


def _kept(segments: Sequence[Segment], merge: MergeDirection) -> set[str]:
    """Return the names of the values behind segments at which tasks may part, by the direction alone."""
    has_layer = [any(is_layer(node) for node in segment.nodes) for segment in segments]
    kept = set()
    for index, segment in enumerate(segments[:-1]):
        # Both sides of a point need a layer. The nearer ones decide which of several points between two layers it is.
        if merge == "previous":
            is_point = any(has_layer[: index + 1]) and has_layer[index + 1]
        else:
            is_point = has_layer[index] and any(has_layer[index + 1 :])
        if is_point:
            kept.add(name_of(segment.output))
    return kept


def _points_named(graph: Graph, segments: Sequence[Segment], names: Sequence[str], place: str) -> set[str]:
    """Return the values that names of values or nodes stand for, each a place where the network can be cut.

    Raises:
        InvalidConfig: One is no such place; all of them at once.
    """
    points = [name_of(segment.output) for segment in segments[:-1]]
    written = {name_of(node): name_of(node.outputs[0]) for node in graph.nodes}
    # A value's name comes first, as for features.
    written |= {name_of(value): name_of(value) for node in graph.nodes for value in node.outputs if value.name}
    problems = [_problem(name, written, points, place) for name in names if written.get(name) not in points]
    if problems:
        raise InvalidConfig(problems)
    return {written[name] for name in names}


def _problem(name: str, written: Mapping[str, str], points: Sequence[str], place: str) -> Problem:
    where = f"branching: {place}"
    if name not in written:
        advice = did_you_mean(name, list(written)) or "`inspect --json` lists `candidates`"
        return Problem(f"there is no value or node {quoted(name)}", where, advice)
    text = f"tasks cannot part behind {quoted(name)}: it is not all that goes on from there"
    near = did_you_mean(name, points)
    return Problem(text, where, near or "`inspect --json` lists as `candidates` where they can")


def _check_taken_away(not_after: set[str], kept: set[str], after: set[str]) -> None:
    """Refuse to take away what is no branching point.

    Raises:
        InvalidConfig: Tasks would not part there, or are asked to.
    """
    problems = [Problem(f"{quoted(name)} is both a point and none", "branching") for name in sorted(not_after & after)]
    for name in sorted(not_after - kept - after):
        advice = did_you_mean(name, sorted(kept)) or "`inspect` lists the blocks, `inspect --json` their outputs"
        problems.append(Problem(f"tasks do not part behind {quoted(name)}", "branching: not after", advice))
    if problems:
        raise InvalidConfig(problems)


def _in_order(segments: Sequence[Segment], names: set[str]) -> tuple[str, ...]:
    return tuple(name for segment in segments if (name := name_of(segment.output)) in names)


def _check_blocks(blocks: Sequence[Segment], rule: Branching) -> None:
    """Refuse a rule by which a block has nothing to share.

    Raises:
        InvalidConfig: A block that an added point begins or ends has no weights.
    """
    problems = []
    starts = [None, *(name_of(block.output) for block in blocks)]
    for block, start in zip(blocks, starts, strict=False):
        named = [name for name in (start, name_of(block.output)) if name in rule.after]
        if named and not any(has_parameters(node) for node in block.nodes):
            ends = f"{quoted(start or 'the image')} and {quoted(name_of(block.output))}"
            advice = f"leave out {quoted(named[0] or '')}"
            problems.append(Problem(f"the block between {ends} would have no weights", "branching: after", advice))
    if problems:
        raise InvalidConfig(problems)
