"""Why a layout was recommended: which pairs of tasks argue for a branch, and which against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

from trunkline.sharing.layouts.estimator import Estimator
from trunkline.sharing.layouts.layout import Group, Layout


@dataclass(frozen=True, slots=True)
class PairArgument:
    """What parting here counts for two tasks, in the layout's score.

    Attributes:
        tasks: The two.
        gain: By how much the score is greater than if these two never parted, in percent.
        best_point: The block before which they would best part, for these two alone; the number of blocks for never.
        loss: By how much it would then be greater than here; 0 or more.
    """

    tasks: tuple[str, str]
    gain: float
    best_point: int
    loss: float


@dataclass(frozen=True, slots=True)
class BranchArgument:
    """A place of a layout where tasks part.

    Attributes:
        block: The first block that they run apart.
        parts: Who goes on with whom.
        pairs: What that counts for each two that part, the greatest gain first.
    """

    block: int
    parts: tuple[Group, ...]
    pairs: tuple[PairArgument, ...]

    @property
    def gain(self) -> float:
        """What all pairs count together."""
        return sum(pair.gain for pair in self.pairs)


def arguments_for(estimator: Estimator, layout: Layout) -> tuple[BranchArgument, ...]:
    """Return the places where tasks of a layout part, the earliest first.

    The gains of all places sum to the layout's score minus that of one model for all.
    """
    found = []
    before: Sequence[Group] = (layout.tasks,)
    for number, groups in enumerate(layout.blocks):
        for whole in before:
            parts = tuple(group for group in groups if set(group) <= set(whole))
            if len(parts) > 1:
                found.append(BranchArgument(number, parts, _pairs_of(estimator, parts, number)))
        before = groups
    return tuple(found)


def _pairs_of(estimator: Estimator, parts: Sequence[Group], block: int) -> tuple[PairArgument, ...]:
    scores = estimator.pair_scores()
    number = {task: place for place, task in enumerate(estimator.table.tasks)}
    found = []
    for one, other in combinations(parts, 2):
        for task, partner in product(one, other):
            series = scores[number[task], number[partner]]
            best = int(series.argmax())
            gain, loss = float(series[block] - series[-1]), float(series[best] - series[block])
            found.append(PairArgument((task, partner), gain, best, loss))
    return tuple(sorted(found, key=lambda pair: -pair.gain))


def in_words(arguments: Sequence[BranchArgument], blocks: Sequence[str]) -> list[str]:
    """Return lines that say which pairs argue for each branch and which against it.

    Args:
        arguments: Of one layout.
        blocks: What the blocks are called.
    """
    if not arguments:
        return ["All tasks share everything: no branch is worth more than that, within the budget."]
    lines = []
    for branch in arguments:
        parts = " | ".join(", ".join(part) for part in branch.parts)
        lines.append(f"before {blocks[branch.block]}: {parts}  ({branch.gain:+.2f} against never parting)")
        for pair in branch.pairs:
            side = "for it" if pair.gain > 0 else "against it" if pair.gain < 0 else "indifferent"
            there = "never part" if pair.best_point == len(blocks) else f"part before {blocks[pair.best_point]}"
            wish = "" if pair.loss == 0 else f"; alone they would {there} ({pair.loss:+.2f})"
            lines.append(f"  {' and '.join(pair.tasks)}: {side}, {pair.gain:+.2f}{wish}")
    return lines
