"""AutoMTL's formulas against their text, and the decisions that follow from a learned distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from automtl_model import AutoMTL, AutoMTLOptions
from backbones import BACKBONES
from backbones import unit as unit_of
from plans import TASKS, light_heads

from trunkline.errors import InvalidConfig
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.roles import is_parameter
from trunkline.recipe import Moment
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.origin import BackboneWeight
from trunkline.supermodel.choices import Argmax, Average, Draw, Gumbel, gumbel_noise
from trunkline.supermodel.temperature import Decay, Linear
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden

ALL = torch.ones(2, 3, dtype=torch.bool)


def draw(logits: torch.Tensor, allowed: torch.Tensor | None = None, *, step: int = 0, seed: int = 0) -> Draw:
    """Return what a relaxation is given at a step."""
    mask = torch.ones(logits.shape, dtype=torch.bool) if allowed is None else allowed
    return Draw(logits, mask, Moment("p", "sample", step=step, of=100), seed, "x", "forward")


def make(**options: object) -> AutoMTL:
    backbone = BACKBONES["residual"]()
    model = AutoMTL(backbone, light_heads(backbone), TASKS, AutoMTLOptions(**options), seed=1)
    shape = (len(model.units), len(TASKS), 3)
    model.set_logits(torch.randn(shape, generator=torch.Generator().manual_seed(2)))
    return model


def test_equation_1_written_out() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    noise = gumbel_noise((2, 3), seed=0, step=0, stream_name="gumbel/p/forward/x")
    tau = 0.7
    found = Gumbel(Decay(start=tau))(draw(logits))
    for row in range(2):
        pi = [math.exp(v) / sum(math.exp(w) for w in logits[row]) for v in logits[row]]
        e = [math.exp((g + math.log(q)) / tau) for g, q in zip(noise[row].tolist(), pi, strict=True)]
        expected = torch.tensor([v / sum(e) for v in e], dtype=torch.float64)
        torch.testing.assert_close(found[row], expected)


def test_an_absent_option_gets_nothing() -> None:
    allowed = torch.tensor([[True, True, False], [True, True, True]])
    given = draw(torch.zeros(2, 3), allowed)
    for p in (Gumbel()(given), Average()(given), Argmax()(given)):
        assert p[0, 2] == 0
        torch.testing.assert_close(p.sum(-1), torch.ones(2))
    assert Argmax()(given)[:, 0].tolist() == [1, 1]  # ties go to sharing


def test_gumbel_samples_follow_the_distribution() -> None:
    """The argmax of G + log π is categorical with probabilities π (the Gumbel-max trick)."""
    logits = torch.tensor([0.0, 1.0, -0.5]).expand(20_000, 3)
    picks = Gumbel(Decay(start=0.5))(draw(logits, step=3)).argmax(-1)
    shares = np.bincount(picks.numpy(), minlength=3) / 20_000
    np.testing.assert_allclose(shares, torch.softmax(logits[0], -1).numpy(), atol=0.015)


def test_noise_is_a_pure_function() -> None:
    """Of seed, step and stream, and of nothing else: a resumed run repeats it."""
    base = gumbel_noise((5, 3), seed=1, step=2, stream_name="a")
    assert torch.equal(base, gumbel_noise((5, 3), seed=1, step=2, stream_name="a"))
    others = [
        {"seed": 2, "step": 2, "stream_name": "a"},
        {"seed": 1, "step": 3, "stream_name": "a"},
        {"seed": 1, "step": 2, "stream_name": "b"},
    ]
    assert all(not torch.equal(base, gumbel_noise((5, 3), **other)) for other in others)


def test_temperature_schedules() -> None:
    def at(schedule: Decay | Linear, step: int) -> float:
        return schedule.at(Moment("p", "sample", step=step, of=20_000))

    assert [at(Decay(), step) for step in (0, 499, 500, 19_999)] == pytest.approx([5, 5, 4.825, 5 * 0.965**39])
    assert at(Decay(start=2.0, decay=0.5, every=1, floor=0.3), 9) == 0.3
    assert [at(Linear(5.0, 0.1), step) for step in (0, 10_000, 20_000)] == pytest.approx([5.0, 2.55, 0.1])


@pytest.mark.parametrize(("slope", "second"), [(1.0, False), (6.0, True)])
def test_equation_2_written_out(slope: float, second: bool) -> None:
    """Σ_i Σ_l (L−l)/L · {ln(1+exp(s(P'(1)−P'(0)))) + ln(1+exp(s(P'(2)−P'(0))))}; no term for an absent skip."""
    model = make(slope=slope, second_sample=second)
    model.mode("sample", 4)
    deepest = max(unit.depth for unit in model.units)
    expected = 0.0
    for task in range(len(TASKS)):
        p = model.p(task, stream="second" if second else "forward").tolist()
        for index, unit in enumerate(model.units):
            for option in (1, 2):
                if option == 1 or model.skips[index] is not None:
                    softplus = math.log1p(math.exp(slope * (p[index][option] - p[index][0])))
                    expected += (deepest - unit.depth) / deepest * softplus
    assert float(model.term("regularization").detach()) == pytest.approx(expected, rel=1e-5)
    if second:
        assert not torch.equal(model.p(0), model.p(0, stream="second"))


@pytest.mark.parametrize(("mode", "guess"), [("smaple", 'did you mean "sample"'), ("", "modes are average, soft")])
def test_an_unknown_mode_is_refused(mode: str, guess: str) -> None:
    """It used to sample, and the mode before it stayed unknown to whoever had mistyped."""
    model = make()
    model.mode("average")
    with pytest.raises(InvalidConfig, match=guess):
        model.mode(mode, 1)
    assert model.p(0)[0].tolist() == pytest.approx([1 / 3] * 3)


def test_regularization_reads_the_forward_sample() -> None:
    """One P' serves the forward pass and L_reg, as in Eq. 2."""
    model = make()
    model.mode("sample", 9)
    assert torch.equal(model.p(1), model.p(1))


