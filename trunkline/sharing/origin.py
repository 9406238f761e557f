"""Where each weight of a multi-task model comes from. This decides which weights are one; a name never does.

Backbones come with names of any kind: ``head.a.conv1.weight``, or the ``conv1.weight@1`` of a file that Trunkline
wrote itself. So the supermodel and the lowered Graph know their weights by origin, and give out names afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackboneWeight:
    """A weight, running statistic or constant of the backbone, or a copy of it.

    Attributes:
        name: What the backbone calls it.
        instance: 0 for the backbone's own, k for copy k.
        column: Where every input has a set of its own (running statistics, and all weights of an untied plan): a
            task that has this input. Empty where one set serves every input.
    """

    name: str
    instance: int = 0
    column: str = ""


@dataclass(frozen=True, slots=True)
class SkipWeight:
    """The projection that ``task`` runs where it skips ``unit``."""

    unit: str
    task: str


@dataclass(frozen=True, slots=True)
class HeadWeight:
    """What the head of ``task`` calls ``name``."""

    task: str
    name: str


Origin = BackboneWeight | SkipWeight | HeadWeight


def wanted_name(origin: Origin) -> str:
    """Return what a weight is called, if nothing else has the name."""
    match origin:
        case HeadWeight(task, name):
            return head_name(task, name)
        case SkipWeight(unit, task):
            return f"{unit}.skip.weight@{task}"
        case BackboneWeight(name, instance, column):
            numbered = f"{name}@{instance}" if instance else name
            return f"{numbered}~{column}" if column else numbered


def head_name(task: str, name: str) -> str:
    """Return the name that a head's node, value or weight wants in the multi-task model."""
    return f"head.{task}.{name}"


def drawn_as(origin: Origin, task: str) -> str:
    """Return what a weight is drawn as: copies of one task start alike, whatever the number of their instance.

    Args:
        origin: The weight.
        task: The task that owns it; of several the first, in the order of the outputs. So what tasks share starts as
            the first of them starts when it is trained alone.
    """
    match origin:
        case HeadWeight(_, name):
            return f"head/{name}/{task}"
        case SkipWeight(unit, _):
            return f"skip/{unit}/{task}"
        case BackboneWeight(name):
            return f"backbone/{name}/{task}"
