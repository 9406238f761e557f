"""Budgets of a layout, as a user states them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trunkline.errors import InvalidConfig, Problem
from trunkline.sharing.layouts.best_layouts import CostLimit
from trunkline.sharing.layouts.merged_backbone import MergedBackbone

BYTES_A_NUMBER = 4


@dataclass(frozen=True, slots=True)
class LayoutBudgets:
    """The most that a layout may have; heads, which no layout shares, do not count.

    Attributes:
        models: Multiply-accumulates, as a number of backbones (the paper's budget).
        macs: Multiply-accumulates for one image.
        parameters: Numbers that train.
        bytes: What these take as float32.
        ms: Milliseconds for one image, by ``costs``.
        costs: A cost table of the backbone.
    """

    models: float | None = None
    macs: float | None = None
    parameters: float | None = None
    bytes: float | None = None
    ms: float | None = None
    costs: Path | None = None


def limits_of_budgets(budgets: LayoutBudgets, merged: MergedBackbone) -> dict[str, CostLimit]:
    """Return the limits that budgets set, by name.

    Raises:
        InvalidConfig: Milliseconds without a cost table, or a budget that is no amount.
    """
    if budgets.ms is not None and budgets.costs is None:
        advice = "`trunkline costs` measures a table; give it with --costs"
        raise InvalidConfig("milliseconds need a cost table of this backbone", place="budget of ms", advice=advice)
    costs = {kind: np.asarray(values) for kind, values in merged.costs.items()}
    given = {
        "models": (budgets.models, costs["macs"] / max(1.0, costs["macs"].sum())),
        "macs": (budgets.macs, costs["macs"]),
        "parameters": (budgets.parameters, costs["parameters"]),
        "bytes": (budgets.bytes, costs["parameters"] * BYTES_A_NUMBER),
        "ms": (budgets.ms, costs.get("ms", costs["macs"])),
    }
    problems = [
        Problem(f"{limit} is no amount", f"budget of {name}", advice="give a number above 0")
        for name, (limit, _) in given.items()
        if limit is not None and not 0 < limit < float("inf")
    ]
    if problems:
        raise InvalidConfig(problems)
    return {name: CostLimit(each, float(limit)) for name, (limit, each) in given.items() if limit is not None}
