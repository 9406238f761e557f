"""Pictures of any size are drawn inside their canvas, twice the same, and in colours that everybody can tell apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trunkline.report.join_picture import draw_joins
from trunkline.report.policy_picture import draw_correlation, draw_policy
from trunkline.report.share_picture import draw_shares
from trunkline.report.sharing_picture import draw_plan
from trunkline.report.style import SHARED, SKIPPED, TASKS
from trunkline.report.tree_picture import draw_tree
from trunkline.supermodel.learned_policy import Policy

pytestmark = pytest.mark.properties

Json = dict[str, Any]
SIZES = ((2, 1), (3, 15), (10, 100))
"""Tasks and units."""


def tasks_of(count: int) -> tuple[str, ...]:
    # As long as a picture shows, and with what matplotlib would take for a formula.
    return tuple(f"task{number}-{'x' * 12}" for number in range(count))


def units_of(count: int) -> tuple[str, ...]:
    return tuple(f"features.stage{number}.block$1$.conv" for number in range(count))


def policy_of(tasks: int, units: int) -> Json:
    p = np.random.default_rng(tasks).dirichlet(np.ones(3), (units, tasks))
    return Policy(("shared", "own", "skip"), units_of(units), tasks_of(tasks), p).to_json("automtl")


def plan_of(tasks: int, units: int) -> Json:
    """A tree in which a task parts from the others at every second unit."""
    rows = {}
    for number, unit in enumerate(units_of(units)):
        rows[unit] = {task: min(index, number // 2) for index, task in enumerate(tasks_of(tasks))}
    content = {"tasks": list(tasks_of(tasks)), "units": rows, "tie": False, "granularity": "block", "joins": []}
    return {**content, "method": "bmtas", "backbone": {"name": "a backbone with a name that is long" * 3}}


def joined_of(tasks: int, units: int) -> tuple[Json, dict[str, float], dict[str, dict[str, float]]]:
    names = tasks_of(tasks)
    plan = plan_of(tasks, units)
    plan["units"] = {unit: {task: index for index, task in enumerate(names)} for unit in units_of(units)}
    sites = {f"site{number}": float(number) for number in range(1, units + 1, max(1, units // 6))}
    for site in sites:
        for task in names:
            reads = [{"at": site, "task": other} for other in names]
            plan["joins"].append({"name": f"{site}.{task}", "kind": "mix", "site": site, "task": task, "reads": reads})
    shares = {join["name"]: {str(number): -0.5 for number in range(tasks)} for join in plan["joins"]}
    return plan, sites, shares


def joins_picture(tasks: int, units: int, path: Path) -> None:
    plan, sites, _ = joined_of(tasks, units)
    draw_joins(plan, sites, path)


def shares_picture(tasks: int, units: int, path: Path) -> None:
    plan, _, shares = joined_of(tasks, units)
    draw_shares(plan, shares, path)


PICTURES: dict[str, Callable[[int, int, Path], object]] = {
    "policy": lambda tasks, units, path: draw_policy(policy_of(tasks, units), path),
    "correlation": lambda tasks, units, path: draw_correlation(policy_of(tasks, units), path),
    "sharing": lambda tasks, units, path: draw_plan(plan_of(tasks, units), path),
    "tree": lambda tasks, units, path: draw_tree(plan_of(tasks, units), path),
    "joins": joins_picture,
    "shares": shares_picture,
}


@pytest.mark.parametrize(("tasks", "units"), SIZES)
@pytest.mark.parametrize("name", PICTURES)
def test_nothing_is_cut_off(name: str, tasks: int, units: int, tmp_path: Path) -> None:
    """The outermost pixels are white: all text and lines are inside; and a page can show it."""
    path = tmp_path / "picture.png"
    PICTURES[name](tasks, units, path)
    picture = np.asarray(Image.open(path).convert("RGB"))
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == 255).all()
    assert (picture < 255).any()
    assert max(picture.shape[:2]) <= 22 * 120


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    """Of each picture."""
    for name, draw in PICTURES.items():
        paths = [tmp_path / f"{name}{number}.png" for number in range(2)]
        for path in paths:
            draw(3, 4, path)
        assert paths[0].read_bytes() == paths[1].read_bytes(), name


SEEN_BY = {
    "all cones": np.eye(3),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no blue cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""Linear RGB as it is seen (Machado, Oliveira, Fernandes 2009, Table 1, severity 1.0)."""
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a colour, under D65."""
    srgb = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    x = XYZ @ np.clip(seen @ linear, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(x > (6 / 29) ** 3, np.cbrt(x), x / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("who", SEEN_BY)
def test_colours_differ_for_everybody(who: str) -> None:
    """Those of ten tasks, the shared one, the skipped one and the paper; those of three tasks most of all."""
    for count, least in ((3, 24.0), (len(TASKS), 16.0)):
        seen = [lab(colour, SEEN_BY[who]) for colour in (*TASKS[:count], SHARED, SKIPPED)]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) >= least
    assert len(TASKS) == 10
