"""Pictures of how a policy settled while it was learned, from what the trainer wrote down over the phases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline.report.style import INK, SHADES, bare, entitle, figure, plain, scale_beside, task_colour

_MOST_NAMES = 40
"""Choices of a group whose names can be read below each other."""


@dataclass(frozen=True, slots=True)
class Settling:
    """How the choices of one group moved.

    Attributes:
        group: The group, which is a task, or a task's joins or reads.
        choices: What is chosen at, from above.
        moments: When it was written down: phase and step.
        probabilities: Of the option that is most probable at the end, ``[choices, moments]``.
        undecided: The mean over choices of the entropy, as a share of its greatest, ``[moments]``.
    """

    group: str
    choices: tuple[str, ...]
    moments: tuple[tuple[str, int], ...]
    probabilities: NDArray[np.float64]
    undecided: NDArray[np.float64]


def settlings_of(records: Iterable[Mapping[str, Any]]) -> list[Settling]:
    """Return what the policy records of a ``metrics.jsonl`` tell, by group.

    >>> rows = [[0.5, 0.5], [0.25, 0.75]]
    >>> same = {"kind": "policy", "phase": "p"}
    >>> logs = [{**same, "step": step, "probabilities": {"a": {"u": row}}} for step, row in enumerate(rows)]
    >>> (found,) = settlings_of(logs)
    >>> found.moments, found.probabilities.tolist(), found.undecided.round(2).tolist()
    ((('p', 0), ('p', 1)), [[0.5, 0.75]], [1.0, 0.81])
    """
    policies = _from_first_move([record for record in records if record.get("kind") == "policy"])
    if not policies:
        return []
    moments = tuple((str(record["phase"]), int(record["step"])) for record in policies)
    last = policies[-1]["probabilities"]
    found = []
    for group, choices in last.items():
        # A choice with one option is no choice, and one that another phase had not is not followed.
        names = [name for name, row in choices.items() if len(row) > 1 and _is_in_all(policies, group, name)]
        if not names:
            continue
        rows = [[_row(record, group, name) for record in policies] for name in names]
        ends = np.array([[p[int(np.argmax(row[-1]))] for p in row] for row in rows])
        entropies = np.array([[_undecided(p) for p in row] for row in rows])
        found.append(Settling(group, tuple(names), moments, ends, entropies.mean(axis=0)))
    return found


def draw_settling(found: Sequence[Settling], path: Path) -> None:
    """Draw, group by group, how probable the option that won was over the search: bright is probable."""
    heights = [max(0.6, 0.13 * len(each.choices)) for each in found]
    with figure(8.4, 1.0 + sum(heights) + 0.15 * len(found), path) as drawn:
        panels = drawn.subplots(len(found), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, each in zip(panels, found, strict=True):
            image = axes.imshow(each.probabilities, cmap=SHADES, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            axes.set_ylabel(plain(each.group, 20), fontsize=8)
            names = [plain(name, 26) for name in each.choices] if len(each.choices) <= _MOST_NAMES else []
            axes.set_yticks(range(len(names)), names, fontsize=5)
            for start in _starts(each.moments)[1:]:
                axes.axvline(start - 0.5, color="white", linewidth=1.5)
            bare(axes)
        _name_moments(panels[-1], found[0].moments)
        entitle(drawn, "How the search settled: probability, over the steps, of the option that won")
        scale_beside(drawn, image, list(panels), "probability")


def draw_undecided(found: Sequence[Settling], path: Path) -> None:
    """Draw how undecided each group was over the steps: 1 is even chances, 0 is decided."""
    with figure(6.4, 2.8, path) as drawn:
        axes = drawn.add_subplot()
        for number, each in enumerate(found):
            colour = task_colour(number)
            axes.plot(range(len(each.moments)), each.undecided, color=colour, linewidth=1.6, label=plain(each.group))
        for start in _starts(found[0].moments)[1:]:
            axes.axvline(start - 0.5, color=INK, linewidth=0.6, linestyle=":")
        _name_moments(axes, found[0].moments)
        axes.set_ylim(-0.02, 1.05)
        axes.set_ylabel("mean entropy, share of the greatest", fontsize=8)
        axes.tick_params(axis="y", labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False)
        entitle(drawn, "How undecided the search was: 1 is even chances, 0 is decided")


def _starts(moments: Sequence[tuple[str, int]]) -> list[int]:
    """Return at which moments a phase begins."""
    return [i for i, (phase, _) in enumerate(moments) if i == 0 or moments[i - 1][0] != phase]


def _name_moments(axes: Any, moments: Sequence[tuple[str, int]]) -> None:
    every = max(1, len(moments) // 14)
    shown = sorted({*range(0, len(moments), every), *_starts(moments), len(moments) - 1})
    # The end of a phase and the start of the next would stand on each other.
    shown = [i for i in shown if i + 1 not in _starts(moments)[1:]]
    starts = set(_starts(moments))
    names = [f"{plain(moments[i][0], 12)} {moments[i][1]}" if i in starts else str(moments[i][1]) for i in shown]
    axes.set_xticks(shown, names, rotation=90, fontsize=6)
    axes.set_xlabel("step of the phase", fontsize=8)


def _from_first_move(policies: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the records from the last one on in which nothing had moved: a warm-up trains weights alone."""
    moved = next((i for i, each in enumerate(policies) if each["probabilities"] != policies[0]["probabilities"]), None)
    return policies if moved is None else policies[moved - 1 :]


def _is_in_all(policies: Sequence[Mapping[str, Any]], group: str, name: str) -> bool:
    return all(name in record["probabilities"].get(group, {}) for record in policies)


def _row(record: Mapping[str, Any], group: str, name: str) -> list[float]:
    return [float(p) for p in record["probabilities"][group][name]]


def _undecided(p: Sequence[float]) -> float:
    entropy = -sum(each * np.log(each) for each in p if each > 0)
    return float(entropy / np.log(len(p)))
