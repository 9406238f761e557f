"""Lower a sharing plan to a multi-task Graph in which everything equal is computed once.

First all columns walk the backbone side by side and ask for their computations in a value numbering
(:mod:`~trunkline.sharing.lowering.walk`); then the cells that are left are written as a Graph
(:mod:`~trunkline.sharing.lowering.emission`). Names say who uses what: a node that serves all tasks keeps its name, a
copy carries its tasks (``conv4@depth+normals``), weight instance k is ``conv4.weight@k``, a head's nodes start with
``head.<task>.``, a join's with ``join.<owner>.``. Nothing is ever read off a name: the Graph's metadata gives the owner
of a node, and ``origin`` the source of a weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trunkline.fragments.taps import check_heads
from trunkline.graph.graph import HEAD, JOIN, Graph
from trunkline.graph.verify import verify
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join_check import fragments_of
from trunkline.sharing.lowering.emission import Emission
from trunkline.sharing.lowering.walk import Walk
from trunkline.sharing.origin import Leading, Origin
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.space import Space


@dataclass(frozen=True, slots=True)
class Lowered:
    """A multi-task model.

    Attributes:
        graph: The model; its outputs are named after the tasks, in the plan's order.
        origin: Where each parameter and each running statistic of the Graph comes from, by its name there.
        columns: What the Graph calls a value of the backbone in the column of a task, by task and the backbone's name.
            What a task skips, or no head needs, is not there.
    """

    graph: Graph
    origin: Mapping[str, Origin | Leading]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def lower(plan: SharingPlan, backbone: Graph | Backbone, heads: Mapping[str, Graph]) -> Lowered:
    """Return the multi-task model of ``plan``.

    Args:
        plan: What each task runs at each unit.
        backbone: A Graph whose outputs are the feature maps that the heads read, the last one last. To lower several
            plans, keep one :class:`~trunkline.sharing.backbone.Backbone`, so that nothing about it is found twice.
        heads: A head for each task; a task without one outputs the last feature map itself.

    Raises:
        InvalidConfig: The plan does not fit the backbone, or a head is for no task of the plan.

    Two tasks that share the first block; behind it, each has weights of its own:

    >>> from trunkline.ingest.read import read
    >>> from trunkline.sharing.layouts.plans import all_shared, share_until
    >>> backbone = Backbone(read("zoo:tiny"))
    >>> lowered = lower(share_until(backbone, ["depth", "seg"], "conv1"), backbone, {})
    >>> [value.name for value in lowered.graph.outputs]
    ['depth', 'seg']
    >>> lowered.origin["conv1.weight"], lowered.origin["stage1_block1_conv1.weight@1"].instance
    (BackboneWeight(name='conv1.weight', instance=0, column='depth', channels=0, narrow=False, unit_instance=0), 1)
    """
    backbone = Backbone.of(backbone)
    check_heads(plan.tasks, heads, backbone.graph)
    return lower_space(Space.of_plan(plan, backbone), heads)


def lower_space(space: Space, heads: Mapping[str, Graph]) -> Lowered:
    """Return the multi-task model of a space in which nothing is open; it and the heads are checked already."""
    joins = fragments_of(tuple(join.join for join in space.joins), space.backbone)
    walk = Walk(space, heads, joins)
    outputs = walk.run()
    fragments = {(HEAD, task): head for task, head in heads.items()}
    fragments |= {(JOIN, owner): made for owner, made in joins.items()}
    emission = Emission(space.backbone, space.table, fragments)
    graph = verify(emission.graph(walk.numbering, outputs))
    columns = {task: emission.names(values) for task, values in walk.columns.items()}
    return Lowered(graph, emission.origin, columns)
