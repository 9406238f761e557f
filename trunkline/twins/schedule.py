"""Which nodes to run for the wanted outputs, and when a value may be forgotten."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScheduledOp:
    """One node: which operator runs, on what, into what.

    Attributes:
        op: The operator's position in the Graph.
        reads: Names of the inputs in ONNX order; ``None`` where there is none, or where it is a static argument.
        writes: Names of the outputs.
        drops: Names of the computed values that no later step reads.
    """

    op: int
    reads: tuple[str | None, ...]
    writes: tuple[str, ...]
    drops: tuple[str, ...] = ()


def schedule(
    steps: Sequence[ScheduledOp], outputs: Sequence[str], stored: Collection[str] = ()
) -> tuple[ScheduledOp, ...]:
    """Return the steps that ``outputs`` need, in order, each with what it may drop.

    Args:
        steps: All steps of the Graph, in topological order.
        outputs: Names of the wanted values; these are never dropped.
        stored: Names of the weights, which are never dropped either.

    >>> steps = [ScheduledOp(0, ("image",), ("a",)), ScheduledOp(1, ("a", "w"), ("y",)), ScheduledOp(2, ("a",), ("b",))]
    >>> [(step.op, step.drops) for step in schedule(steps, ["y"], stored=["w"])]
    [(0, ('image',)), (1, ('a',))]
    """
    needed = set(outputs)
    kept = {*outputs, *stored}
    chosen: list[ScheduledOp] = []
    for step in reversed(steps):
        if needed.isdisjoint(step.writes):
            continue
        reads = [name for name in step.reads if name is not None]
        needed.update(reads)
        # Going backwards, the first step that reads a value is the last to run, so it drops the value. Results that
        # no step reads are dropped at once.
        last_use = [name for name in (*reads, *step.writes) if name not in kept]
        # A node may read a value twice, as x · x does.
        drops = tuple(dict.fromkeys(last_use))
        kept.update(drops)
        chosen.append(ScheduledOp(step.op, step.reads, step.writes, drops))
    return tuple(reversed(chosen))
