"""AutoMTL's two phases on its real supermodel, with real scenes."""

from __future__ import annotations

import signal

import pytest
import torch
from runner_fakes import Stop, digests
from trunkline.train.schedule.presets import preset, search_phases

from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph
from trunkline.recipe import Phase
from trunkline.supermodel.methods.automtl import AutoMTL
from trunkline.train.data.base import DataSets
from trunkline.train.data.sets.scenes import Scenes
from trunkline.train.data.splits import split
from trunkline.train.loop.batch_feed import split_data
from trunkline.train.loop.interrupt import Interrupted
from trunkline.train.loop.runner import Outcome, Runner
from trunkline.train.loop.trainable import Trainable
from trunkline.train.run_folder.run_folder import open_run
from trunkline.train.tasks.registry import make_task

pytestmark = pytest.mark.properties


def backbone() -> Graph:
    build = GraphBuilder("two")
    x = build.image("image", (3, 32, 32))
    for index, (inputs, stride) in enumerate([(3, 2), (4, 1)]):
        weight = build.weight(f"conv{index}.weight", (4, inputs, 3, 3), Filler())
        settings = {"kernel_shape": [3, 3], "strides": [stride] * 2, "pads": [1] * 4, "dilations": [1, 1], "group": 1}
        x = build.node("Conv", [x, weight], name=f"conv{index}", attributes=settings)
        x = build.node("Relu", [x], name=f"relu{index}")
    return build.finish([x])


def phases() -> list[Phase]:
    pre, search = search_phases(preset("demo"))
    turns = tuple(turn.model_copy(update={"steps": 2}) for turn in search.turns)
    small = {"eval_every": None, "checkpoint_every": 3, "log_every": 1}
    return [
        pre.model_copy(update={"steps": 2, **small}),
        search.model_copy(update={"steps": 7, "turns": turns, **small}),
    ]


def session(folder, stop: Stop | None = None) -> tuple[AutoMTL, Outcome]:
    torch.set_num_threads(1)
    train, val, test = (Scenes(length=n, size=(32, 32), split=s) for n, s in ((8, "train"), (2, "val"), (2, "test")))
    scenes = DataSets(train, val, test)
    infos = {name: scenes.train.tasks[name] for name in ("segmentation", "depth")}
    tasks = [make_task(name, info.kind, info.channels, **info.options) for name, info in infos.items()]
    graph = backbone()
    heads = {name: make_head("light", graph, info.channels) for name, info in infos.items()}
    model = AutoMTL(graph, heads, list(infos), seed=2)
    trainable: Trainable = model
    source = split_data(scenes, split(8, 2), batch_size=2, seed=2)
    with open_run(folder, {}, seed=2) as opened:
        for phase in phases():
            progress = stop if phase.name == "policy" else None
            outcome = Runner(trainable, tasks, source, phase, opened, seed=2, progress=progress).run()
    return model, outcome


def test_integration_search_resumes_bit_exact_and_moves_both_groups(tmp_path):
    threads = torch.get_num_threads()
    try:
        model, whole = session(tmp_path / "whole")
        with pytest.raises(Interrupted):
            session(tmp_path / "parts", Stop(5, lambda: signal.raise_signal(signal.SIGINT)))
        _, parts = session(tmp_path / "parts")
    finally:
        torch.set_num_threads(threads)
    assert parts.resumed_from == 5
    assert digests(parts.checkpoint) == digests(whole.checkpoint)
    assert sum(policy.detach().abs().sum() for policy in model.policies) > 0
    assert set(whole.metrics) == {"segmentation", "depth"}
