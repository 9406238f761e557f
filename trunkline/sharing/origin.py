"""Where each weight of a multi-task model comes from. This decides which weights are one; a name never does.

Backbones come with names of any kind: ``head.a.conv1.weight``, or the ``conv1.weight@1`` of a file that Trunkline
wrote itself. So the supermodel and the lowered Graph know their weights by origin, and give out names afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.graph.graph import HEAD


@dataclass(frozen=True, slots=True)
class BackboneWeight:
    """A weight, running statistic or constant of the backbone, or a copy of it.

    Attributes:
        name: What the backbone calls it.
        instance: 0 for the backbone's own, k for copy k.
        column: A task that has this input, where every input has a set of its own: running statistics, and all weights
            of an untied plan. Empty where one set serves every input.
        channels: Of a running statistic, how many channels the view has that makes its input; 0 where no view does.
        narrow: Whether the statistic describes these leading channels only. Behind the view's map it has all of them.
        unit_instance: Of a running statistic, the instance of the block that makes its input, where the normalisation
            has an instance of its task's. Its name does not show it: in a plan each task has one of them.
    """

    name: str
    instance: int = 0
    column: str = ""
    channels: int = 0
    narrow: bool = False
    unit_instance: int = 0


@dataclass(frozen=True, slots=True)
class SkipWeight:
    """The projection that ``task`` runs where it skips ``unit``."""

    unit: str
    task: str


@dataclass(frozen=True, slots=True)
class FragmentWeight:
    """A weight of a head or of a join.

    Attributes:
        part: ``head`` or ``join``.
        owner: The head's task, or the join's owner.
        name: What the fragment calls it.
        join: Of a running statistic of a join: the first join that has this input. Empty otherwise.
    """

    part: str
    owner: str
    name: str
    join: str = ""


Origin = BackboneWeight | SkipWeight | FragmentWeight


@dataclass(frozen=True, slots=True)
class Leading:
    """The first ``size`` slices of a stored tensor along an axis: what a channel view reads of it."""

    weight: Origin
    axis: int
    size: int


def wanted_name(origin: Origin) -> str:
    """Return what a weight is called, if nothing else has the name.

    >>> wanted_name(BackboneWeight("conv4.weight", 2)), wanted_name(BackboneWeight("conv4_bn.mean", 0, "depth"))
    ('conv4.weight@2', 'conv4_bn.mean~depth')
    """
    match origin:
        case FragmentWeight(part, owner, name, join):
            own = fragment_name(part, owner, name)
            return f"{own}~{join}" if join else own
        case SkipWeight(unit, task):
            return f"{unit}.skip.weight@{task}"
        case BackboneWeight(name, instance, column, channels):
            # Instance 0 keeps the backbone's name, so that weights files of the backbone fit it.
            numbered = f"{name}@{instance}" if instance else name
            viewed = f"{numbered}:{channels}" if channels else numbered
            return f"{viewed}~{column}" if column else viewed


def fragment_name(part: str, owner: str, name: str) -> str:
    """Return the name that a fragment's node, value or weight wants in the multi-task model."""
    return f"{part}.{owner}.{name}"


def drawn_as(origin: Origin, task: str) -> str:
    """Return what a weight is drawn as: copies of one task start the same, whatever the number of their instance.

    Args:
        origin: The weight.
        task: The task that owns it; of several the first, in the order of the outputs. So what tasks share starts as
            the first of them starts when it is trained alone.
    """
    # By task, not by instance: task k's column is instance k of an independent model and k + 1 of a searched one, and
    # would start elsewhere with one seed, so that a comparison would be unpaired.
    match origin:
        case FragmentWeight(part, _, name) if part == HEAD:
            return f"head/{name}/{task}"
        case FragmentWeight(part, owner, name):
            # By owner: joins stand between tasks, and those of one task may differ.
            return f"{part}/{owner}/{name}"
        case SkipWeight(unit, _):
            return f"skip/{unit}/{task}"
        case BackboneWeight(name):
            return f"backbone/{name}/{task}"
