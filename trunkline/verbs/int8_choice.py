"""Which parts of a model stay in float32, so that no task loses more than it may: chosen by its metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from trunkline.errors import WorkFailed

Judge = Callable[[Collection[str]], float]
"""Given the nodes that stay in float32: what the task that loses most has gained, in percent; negative is a loss."""


@dataclass(frozen=True, slots=True)
class KeptParts:
    """What stays in float32.

    Attributes:
        parts: Names of the parts, in the order in which they were chosen.
        nodes: Names of their nodes.
        change_percent: What the task that loses most has gained by all of this.
        recovered: By part, that number when the part alone stays in float32; empty where nothing had to.
    """

    parts: tuple[str, ...]
    nodes: tuple[str, ...]
    change_percent: float
    recovered: Mapping[str, float]


def parts_to_keep(
    parts: Mapping[str, Sequence[str]], judge: Judge, max_drop_percent: float, always: Collection[str] = ()
) -> KeptParts:
    """Keep parts in float32, the most sensitive first, until no task loses more than it may.

    How sensitive a part is, is measured: everything else is quantised, and the tasks are evaluated. That takes as many
    evaluations as there are parts, and is done only where quantising everything costs too much.

    Args:
        parts: Names of nodes by part.
        judge: Evaluates a choice.
        max_drop_percent: What a task may lose.
        always: Parts that stay in float32 whatever is measured.

    Raises:
        WorkFailed: Even then a task loses more, so something else than the parts is to blame.
    """
    kept = list(always)
    change = judge(_nodes(parts, kept))
    if change >= -max_drop_percent:
        return KeptParts(tuple(kept), _nodes(parts, kept), change, {})
    recovered = {name: judge(_nodes(parts, [*kept, name])) for name in parts if name not in kept}
    for name in sorted(recovered, key=lambda part: -recovered[part]):
        kept.append(name)
        change = judge(_nodes(parts, kept))
        if change >= -max_drop_percent:
            return KeptParts(tuple(kept), _nodes(parts, kept), change, recovered)
    text = f"a task loses {-change:.2f} % in 8 bits, and may lose {max_drop_percent:g} %"
    raise WorkFailed(text, place="int8", advice="raise `max_drop`, or give more images to find ranges by")


def _nodes(parts: Mapping[str, Sequence[str]], kept: Sequence[str]) -> tuple[str, ...]:
    return tuple(node for name in kept for node in parts[name])
