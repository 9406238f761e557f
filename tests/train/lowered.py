"""Lowered models of the packaged small backbone, with generated scenes to train them on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from trunkline.fragments.heads.make_head import make_head
from trunkline.ingest.backbone import read_backbone
from trunkline.recipe import Phase
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import all_shared, independent, share_until
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.train.data.base import DataSets
from trunkline.train.data.sets.scenes import Scenes
from trunkline.train.data.sets.scenes.dataset import INFO
from trunkline.train.loop.batch_feed import SplitData, split_data
from trunkline.train.loop.runner import Outcome, Runner
from trunkline.train.loop.trainable import TaskModel
from trunkline.train.run_folder.run_folder import open_run
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.registry import make_task
from trunkline.twins.twin import Twin

SIZE = (32, 48)


@cache
def backbone() -> Backbone:
    return Backbone(read_backbone("zoo:tiny", input_size=SIZE))


def tasks(names: Sequence[str]) -> list[Task]:
    return [make_task(name, name, INFO[name].channels) for name in names]


def plan(kind: str, names: Sequence[str]) -> SharingPlan:
    if kind == "trunk":  # shared at first, apart behind
        return share_until(backbone(), names, "3")
    return {"shared": all_shared, "independent": independent}[kind](backbone(), names)


def twin(sharing: SharingPlan, seed: int = 1) -> Twin:
    heads = {name: make_head("light", backbone().graph, INFO[name].channels) for name in sharing.tasks}
    return Twin(lower(sharing, backbone(), heads).graph, seed=seed)


def data(names: Sequence[str], seed: int = 2) -> SplitData:
    parts = (Scenes(SIZE, count, seed, names, part) for part, count in (("train", 8), ("val", 2), ("test", 2)))
    return split_data(DataSets(*parts), batch_size=2, seed=seed)


def trained(folder: Path, model: Twin, phase: Phase, source: SplitData | None = None, seed: int = 2) -> Outcome:
    names = model.output_names
    with open_run(folder, {}, seed=seed) as opened:
        return Runner(TaskModel(model), tasks(names), source or data(names), phase, opened, seed=seed).run()