def test_pre_training_averages_the_options() -> None:
    """Every option that exists has the same weight, and no policy has a gradient."""
    model = make()
    model.mode("average")
    p = model.p(0)
    for index, skip in enumerate(model.skips):
        assert p[index].tolist() == pytest.approx([1 / 3] * 3 if skip is not None else [0.5, 0.5, 0.0])
    model(torch.zeros(1, 3, 16, 16))["seg"].sum().backward()
    assert all(policy.grad is None for policy in model.policies)


@pytest.mark.parametrize("batchnorm", ["tied", "task"])
@pytest.mark.parametrize("mixing", ["weight", "output"])
@pytest.mark.parametrize("mode", ["average", "argmax"])
def test_one_value_per_channel_is_refused(batchnorm: str, mixing: str, mode: str) -> None:
    """A channel with a single value has no variance to divide by; torch's own error names neither layer nor remedy."""
    b = GraphBuilder("pixel")
    x = unit_of(b, b.image("image", (3, 4, 4)), "first", 4, stride=4, kernel=4, pad=0)
    backbone = b.finish([x])
    model = AutoMTL(backbone, {}, ("a",), AutoMTLOptions(batchnorm=batchnorm, mixing=mixing))
    model.mode(mode)
    twin = Twin(lower(all_shared(backbone, ("a",)), backbone, {}).graph)
    messages = []
    for trained in (model.train(), twin.train()):
        trained(torch.zeros(2, 3, 4, 4))
        with pytest.raises(InvalidConfig, match="first_bn: .* one value per channel") as caught:
            trained(torch.zeros(1, 3, 4, 4))
        trained.eval()(torch.zeros(1, 3, 4, 4))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_own_copies_start_equal_to_shared() -> None:
    """Each instance of every parameter starts as the backbone's own."""
    model = make()
    parameters = [name for name, value in model.backbone.initializers.items() if is_parameter(value)]
    assert len(parameters) > 15
    for name in parameters:
        for instance in range(1, len(TASKS) + 1):
            assert torch.equal(model.store.at(BackboneWeight(name, instance)), model.store.at(BackboneWeight(name)))


def test_argmax_decides_the_most_likely_options() -> None:
    model = make()
    plan, best = model.decide(), model.distribution().argmax(-1)
    for index, unit in enumerate(model.units):
        for t, task in enumerate(TASKS):
            assert plan.choice(unit.name, task) == (0, t + 1, "skip")[int(best[index, t])]


def test_unknown_terms_are_refused_with_a_guess() -> None:
    with pytest.raises(InvalidConfig, match='did you mean "regularization"'):
        make().term("regularisation")


def test_one_task_and_dots_in_names() -> None:
    """Weights with dots in their names, and a single task, are no trouble."""
    backbone = BACKBONES["chain"]()
    model = AutoMTL(backbone, light_heads(backbone, ("only",)), ("only",))
    model.mode("sample")
    assert model(torch.zeros(1, 3, 16, 16))["only"].shape[1] == 1
    assert model.decide().tasks == ("only",)


def test_other_tasks_policies_have_no_gradient() -> None:
    """Adam and decay move whatever has a gradient, so the other tasks' must be None, not zero."""
    model = make()
    model.mode("sample", 1)
    model(torch.ones(2, 3, 16, 16), ["normals"])["normals"].sum().backward()
    assert [policy.grad is not None for policy in model.policies] == [task == "normals" for task in TASKS]
