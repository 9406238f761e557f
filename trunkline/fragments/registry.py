"""The kinds of joins that there are, and the fragment of a join from its entry in a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from trunkline.errors import InvalidConfig, did_you_mean, problems_of
from trunkline.fragments.joins.base import Inputs, JoinKind
from trunkline.graph.graph import Graph
from trunkline.scan import kinds_in
from trunkline.text import quoted


def join_kinds() -> Mapping[str, type[JoinKind]]:
    """Return all kinds of joins by name."""
    return kinds_in("trunkline.fragments.joins", JoinKind)  # type: ignore[type-abstract]  # the interface itself


def make_join(kind: str, inputs: Inputs, settings: Mapping[str, Any]) -> Graph:
    """Return the fragment of a join.

    Args:
        kind: Name of a kind.
        inputs: Sizes of the values that it reads, by number of the read.
        settings: The kind's settings, as a plan holds them.

    Raises:
        InvalidConfig: There is no such kind, or its settings do not fit; places are relative to the join.

    >>> fragment = make_join("mix", {0: (8, 4, 4), 1: (8, 4, 4)}, {"starts": [0.9, 0.1]})
    >>> [node.op_type for node in fragment.nodes]
    ['Mul', 'Mul', 'Add']
    """
    known = join_kinds()
    if kind not in known:
        advice = did_you_mean(kind, known) or f"kinds are {', '.join(known)}"
        raise InvalidConfig(f"there is no kind of join {quoted(kind)}", place="kind", advice=advice)
    maker = known[kind]()
    # Here, and not when the plan is read: which settings there are depends on the kind.
    try:
        checked = maker.Settings.model_validate(dict(settings))
    except ValidationError as error:
        raise InvalidConfig(problems_of(error, maker.Settings, table="settings")) from error
    return maker.make(inputs, checked)
