"""A task without a label in a batch does not move: neither by momentum nor by decay, and nothing of its state does."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from lowered import SIZE, backbone, data, plan, tasks, twin

from trunkline.fragments.heads.make_head import make_head
from trunkline.recipe import Moment, Move, Optimiser, Part, Turn
from trunkline.supermodel.methods.automtl import AutoMTLModel, AutoMTLOptions, space_of
from trunkline.train.data.base import NORMALISATION, Sample, TaskInfo
from trunkline.train.data.batches import Batch, collate
from trunkline.train.loop.device import Compute
from trunkline.train.loop.optimisers import TurnOptimiser
from trunkline.train.loop.step import Stepper, StepValues
from trunkline.train.loop.trainable import TaskModel, Trainable, parameter_group
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.registry import task_kind

pytestmark = pytest.mark.properties

NAMES = ("segmentation", "depth")
OPTIMISERS = {"adam": Optimiser(weight_decay=0.1), "sgd": Optimiser(kind="sgd", lr=0.1, weight_decay=0.1)}


def without(batch: Batch, task: str, samples: tuple[int, ...] = (0, 1)) -> Batch:
    """The batch as it is collated where some samples have no label for ``task``."""
    label = batch.labels[task].clone()
    label[list(samples)] = torch.from_numpy(task_kind(task).label.empty(SIZE))
    has = tuple(index not in samples for index in range(len(batch)))
    return replace(batch, labels={**batch.labels, task: label}, labelled={**batch.labelled, task: has})


class Training:
    """A model in the middle of its training: all optimiser state is there, and momentum points somewhere."""

    def __init__(self, model: Trainable, turn: Turn, *, which: tuple[str, ...] = NAMES) -> None:
        self.model, self.turn, self.batches = model, turn, data(NAMES).source(Part())
        self.optimiser = TurnOptimiser(turn, model, model.components())
        self.rates = {move.group: move.optimiser.lr for move in turn.moves}
        self.stepper = Stepper(model, tasks(which), Compute(), clip_norm=0.5)
        for number in range(2):
            self.step(self.batches.batch(number))

    def step(self, batch: Batch) -> StepValues:
        torch.manual_seed(0)
        self.model.train(True)
        self.model.at(Moment("train", "sample"))
        return self.stepper.step(self.turn, batch, self.optimiser, rates=self.rates, place="here")

    def state(self) -> dict[str, torch.Tensor]:
        """Weights, statistics, and all that the optimiser remembers."""
        state = {**self.model.state_dict(), **self.optimiser.state()}
        return {name: tensor.detach().clone() for name, tensor in state.items()}


def weights_turn(kind: str, *, joint: bool = True) -> Turn:
    return Turn(moves=(Move(optimiser=OPTIMISERS[kind]),), joint=joint)


def used(model: Trainable, task: str) -> set[str]:
    """The weights that a task's gradient reaches, and the statistics that its forward pass moves."""
    trial = copy.deepcopy(model)
    trial.twin.zero_grad()
    before = {name: tensor.clone() for name, tensor in trial.state_dict().items()}
    trial(torch.randn(2, 3, *SIZE), [task])[task].square().sum().backward()
    reached = {name for name, p in parameter_group(trial, "weights").items() if p.grad is not None}
    return reached | moved(before, trial.state_dict())


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("kind", OPTIMISERS)
@pytest.mark.parametrize("sharing", ["independent", "trunk"])
def test_an_absent_task_does_not_move(sharing: str, kind: str, joint: bool) -> None:
    """Neither its weights and statistics nor its optimisers' state; the others do."""
    training = Training(TaskModel(twin(plan(sharing, NAMES))), weights_turn(kind, joint=joint))
    before = training.state()
    values = training.step(without(training.batches.batch(2), "depth"))
    assert list(values.losses) == ["segmentation"]
    found = moved(before, training.state())
    alone = used(training.model, "depth") - used(training.model, "segmentation")
    assert any(name.endswith("weight") for name in alone) and any(name.endswith("mean") for name in alone)
    assert not {name for name in found if name.rpartition("/")[2] in alone}
    assert any(name.startswith("head.segmentation") for name in found)
    assert any("exp_avg" in name or "momentum" in name for name in found)


@pytest.mark.parametrize("joint", [True, False])
def test_others_step_without_the_absent_task(joint: bool) -> None:
    """With a shared trunk: the step is the one of a training that knows only the tasks with a label."""
    for which, other in ((NAMES[:1], "depth"), (NAMES[1:], "segmentation")):
        both = Training(TaskModel(twin(plan("trunk", NAMES))), Turn(joint=joint))
        alone = copy.deepcopy(both)
        alone.stepper = Stepper(alone.model, tasks(which), Compute(), clip_norm=0.5)
        batch = both.batches.batch(2)
        assert both.step(without(batch, other)).losses == alone.step(batch).losses
        assert not moved(alone.state(), both.state())


