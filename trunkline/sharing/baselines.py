"""The models that a found one is compared with: plans that need no search, each trained and measured alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts import all_shared, independent, share_until
from trunkline.sharing.plan import SharingPlan

INDEPENDENT, ALL_SHARED = "independent", "all-shared"
SHARE_UNTIL = "share-until:"
"""Before the name or number of the last block that all tasks share."""

PATTERN = rf"{INDEPENDENT}|{ALL_SHARED}|{SHARE_UNTIL}.+"


def baseline_plan(name: str, backbone: Graph | Backbone, tasks: Sequence[str]) -> SharingPlan:
    """Return the plan of a baseline.

    Raises:
        InvalidConfig: It shares until a block that the backbone does not have.
    """
    if name == INDEPENDENT:
        return independent(backbone, tasks)
    if name == ALL_SHARED:
        return all_shared(backbone, tasks)
    try:
        return share_until(backbone, tasks, name.removeprefix(SHARE_UNTIL))
    except InvalidConfig as error:
        raise InvalidConfig([replace(problem, place="train.baselines") for problem in error.problems]) from error


def file_name(name: str, backbone: Graph | Backbone) -> str:
    """Return a baseline's name as files have it: blocks go by number, since their names may hold anything."""
    if not name.startswith(SHARE_UNTIL):
        return name
    block, names = name.removeprefix(SHARE_UNTIL), Backbone.of(backbone).table("block").names
    return f"share-until-{names.index(block) if block in names else block}"
