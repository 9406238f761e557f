"""How the weights of a multi-task model are called, in the supermodel, the lowered Graph and every file."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.ingest.parameters import role_of


def instance_name(name: str, instance: int) -> str:
    """Return the name of weight ``name``'s instance; instance 0 keeps the name."""
    return name if instance == 0 else f"{name}@{instance}"


def skip_weight_name(unit: str, instance: int) -> str:
    """Return the name of the projection that a task runs where it skips ``unit``."""
    return instance_name(f"{unit}.skip", instance)


def head_name(task: str, name: str) -> str:
    """Return the name of a head's node or weight in the multi-task model."""
    return f"head.{task}.{name}"


def drawn_as(part: str, name: str, task: str) -> str:
    """Return what an instance of weight ``name`` is drawn as: instances of one task start alike, whatever their number.

    Args:
        part: ``backbone`` or ``head``.
        name: In the backbone or head, before any instance.
        task: The task that owns the instance; of several the first, in the order of the outputs. So what tasks share
            starts as the first of them starts when it is trained alone.
    """
    return f"{part}/{name}/{task}"


def is_instanced(value: ir.Value | None) -> bool:
    """Whether tasks may hold their own copy of an initializer (weights and running statistics)."""
    return value is not None and value.is_initializer() and role_of(value) in ("parameter", "statistic")
