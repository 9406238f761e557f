"""AutoMTL's two phases on its real supermodel, with real scenes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from runner_fakes import Stop, digests

from trunkline.errors import InvalidConfig
from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph
from trunkline.recipe import Moment, Optimiser, Phase
from trunkline.sharing.backbone import Backbone
from trunkline.supermodel.methods.automtl import AutoMTL, AutoMTLModel, AutoMTLOptions
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.work import Found, Metrics
from trunkline.train.data.base import DataSets
from trunkline.train.data.sets.scenes import Scenes
from trunkline.train.loop.batch_feed import split_data
from trunkline.train.loop.interrupt import Interrupted
from trunkline.train.loop.runner import Outcome, Runner
from trunkline.train.run_folder.run_folder import open_run
from trunkline.train.tasks.base import Task
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


class RunFolderWork:
    """As much of a method's work as AutoMTL asks for: training its supermodel in a folder."""

    def __init__(self, folder: Path, scenes: DataSets, tasks: Sequence[Task], stop: Stop | None) -> None:
        self.folder, self.tasks, self.stop = folder, tasks, stop
        self.source = split_data(scenes, batch_size=2, seed=2)
        self.outcomes: list[Outcome] = []
        self.model: AutoMTLModel

    def fit(self, name: str, model: AutoMTLModel, phases: Sequence[Phase]) -> Metrics:
        self.model = model
        with open_run(self.folder, {}, seed=2) as opened:
            for phase in phases:
                progress = self.stop if phase.name == "policy" else None
                runner = Runner(model, self.tasks, self.source, phase, opened, seed=2, progress=progress)
                self.outcomes.append(runner.run())
        return self.outcomes[-1].metrics


def session(folder: Path, stop: Stop | None = None, **options: object) -> tuple[RunFolderWork, Found]:
    torch.set_num_threads(1)
    train, val, test = (Scenes(length=n, size=(32, 32), split=s) for n, s in ((8, "train"), (2, "val"), (2, "test")))
    scenes = DataSets(train, val, test)
    infos = {name: scenes.train.tasks[name] for name in ("segmentation", "depth")}
    tasks = [make_task(name, info.kind, info.channels, **info.options) for name, info in infos.items()]
    graph = backbone()
    setup = Setup(
        backbone=Backbone(graph),
        heads={name: make_head("light", graph, info.channels) for name, info in infos.items()},
        tasks=tuple(infos),
        kinds={name: info.kind for name, info in infos.items()},
        seed=2,
        phase=Phase(steps=1, checkpoint_every=3, log_every=1),
        steps_an_epoch=4,
    )
    chosen = {"steps": (2, 7), "alternate": (2, 2), "policy_optimiser": Optimiser(lr=0.1, weight_decay=5e-4)}
    work = RunFolderWork(folder, scenes, tasks, stop)
    return work, AutoMTL(setup, AutoMTLOptions.model_validate({**chosen, **options})).find(work)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A session computes with one thread."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_search_resumes_bit_exact(tmp_path: Path) -> None:
    """Both groups have moved, and the plan is the one of an uninterrupted search."""
    whole, found = session(tmp_path / "whole")
    with pytest.raises(Interrupted):
        session(tmp_path / "parts", Stop(5, lambda: signal.raise_signal(signal.SIGINT)))
    parts, again = session(tmp_path / "parts")
    assert [outcome.resumed_from for outcome in parts.outcomes] == [2, 5]
    assert digests(parts.outcomes[-1].checkpoint) == digests(whole.outcomes[-1].checkpoint)
    assert sum(policy.detach().abs().sum() for policy in whole.model.policies) > 0
    assert set(whole.outcomes[-1].metrics) == {"segmentation", "depth"}
    assert found.plan == again.plan
    assert np.array_equal(found.policy.probabilities, again.policy.probabilities)
    assert found.steps == 2 + 3  # pre-training, and weights in steps 3, 4 and 7 of policy training


@pytest.mark.abuse
def test_supermodels_refuse_unknown_modes_and_terms(tmp_path: Path) -> None:
    """With a guess, as the runner's check passes on before anything is written."""
    model = session(tmp_path)[0].model
    with pytest.raises(InvalidConfig, match=r'no mode "smaple"\n  did you mean "sample"'):
        model.at(Moment("policy", "smaple"))
    with pytest.raises(InvalidConfig, match=r'no loss term "regularisation"\n  did you mean "regularization"'):
        model.terms(["regularisation"], {})
