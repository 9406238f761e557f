"""A policy that is drawn one-hot learns by a term alone: the losses have no gradient to it (REINFORCE).

The term is R · Σ log π(drawn), with R the sum of the losses it sees; its gradient by logits is R · (drawn − π).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch
from lowered import SIZE, backbone, data, tasks
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.fragments.heads.make_head import make_head
from trunkline.recipe import Moment, Move, Optimiser, Part, Turn
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.choices import ScoreFunction
from trunkline.supermodel.cost_term import cost_term
from trunkline.train.data.batches import Batch
from trunkline.train.labels.label_kind import LabelKind
from trunkline.train.loop.device import Compute
from trunkline.train.loop.optimisers import TurnOptimiser
from trunkline.train.loop.step import Stepper, StepValues
from trunkline.train.tasks.registry import task_kind

pytestmark = pytest.mark.properties

NAMES = ("segmentation", "depth")
WEIGHT = 0.5
SGD = Optimiser(kind="sgd", lr=1.0, momentum=0.0, weight_decay=0.0)
POLICY = Move(group="policy", optimiser=SGD)
WEIGHTS = Move(group="weights", optimiser=SGD)


class Reinforced(ChoiceModel):
    """Instances 0 and 1 of every block, drawn; terms: ``score``, ``cost`` and ``size`` (Σ w² of all weights)."""

    def __init__(self) -> None:
        heads = {name: make_head("light", backbone().graph, 13 if name == "segmentation" else 1) for name in NAMES}
        space = Space.over(backbone(), NAMES, "block", lambda unit, task: [Option(0), Option(task + 1)])
        super().__init__(space, heads, {"draw": ScoreFunction()}, seed=4)
        self.expected_cost = cost_term(space, heads, "macs")
        draw = torch.Generator().manual_seed(5)
        self.set_policy({name: torch.randn(g.shape, generator=draw) for name, g in self.groups_of_choices.items()})
        for group in self.groups().values():
            for parameter in group.values():
                parameter.requires_grad_(False)

    def terms(self, names: Sequence[str], losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        reward = sum((loss.detach() for loss in losses.values()), torch.zeros(()))
        made = {
            "score": lambda: reward * self.log_likelihood(),
            "cost": lambda: self.expected_cost(self.probabilities()).float(),
            "size": lambda: torch.stack([p.square().sum() for p in self.store.trainable().values()]).sum(),
        }
        return {name: made[name]() for name in names}


def turn_of(*moves: Move, joint: bool, terms: Sequence[str] = ("score",)) -> Turn:
    return Turn(moves=moves, joint=joint, terms=dict.fromkeys(terms, WEIGHT))


def batch_of(labelled: Sequence[str]) -> Batch:
    batch = data(NAMES).source(Part()).batch(0)
    for name in set(NAMES) - set(labelled):
        empty = torch.from_numpy(empty_label(name)).expand_as(batch.labels[name]).clone()
        labels, has = {**batch.labels, name: empty}, {**batch.labelled, name: (False,) * len(batch)}
        batch = replace(batch, labels=labels, labelled=has)
    return batch


@cache
def empty_label(task: str) -> object:
    kind: LabelKind = task_kind(task).label
    return kind.empty(SIZE)


def stepped(turn: Turn, labelled: Sequence[str] = NAMES, mode: str = "draw") -> tuple[Reinforced, StepValues]:
    """One step from no optimiser state."""
    model = Reinforced()
    model.train(True)
    optimiser = TurnOptimiser(turn, model)
    for parameter in optimiser.parameters.values():
        parameter.requires_grad_(True)
    model.at(Moment("search", mode, step=3))
    stepper = Stepper(model, tasks(NAMES), Compute())
    rates = {move.group: move.optimiser.lr for move in turn.moves}
    return model, stepper.step(turn, batch_of(labelled), optimiser, rates=rates, place="here")


def logits_of(model: ChoiceModel) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in zip(model.groups_of_choices, model.policies, strict=True)}


def drawn_minus_pi(task: str) -> Tensor:
    """∇ log π(drawn) by the logits of a task, written out."""
    model = Reinforced()
    model.at(Moment("search", "draw", step=3))
    drawn, pi = model.option_weights(task), torch.softmax(logits_of(model)[task], dim=-1)
    assert set(drawn.flatten().tolist()) == {0.0, 1.0}
    return drawn - pi


@pytest.mark.parametrize("labelled", [NAMES, NAMES[:1], NAMES[1:]])
@pytest.mark.parametrize("joint", [True, False])
def test_a_score_function_moves_a_drawn_policy(joint: bool, labelled: tuple[str, ...]) -> None:
    """By the formula, for the tasks with a label; a task without one keeps its policy."""
    model, values = stepped(turn_of(POLICY, joint=joint), labelled)
    assert set(values.losses) == set(labelled)
    before, after = logits_of(Reinforced()), logits_of(model)
    for task in NAMES:
        # Where tasks are stepped one by one, the term sees one loss.
        reward = sum(values.losses.values()) if joint else values.losses.get(task, 0.0)
        gradient = WEIGHT * reward * drawn_minus_pi(task) if task in labelled else torch.zeros_like(before[task])
        torch.testing.assert_close(after[task], before[task] - gradient, rtol=1e-4, atol=1e-6)
        assert torch.equal(after[task], before[task]) is (task not in labelled)


@pytest.mark.parametrize("labelled", [NAMES, NAMES[:1]])
@pytest.mark.parametrize("joint", [True, False])
def test_weights_and_a_drawn_policy_move_together(joint: bool, labelled: tuple[str, ...]) -> None:
    """One turn of both: the policy follows the term, and weights the losses alone."""
    both, values = stepped(turn_of(POLICY, WEIGHTS, joint=joint), labelled)
    alone, _ = stepped(turn_of(WEIGHTS, joint=joint, terms=()), labelled)
    for name, tensor in alone.store.trainable().items():
        assert torch.equal(both.store.trainable()[name], tensor), name
    before, after = logits_of(Reinforced()), logits_of(both)
    reward = sum(values.losses.values()) if joint else values.losses["segmentation"]
    expected = before["segmentation"] - WEIGHT * reward * drawn_minus_pi("segmentation")
    torch.testing.assert_close(after["segmentation"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("joint", [True, False])
def test_no_term_moves_absent_tasks_weights(joint: bool) -> None:
    """Neither an expected cost over all logits, nor a term over all weights; both move what the others use."""
    turn = turn_of(POLICY, WEIGHTS, joint=joint, terms=("cost", "size"))
    model, start = stepped(turn, NAMES[:1])[0], Reinforced()
    before, after = logits_of(start), logits_of(model)
    assert torch.equal(before["depth"], after["depth"])
    assert not torch.equal(before["segmentation"], after["segmentation"])
    weights, moved = start.store.trainable(), set()
    for name, tensor in model.store.trainable().items():
        if not torch.equal(tensor, weights[name]):
            moved.add(name)
    # Instance 1 is the segmentation's own, 2 that of depth.
    assert not {name for name in moved if "@2" in name or name.startswith("head.depth")}
    # Not only the instances that were drawn: the term knows of all that the task may use.
    own = {name for name in weights if name.endswith("weight@1")}
    assert own and own <= moved


@pytest.mark.abuse
def test_a_turn_that_nothing_moves_is_refused() -> None:
    """A drawn policy without a term has no gradient at all: a mistake in the settings."""
    for joint in (True, False):
        with pytest.raises(InvalidConfig, match="nothing of policy takes part"):
            stepped(turn_of(POLICY, joint=joint, terms=()))
    with pytest.raises(InvalidConfig, match="nothing of policy takes part"):
        stepped(turn_of(POLICY, joint=False, terms=("size",)))
