"""Where joins stand, in units."""

from __future__ import annotations

import pytest

from trunkline.ingest.read import read
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.join_sites import join_sites
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.plan import SharingPlan

pytestmark = pytest.mark.golden

IMAGE, BEHIND_CONV, INSIDE = "image", "conv1_relu", "stage1_block1_relu1"


def plan_of(backbone: Backbone, *reads: str, left_out: tuple[int, ...] = ()) -> SharingPlan:
    join = Join(
        name="j",
        kind="project",
        site=BEHIND_CONV,
        task="a",
        reads=tuple(Read.column(value, "b") for value in reads),
        left_out=left_out,
    )
    return independent(backbone, ["a", "b"]).model_copy(update={"joins": (join,)})


def test_sites_are_counted_in_units() -> None:
    """The image is before all of them, a block's end behind it, and what is inside has part of it before it."""
    backbone = Backbone(read("zoo:tiny"))
    places = join_sites(plan_of(backbone, INSIDE, IMAGE), backbone)
    nodes = backbone.table("block").units[1].nodes
    assert list(places.items()) == [
        (IMAGE, 0.0),
        (BEHIND_CONV, 1.0),
        (INSIDE, 1 + (nodes.index(INSIDE) + 1) / len(nodes)),
    ]


def test_operators_are_counted_by_ancestors() -> None:
    """What follows operators without being one is behind all that it depends on."""
    backbone = Backbone(read("zoo:tiny"))
    plan = plan_of(backbone, INSIDE).model_copy(update={"granularity": "operator"})
    assert join_sites(plan, backbone) == {BEHIND_CONV: 1.0, INSIDE: 2.0}


def test_reads_left_out_have_no_place() -> None:
    """Nor has a plan without joins any."""
    backbone = Backbone(read("zoo:tiny"))
    assert list(join_sites(plan_of(backbone, INSIDE, IMAGE, left_out=(0,)), backbone)) == [IMAGE, BEHIND_CONV]
    assert join_sites(independent(backbone, ["a", "b"]), backbone) == {}
