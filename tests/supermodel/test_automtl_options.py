"""Every option of AutoMTL changes what it says, seen from outside."""

from __future__ import annotations

import pytest
import torch
from automtl_model import OWN, SHARED, AutoMTL, AutoMTLOptions
from backbones import residual
from plans import TASKS, light_heads
from pydantic import ValidationError

from trunkline.recipe import Phase
from trunkline.sharing.backbone import Backbone
from trunkline.supermodel.methods.automtl import AutoMTL as Method
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.temperature import Decay

pytestmark = pytest.mark.golden

IMAGE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def make(seed: int = 1, **options: object) -> AutoMTL:
    """A model whose policy is the same for every seed, and not uniform."""
    backbone = residual()
    model = AutoMTL(backbone, light_heads(backbone), TASKS, AutoMTLOptions(**options), seed=seed)
    logits = torch.randn((len(model.units), len(TASKS), 3), generator=torch.Generator().manual_seed(2))
    model.set_logits(logits[..., : model.distribution().shape[-1]])
    return model


def sampled(model: AutoMTL, step: int = 3, task: int = 0, stream: str = "forward") -> torch.Tensor:
    model.mode("sample", step)
    return model.p(task, stream=stream).detach()


def sharpness(p: torch.Tensor) -> float:
    return float(p.max(dim=-1).values.mean())


def test_a_start_may_prefer_sharing() -> None:
    backbone = residual()
    p = AutoMTL(backbone, {}, TASKS, AutoMTLOptions(prefer_shared=2.0)).distribution().detach()
    assert p[0, 0, SHARED] / p[0, 0, OWN] == pytest.approx(torch.e**2, rel=1e-5)
    p = AutoMTL(backbone, {}, TASKS).distribution().detach()
    assert p[0, 0, SHARED] == p[0, 0, OWN]


def test_without_skips_none_is_taken() -> None:
    model = make(skip=False)
    assert model.distribution().shape[-1] == 2
    assert not any(name.partition("@")[0].endswith(".skip") for name in model.weight_parameters())
    assert all(choice != "skip" for row in model.decide().units.values() for choice in row.values())
    assert any(choice == "skip" for row in make().decide().units.values() for choice in row.values())


def test_a_sample_may_be_straight_through() -> None:
    """One-hot forward, with the gradient of the soft sample."""
    hard, soft = make(straight_through=True), make()
    torch.testing.assert_close(sampled(hard).max(dim=-1).values, torch.ones(len(hard.units)))
    assert sampled(hard).min() == 0
    assert torch.equal(sampled(hard).argmax(-1), sampled(soft).argmax(-1))
    assert sharpness(sampled(soft)) < 0.9
    gradients = []
    for model in (hard, soft):
        model.mode("sample", 3)
        model.p(0)[:, SHARED].sum().backward()
        gradients.append(model.policies[0].grad)
    torch.testing.assert_close(*gradients)


def test_the_temperature_falls_as_it_is_told() -> None:
    """A cold sample is nearly one-hot; the temperature in use is logged, and no other mode has one."""
    model = make(temperature=Decay(start=4.0, decay=0.5, every=10, floor=0.25))
    for step, temperature in ((0, 4.0), (9, 4.0), (10, 2.0), (35, 0.5), (1000, 0.25)):
        assert model.mode("sample", step) == {"temperature": temperature}
    assert model.mode("soft") == {}
    warm, cold = (
        torch.cat([sampled(model, step, t) for step in steps for t in range(3)]) for steps in ((0, 1), (50, 51))
    )
    assert sharpness(cold) > sharpness(warm) + 0.2


def test_noise_differs_by_everything_named() -> None:
    """By task, step, stream and seed."""
    model = make()
    model.set_logits(torch.zeros(len(model.units), len(TASKS), 3))
    base = sampled(model)
    assert torch.equal(base, sampled(model))
    for other in (sampled(model, task=1), sampled(model, step=4), sampled(model, stream="second")):
        assert not torch.isclose(other, base).all(dim=-1).any()
    model.seed = 9
    assert not torch.isclose(sampled(model), base).all(dim=-1).any()


