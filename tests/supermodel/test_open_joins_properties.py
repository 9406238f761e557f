"""Properties of joins whose reads are open: hard, soft and lowered agree, and likelihoods are those of the draws."""

from __future__ import annotations

import pytest
import torch
from method_work import THREE, image
from open_joins import TASKS, model_of, space_with

from trunkline.recipe import Moment
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.option import Option
from trunkline.supermodel.choice_groups import groups_of
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.choices import ScoreFunction
from trunkline.supermodel.policy_table import PolicyTable
from trunkline.supermodel.workload import workload
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties

SUFFIX = {"one": "joins", "each": "reads"}
"""What the groups of their choices are called."""


def decide(model: ChoiceModel, seed: int) -> None:
    """Let every choice be sure."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: group.shape for name, group in model.groups_of_choices.items()}
    logits = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    sure = {
        name: 1000 * (l.sign() if l.shape[-1] == 1 else torch.nn.functional.one_hot(l.argmax(-1), l.shape[-1]).float())
        for name, l in logits.items()
    }
    model.set_policy(sure)


@pytest.mark.parametrize("fragment", ["mix", "project"])
@pytest.mark.parametrize("kind", ["one", "each"])
@pytest.mark.parametrize("name", THREE)
def test_hard_reads_equal_the_lowered_graph(name: str, kind: str, fragment: str) -> None:
    """Softly with weights of 1 and 0, hard, and lowered with the reads that are taken."""
    space = space_with(name, kind, fragment=fragment)
    model = model_of(space)
    left_out = set()
    for seed in range(5):
        decide(model, seed)
        model.at(Moment("test", "argmax"))
        plan = space.plan(model.picks())
        left_out |= {join.left_out for join in plan.joins}
        lowered = lower(plan, space.backbone, {})
        twin = Twin(lowered.graph, seed=0).eval()
        twin.load_weights(model.weights(lowered))
        with torch.no_grad():
            found, wanted = model(image()), twin(image())
            model.at(Moment("test", "soft"))
            mixed = model(image())
        for task in TASKS:
            torch.testing.assert_close(found[task], wanted[task], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(mixed[task], wanted[task], rtol=1e-4, atol=1e-5)
    assert (len(left_out) > 2) == (kind == "each")


@pytest.mark.parametrize("kind", ["one", "each"])
def test_an_undecided_read_counts_in_part(kind: str) -> None:
    """The mixed value is the sum of the values, each times its probability."""
    model = model_of(space_with("chain", kind))
    model.at(Moment("test", "soft"))
    outputs = []
    for shift in (0.0, 0.5, 3.0):
        model.set_policy({n: torch.full(g.shape, shift) for n, g in model.groups_of_choices.items() if g.binary})
        if kind == "one":
            model.set_policy({n: torch.tensor([[shift, 0.0, 0.0]] * 2) for n in model.groups_of_choices})
        with torch.no_grad():
            outputs.append(model(image())["a"])
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[1], outputs[2])


def test_every_choice_of_reads_has_its_gradient() -> None:
    """A loss of one task reaches the choices of its own reads, and of those that its reads depend on."""
    model = model_of(space_with("residual", "each"))
    model.at(Moment("test", "soft"))
    model(image())["a"].square().sum().backward()
    found = dict(zip(model.groups_of_choices, model.policies, strict=True))
    assert set(found) == {f"{task}.reads" for task in TASKS}
    assert all(logits.grad is not None and float(logits.grad.abs().sum()) > 0 for logits in found.values())


def test_log_likelihood_is_of_what_is_drawn() -> None:
    """Σ log π of the options that a pass takes; its gradient is what REINFORCE multiplies by the reward."""
    model = model_of(space_with("chain", "one"), {"draw": ScoreFunction()})
    model.set_policy({n: torch.randn(g.shape) for n, g in model.groups_of_choices.items()})
    for step in range(4):
        model.at(Moment("test", "draw", step=step, of=4))
        picks = model.picks()
        expected = torch.zeros(())
        for name, group in model.groups_of_choices.items():
            rows = torch.log_softmax(model.policies[list(model.groups_of_choices).index(name)], -1)
            expected = expected + sum(rows[row, picks[choice]] for row, choice in enumerate(group.choices))
        likelihood = model.log_likelihood()
        torch.testing.assert_close(likelihood, expected)
        # Of each group by itself, they add up to it.
        parts = [model.log_likelihood([name]) for name in model.groups_of_choices]
        torch.testing.assert_close(sum(parts, torch.zeros(())), expected)
        ours = torch.autograd.grad(likelihood, list(model.policies))
        theirs = torch.autograd.grad(expected, list(model.policies))
        for mine, reference in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, reference)


@pytest.mark.parametrize("kind", ["one", "each"])
def test_join_may_be_named_like_unit(kind: str) -> None:
    """Who chooses is told by what it is, so neither pick is taken for the other's."""
    space = space_with("residual", kind, first="stem", options=[Option(0), Option(1)])
    assert len(set(space.choices)) == len(space.choices)
    groups = {choice: group.name for group in groups_of(space) for choice in group.choices}
    reads = [choice for join in space.joins for choice in join.choices]
    assert {groups[choice] for choice in reads} == {f"{task}.{SUFFIX[kind]}" for task in TASKS}
    assert {space.option_count(choice) for choice in reads} == {3 if kind == "one" else 2}
    assert PolicyTable(space).shape == (3, 3, 2)
    picks = {choice: int(choice in reads) for choice in space.choices}
    plan = space.plan(picks)
    assert plan.units["stem"] == dict.fromkeys(TASKS, 0)
    taken = plan.joins[0].taken.values()
    assert [read.task for read in taken] == (["b"] if kind == "one" else ["a", "b", "c"])
    model = model_of(space)
    model.reset_statistics()  # columns that share read one set once their choices are made
    decide(model, 4)
    model.at(Moment("test", "argmax"))
    with torch.no_grad():
        found = model(image())
        model.at(Moment("test", "soft"))
        mixed = model(image())
    for task in TASKS:
        torch.testing.assert_close(mixed[task], found[task], rtol=1e-4, atol=1e-5)


def test_costs_behind_joins_are_refused() -> None:
    """What is equal behind a join is not known before it is lowered; a wrong number would be worse than none."""
    with pytest.raises(ValueError, match="behind a join"):
        workload(space_with("chain", "one"), {})
