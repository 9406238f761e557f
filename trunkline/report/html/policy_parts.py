"""What a page shows of a learned policy: each option's probability, how it settled, and how alike tasks are by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from trunkline.report.edge_histogram import draw_edge_histogram, edge_histogram, has_edges
from trunkline.report.html.data_uri import drawn_uri
from trunkline.report.html.page import Part, Picture, Prose
from trunkline.report.policy_picture import correlations, draw_correlation, draw_policy, policy_rows
from trunkline.report.settling_picture import Settling, draw_settling, draw_undecided, settlings_of
from trunkline.report.tables import Table

Json = Mapping[str, Any]
_MOST_MOMENTS = 8
"""Columns of the table of how a policy settled; the picture has all."""


def policy_parts(policy: Json) -> list[Part]:
    """Return the pictures of what a search learned."""
    uri = drawn_uri(partial(draw_policy, policy))
    decided = _decided(policy)
    text = (
        f"For each task a panel with a row for each option and a column for each of {len(policy['units'])} units; "
        f"bright is probable. {decided}"
    )
    parts: list[Part] = [Picture("How probable each option is", text, uri or "", policy_table(policy))]
    if has_edges(policy):
        counts = edge_histogram(policy)
        number = sum(map(sum, counts.values()))
        between = sum(sum(row[3:-3]) for row in counts.values())
        text = f"The probability that each of {number} edges is kept; {between} lie between 0.12 and 0.88."
        parts.append(Picture("How decided the edges are", text, drawn_uri(partial(draw_edge_histogram, policy)) or ""))
    return parts


def correlation_part(policy: Json) -> Picture | None:
    """Return the picture of how alike the policies of each two tasks are (AutoMTL's Fig. 7)."""
    uri = drawn_uri(partial(draw_correlation, policy))
    if uri is None:
        return None
    tasks, cosines = list(policy["tasks"]), correlations(policy)
    rows = tuple(
        (task, *("–" if np.isnan(value) else f"{value:.3f}" for value in row))
        for task, row in zip(tasks, cosines, strict=True)
    )
    pairs = [(cosines[i, j], tasks[i], tasks[j]) for i in range(len(tasks)) for j in range(i)]
    known = [pair for pair in pairs if not np.isnan(pair[0])]
    most = max(known)
    text = f"The cosine of two tasks' policies. Most alike are {most[2]} and {most[1]}, with {most[0]:.2f}."
    if len(known) > 1:
        least = min(known)
        text += f" Least alike are {least[2]} and {least[1]}, with {least[0]:.2f}."
    table = Table("Cosine of two tasks' policies", ("task", *tasks), rows)
    return Picture("How alike the tasks' policies are", text, uri, table)


def settling_parts(records: Sequence[Json]) -> list[Part]:
    """Return the pictures of how the policy changed over the search."""
    found = settlings_of(records)
    if not found:
        text = (
            "This run was made before policies were written down over a search, so how this one changed is not known. "
            "A run that is made now has it."
        )
        return [Prose((text,))]
    first, last = found[0].moments[0], found[0].moments[-1]
    span = f"from step {first[1]} of phase {first[0]} to step {last[1]} of phase {last[0]}"
    text = f"For each task a row for each choice, and time from left to right, {span}; bright is probable."
    drawn = drawn_uri(partial(draw_settling, found)) or ""
    settled = Picture("How the probability of what won changed", text, drawn, _settling(found))
    ends = ", ".join(f"{each.group} from {each.undecided[0]:.2f} to {each.undecided[-1]:.2f}" for each in found)
    text = f"The mean entropy of the choices as a share of the greatest, {span}: {ends}."
    undecided = drawn_uri(partial(draw_undecided, found)) or ""
    return [settled, Picture("How undecided the search was", text, undecided, _undecided(found))]


def policy_table(policy: Json) -> Table:
    """Return the probabilities: a row for each unit and task, a column for each option."""
    rows = []
    panels = policy_rows(policy)
    for number, unit in enumerate(policy["units"]):
        for task, p in panels.items():
            cells = ("–" if np.isnan(value) else f"{value:.3f}" for value in p[:, number])
            rows.append((unit, task, *cells))
    return Table("Probability of each option", ("unit", "task", *policy["options"]), tuple(rows))


def _decided(policy: Json) -> str:
    largest = [p[:, number].max() for p in policy_rows(policy).values() for number in range(p.shape[1])]
    known = [value for value in largest if not np.isnan(value)]
    sure = sum(value >= 0.9 for value in known)
    return f"In {sure} of {len(known)} places one option has a probability of 0.9 or more."


def _settling(found: Sequence[Settling]) -> Table:
    moments = found[0].moments
    count = min(_MOST_MOMENTS, len(moments))
    shown = sorted({round(i * (len(moments) - 1) / max(1, count - 1)) for i in range(count)})
    columns = ("choice", "of", *(f"{moments[i][0]} {moments[i][1]}" for i in shown))
    rows = [
        (choice, each.group, *(f"{p[i]:.3f}" for i in shown))
        for each in found
        for choice, p in zip(each.choices, each.probabilities, strict=True)
    ]
    return Table("Probability of the option that won, by phase and step", columns, tuple(rows))


def _undecided(found: Sequence[Settling]) -> Table:
    moments = found[0].moments
    rows = tuple(
        (f"{phase} {step}", *(f"{each.undecided[i]:.3f}" for each in found)) for i, (phase, step) in enumerate(moments)
    )
    return Table("How undecided, by phase and step", ("phase and step", *(each.group for each in found)), rows)
