"""Where in a backbone the joins of a plan stand and read, in units: what a picture of them needs and no plan says."""

from __future__ import annotations

from collections.abc import Mapping

from trunkline.graph.graph import name_of
from trunkline.sharing.backbone import Backbone, UnitTable
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.units import units_before


def join_sites(plan: SharingPlan, backbone: Backbone) -> dict[str, float]:
    """Return, for each value at which a join stands or reads, how many units come before it, in order.

    A value inside a unit has part of the unit before it: so many of its nodes as have run.

    >>> from trunkline.ingest.read import read
    >>> from trunkline.sharing.join import Join, Read
    >>> from trunkline.sharing.layouts.plans import independent
    >>> backbone = Backbone(read("zoo:tiny"))
    >>> site = backbone.table("block").units[1].output
    >>> join = Join(name="mix", kind="mix", site=site, task="a", reads=(Read.column(site, "b"),))
    >>> join_sites(independent(backbone, ["a", "b"]).model_copy(update={"joins": (join,)}), backbone)
    {'stage1_block1_relu2': 2.0}
    """
    read = [one.at for join in plan.joins for one in join.taken.values() if one.at is not None]
    wanted = {*read, *(join.site for join in plan.joins)}
    if not wanted:
        return {}
    places = _places(backbone, backbone.table(plan.granularity))
    return dict(sorted(((value, places[value]) for value in wanted), key=lambda item: (item[1], item[0])))


def _places(backbone: Backbone, table: UnitTable) -> Mapping[str, float]:
    own = {name: index for index, unit in enumerate(table.units) for name in unit.nodes}
    before = units_before(backbone.graph, own)
    places: dict[str, float] = {name_of(backbone.graph.input): 0.0}
    for node in backbone.graph.nodes:
        name = name_of(node)
        if name in own:
            nodes = table.units[own[name]].nodes
            place = own[name] + (nodes.index(name) + 1) / len(nodes)
        else:
            place = float(max(before[name], default=-1) + 1)
        places.update((name_of(value), place) for value in node.outputs)
    return places
