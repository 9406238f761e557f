"""Spaces of columns with joins whose reads are open, and supermodels of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from backbones import BACKBONES

from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.choices import Relaxation

TASKS = ("a", "b", "c")


def space_with(
    name: str, kind: str, *, first: str = "", options: Sequence[Option] = (), fragment: str = "mix"
) -> Space:
    """Columns apart; at two sites every task may read every column: one of them, or any besides its own.

    Args:
        name: Of the backbone.
        kind: What is open about the joins.
        first: What the first join is called.
        options: Of every unit; an instance of each task's own if there are none.
        fragment: Kind of the joins.
    """
    backbone = Backbone(BACKBONES[name]())
    joins = []
    for number, unit in enumerate(backbone.table("block").units[-2:]):
        for task in TASKS:
            own_first = [task, *(other for other in TASKS if other != task)]
            starts = [0.5, 0.25, 0.125] if kind == "each" else [0.5]
            join = Join(
                name=f"{task}.{number}" if joins or not first else first,
                kind=fragment,
                settings={"starts": starts},
                site=unit.output,
                task=task,
                reads=tuple(Read.column(unit.output, other) for other in own_first),
            )
            joins.append(OpenJoin(join, kind))  # type: ignore[arg-type]  # a parametrised literal
    return Space.over(backbone, TASKS, "block", lambda unit, task: options or [Option(task)], joins=tuple(joins))


def model_of(space: Space, modes: Mapping[str, Relaxation] | None = None) -> ChoiceModel:
    model = ChoiceModel(space, {}, modes or {}, seed=3).eval()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for tensor in model.store.weights().values():
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    return model