def test_a_seed_draws_weights_and_noise() -> None:
    first, again, other = make(seed=1), make(seed=1), make(seed=2)
    for equal, model in ((True, again), (False, other)):
        assert torch.equal(sampled(first), sampled(model)) is equal
        mine, theirs = first.weight_parameters(), model.weight_parameters()
        for name in ("stem.weight", "stem.skip.weight@depth"):
            assert torch.equal(mine[name], theirs[name]) is equal


def test_normalisation_may_be_each_tasks_own() -> None:
    """It is in the plan, and in what the search runs: tasks that share everything have different outputs."""
    backbone = residual()
    same = {}
    for batchnorm in ("tied", "task"):
        model = AutoMTL(backbone, {}, TASKS, AutoMTLOptions(batchnorm=batchnorm)).eval()
        plan = model.decide()
        assert plan.batchnorm == batchnorm
        with torch.no_grad():
            for name, tensor in model.store.weights().items():
                if name.endswith("_bn.scale@2"):
                    tensor.mul_(3)
        model.mode("argmax")
        outputs = model(IMAGE)
        same[batchnorm] = torch.equal(outputs["depth"], outputs["normals"])
    assert same == {"tied": True, "task": False}


def test_both_ways_of_mixing_agree() -> None:
    """They compute the same sums in another order."""
    by_weight, by_output = (make(mixing=mixing).eval() for mixing in ("weight", "output"))
    for model in (by_weight, by_output):
        model.mode("average")
    for task, value in by_weight(IMAGE).items():
        other = by_output(IMAGE)[task]
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-5)
        assert not torch.equal(value, other)


class Untrained:
    """Work that trains nothing, so that a method decides by what it started with."""

    def fit(self, name: str, model: AutoMTL, phases: object) -> dict[str, object]:
        return {}


def test_policy_names_options_units_and_tasks() -> None:
    backbone = Backbone(residual())
    setup = Setup(backbone, {}, TASKS, dict.fromkeys(TASKS, "depth"), 1, Phase(steps=1), 1)
    found = Method(setup, AutoMTLOptions(prefer_shared=1.0)).find(Untrained())
    content = found.policy.to_json(found.plan.method)
    assert (content["method"], content["options"]) == ("automtl", ["shared", "own", "skip"])
    assert content["units"] == list(backbone.table("operator").names)
    assert content["tasks"] == list(TASKS)
    p = torch.tensor(content["probabilities"])
    assert p.shape == (len(content["units"]), len(TASKS), 3)
    torch.testing.assert_close(p.sum(-1), torch.ones(p.shape[:2]))
    assert (p[..., SHARED] > p[..., OWN]).all()


def test_pre_training_may_be_left_out() -> None:
    """Nothing of it is run then; the policy's training is the same."""
    backbone = residual()
    setup = Setup(Backbone(backbone), light_heads(backbone), TASKS, dict.fromkeys(TASKS, "depth"), 3, Phase(steps=4), 4)
    whole, without = (Method(setup, AutoMTLOptions(steps=steps)).phases() for steps in ((5, 7), (0, 7)))
    assert [(phase.name, phase.steps) for phase in whole] == [("pre", 5), ("policy", 7)]
    assert list(without) == [whole[1]]
    with pytest.raises(ValidationError, match="steps"):
        AutoMTLOptions(steps=(0, 0))


def test_without_the_regularisation_the_policy_pays_nothing() -> None:
    """λ_reg = 0, as cost has no weight either."""
    backbone = residual()
    setup = Setup(Backbone(backbone), light_heads(backbone), TASKS, dict.fromkeys(TASKS, "depth"), 3, Phase(steps=4), 4)
    turns = Method(setup, AutoMTLOptions(regularization=0.0)).phases()[1].turns
    assert [sum(turn.terms.values()) for turn in turns] == [0.0, 0.0]
