"""Independent columns in one Graph train as single models do, bit for bit: nothing couples them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lowered import plan, trained, twin

from trunkline.recipe import Move, Optimiser, Phase, Turn
from trunkline.train.run_folder.checkpoint_file import read_checkpoint
from trunkline.twins.components import Component, components_of
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.parity

TASKS = ("segmentation", "depth", "normals")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def phase(kind: str, *, joint: bool) -> Phase:
    """Steps that are clipped hard, and evaluated often: both must not look beyond a component."""
    turn = Turn(moves=(Move(optimiser=Optimiser(kind=kind, lr=0.02, weight_decay=1e-3)),), joint=joint)
    return Phase(steps=6, turns=(turn,), clip_norm=0.3, eval_every=1, best_by="relative", keep=1)


def column(model: Twin, index: int) -> dict[str, torch.Tensor]:
    """The weights of one task's column, in order and without their names: those say which column it is."""
    part = model.components()[index]
    return {name: tensor for name, tensor in model.weights().items() if name in part.weights}


@pytest.mark.parametrize(("kind", "joint"), [("adam", True), ("sgd", True), ("adam", False)])
def test_columns_train_as_single_models(kind: str, joint: bool, tmp_path: Path) -> None:
    """Weights, metrics and best steps of each column are those of a training of its own."""
    together = twin(plan("independent", TASKS))
    outcome = trained(tmp_path / "together", together, phase(kind, joint=joint))
    assert [part.tasks for part in together.components()] == [(task,) for task in TASKS]
    steps = {}
    for index, task in enumerate(TASKS):
        alone = twin(plan("independent", [task]))
        single = trained(tmp_path / task, alone, phase(kind, joint=joint))
        ours, theirs = list(column(together, index).values()), list(alone.weights().values())
        assert len(ours) == len(theirs)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), task
        assert outcome.metrics[task] == single.metrics[task]
        steps[task] = single.best[task].name
    assert {task: path.name for task, path in outcome.best.items()} == steps


def test_each_component_keeps_its_own_best(tmp_path: Path) -> None:
    """All best checkpoints are on the checkpoints, each with the evaluation that made it the best."""
    together = twin(plan("independent", TASKS))
    outcome = trained(tmp_path, together, phase("adam", joint=True))
    assert len(set(outcome.best.values())) > 1, "the case is too easy: all tasks are best at one step"
    for task, path in outcome.best.items():
        state = read_checkpoint(path).state
        assert state["best"][task]["step"] == state["step"]
    shared = trained(tmp_path / "shared", twin(plan("shared", TASKS)), phase("adam", joint=True))
    assert len(set(shared.best.values())) == 1


def test_components_follow_common_weights() -> None:
    """A chain of common weights joins tasks that have none in common."""
    reads = {"a": ["x", "y"], "b": ["p"], "c": ["z"], "d": ["y", "z"]}
    assert components_of(reads) == (Component(("a", "c", "d"), frozenset("xyz")), Component(("b",), frozenset("p")))
    trunk = twin(plan("trunk", TASKS)).components()
    assert [part.tasks for part in trunk] == [TASKS]
    assert trunk[0].name == "segmentation+depth+normals"
