"""Lowered models of the packaged small backbone, with generated scenes to train them on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.graph import Graph
from trunkline.supermodel.heads import make_head
from trunkline.supermodel.layouts import all_shared, independent, share_until
from trunkline.supermodel.lower import lower
from trunkline.supermodel.plan import SharingPlan
from trunkline.supermodel.twins.module import Twin
from trunkline.train.data.base import DataSets
from trunkline.train.data.scenes import Scenes
from trunkline.train.data.scenes.dataset import INFO
from trunkline.train.data.splits import split
from trunkline.train.feed import SplitData, split_data
from trunkline.train.model import TaskModel
from trunkline.train.phases import Phase
from trunkline.train.run_folder import open_run
from trunkline.train.runner import Outcome, Runner
from trunkline.train.tasks.base import Task, make_task

SIZE = (32, 48)


@cache
def backbone() -> Graph:
    return read_backbone("zoo:tiny", input_size=SIZE)


def tasks(names: Sequence[str]) -> list[Task]:
    return [make_task(name, name, INFO[name].channels) for name in names]


def plan(kind: str, names: Sequence[str]) -> SharingPlan:
    if kind == "trunk":  # shared at first, apart behind
        return share_until(backbone(), names, "3")
    return {"shared": all_shared, "independent": independent}[kind](backbone(), names)


def twin(sharing: SharingPlan, seed: int = 1) -> Twin:
    heads = {name: make_head("light", backbone(), INFO[name].channels) for name in sharing.tasks}
    return Twin(lower(sharing, backbone(), heads), seed=seed)


def data(names: Sequence[str], seed: int = 2) -> SplitData:
    parts = (Scenes(SIZE, count, seed, names, part) for part, count in (("train", 8), ("val", 2), ("test", 2)))
    return split_data(DataSets(*parts), split(8, seed), batch_size=2, seed=seed)


def trained(folder: Path, model: Twin, phase: Phase, source: SplitData | None = None, seed: int = 2) -> Outcome:
    names = model.output_names
    with open_run(folder, {}, seed=seed) as opened:
        return Runner(TaskModel(model), tasks(names), source or data(names), phase, opened, seed=seed).run()