def test_a_batch_without_labels_moves_nothing() -> None:
    """Nor anything of the state."""
    for joint in (True, False):
        training = Training(TaskModel(twin(plan("shared", NAMES))), Turn(joint=joint))
        before = training.state()
        batch = without(without(training.batches.batch(2), "depth"), "segmentation")
        assert training.step(batch).losses == {}
        assert not moved(before, training.state())


def test_no_term_moves_an_absent_tasks_policy() -> None:
    """The regularisation speaks of all tasks; a task that the batch is silent about must not follow it."""
    heads = {name: make_head("light", backbone().graph, 13 if name == "segmentation" else 1) for name in NAMES}
    moves = (Move(group="policy", optimiser=OPTIMISERS["adam"]),)
    turn = Turn(moves=moves, terms={"regularization": 1.0, "cost": 1.0})
    options = AutoMTLOptions()
    training = Training(AutoMTLModel(space_of(backbone(), NAMES, options), heads, options, seed=0), turn)
    before = training.state()
    training.step(without(training.batches.batch(2), "depth"))
    found = moved(before, training.state())
    assert "policies.0" in found and "policy/exp_avg/policy.segmentation" in found
    assert "policies.1" not in found and "policy/exp_avg/policy.depth" not in found


def test_labelled_samples_make_the_loss() -> None:
    """As if the others were not in the batch."""
    for task in (*tasks(NAMES), *tasks(["normals", "edges", "keypoints"])):
        source = data(["segmentation", "depth", "normals", "edges", "keypoints"]).source(Part()).batch(0)
        output = torch.randn(2, task.channels, 8, 12, generator=torch.Generator().manual_seed(1))
        part = without(source, task.name, (0,))
        expected = task.loss(output[1:], source.labels[task.name][1:])
        assert torch.allclose(task.loss(output, part.labels[task.name]), expected, rtol=1e-6), task.name


def test_a_lost_label_moves_nothing() -> None:
    """One labelled pixel, and the output is so coarse that it falls between the positions that the loss looks at."""
    training = Training(TaskModel(twin(plan("independent", NAMES))), weights_turn("adam"))
    before = training.state()
    batch = without(training.batches.batch(2), "depth")
    batch.labels["depth"][0, 0, 1, 1] = 2.0
    values = training.step(replace(batch, labelled={}))
    assert list(values.losses) == ["segmentation"]
    parameters = {name for name in moved(before, training.state()) if "/" in name}
    assert parameters and not any("@1" in name or "head.depth" in name for name in parameters)


class HeadsApart(TaskModel):
    """A model whose group ``depth`` is used by that task alone; nothing else learns."""

    def groups(self) -> dict[str, dict[str, torch.nn.Parameter]]:
        groups: dict[str, dict[str, torch.nn.Parameter]] = {"depth": {}, "others": {}}
        for name, parameter in self.twin.trainable().items():
            group = "depth" if name.startswith("head.depth") else "others"
            groups[group][name] = parameter.requires_grad_(group == "depth")
        return groups


def test_turn_of_absent_task_moves_nothing() -> None:
    """A batch without the label of the only task that the turn moves is no error, and ends no training."""
    training = Training(HeadsApart(twin(plan("trunk", NAMES))), Turn(moves=(Move(group="depth"),)))
    before = training.state()
    values = training.step(without(training.batches.batch(2), "depth"))
    assert list(values.losses) == ["segmentation"]
    assert not {name for name in moved(before, training.state()) if name.startswith(("head.depth", "depth/"))}


class Sparse:
    """Two images: the second has no segmentation, and a depth map in which no pixel counts."""

    name, size, normalisation = "sparse", (2, 3), NORMALISATION
    tasks = {"segmentation": TaskInfo("segmentation", 4), "depth": TaskInfo("depth", 1)}

    def __len__(self) -> int:
        return 2

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        depth = np.full((1, 2, 3), 1 - index, np.float32)
        labels = {"depth": depth} if index else {"depth": depth, "segmentation": np.zeros((2, 3), np.int64)}
        return Sample(np.zeros((3, 2, 3), np.float32), labels)


def test_a_batch_says_who_has_labels() -> None:
    """By task and sample, on every device."""
    batch = collate(Sparse(), [1, 0], [None, None])
    assert batch.labelled == {"segmentation": (False, True), "depth": (False, True)}
    assert batch.has_label("depth") and batch.to("cpu").has_label("depth")
    alone = collate(Sparse(), [1], [None])
    assert not alone.has_label("depth") and not alone.has_label("segmentation")
    assert Batch(batch.image, batch.labels).has_label("depth")
    assert isinstance(tasks(["depth"])[0], Task)
