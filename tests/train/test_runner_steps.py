"""What one step does, against plain torch; and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import json
import math

import pytest
import torch
from runner_fakes import TASKS, Numbered, Tiny, data, run, search_phase, train_phase

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.recipe import Optimiser, Turn
from trunkline.train.loop.device import Compute
from trunkline.train.loop.evaluate import BestMetric, evaluate
from trunkline.train.loop.non_finite import first_non_finite
from trunkline.train.loop.optimisers import NamedOptimiser
from trunkline.train.loop.step import Stepper
from trunkline.train.run_folder.checkpoint_file import read_checkpoint

POLICY = Turn(group="policy", terms={"regularization": 0.5}, optimiser=Optimiser(lr=0.1, weight_decay=0.3))
WEIGHTS = Turn(optimiser=Optimiser(kind="sgd", lr=0.1, weight_decay=0.01))


def prepared(seed: int = 3) -> Tiny:
    model = Tiny(seed)
    model.begin_step(0, mode="sample")
    return model


def stepped(model: Tiny, turn: Turn, *, joint: bool, clip_norm: float | None = None, tasks=TASKS):
    stepper = Stepper(model, tasks, Compute(), joint, clip_norm)
    optimiser = NamedOptimiser(turn.optimiser, model.parameter_groups()[turn.group])
    for name, group in model.parameter_groups().items():
        for parameter in group.values():
            parameter.requires_grad_(name == turn.group)
    torch.manual_seed(0)
    return stepper.step(turn, Numbered(0).batch(0), optimiser, lr=turn.optimiser.lr, place="here")


def total_loss(model: Tiny) -> torch.Tensor:
    batch = Numbered(0).batch(0)
    out = model(batch.image)
    return sum(task.weight * task.loss(out[task.name], batch.labels[task.name]) for task in TASKS)


def test_joint_step_equals_the_summed_loss_in_plain_torch():
    model, reference = prepared(), prepared()
    values = stepped(model, POLICY, joint=True)
    optimiser = torch.optim.Adam(reference.policy.parameters(), lr=0.1, weight_decay=0.3)
    torch.manual_seed(0)
    loss = total_loss(reference) + 0.5 * reference.term("regularization")
    loss.backward()
    optimiser.step()
    assert loss.item() == pytest.approx(
        values.losses["depth"] + 2 * values.losses["edges"] + 0.5 * values.terms["regularization"]
    )
    for name, tensor in reference.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_task_steps_equal_one_step_per_task_in_plain_torch():
    """As AutoMTL's release with gradients set to None: only what the task reaches moves."""
    model, reference = prepared(), prepared()
    stepped(model, WEIGHTS, joint=False)
    weights = [p for name, p in reference.named_parameters() if not name.startswith("policy")]
    optimiser = torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=0.01)
    batch = Numbered(0).batch(0)
    torch.manual_seed(0)
    for task in TASKS:
        optimiser.zero_grad()
        output = reference(batch.image, [task.name])[task.name]
        (task.weight * task.loss(output, batch.labels[task.name])).backward()
        optimiser.step()
    for name, tensor in reference.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-7), name


def test_task_steps_leave_what_the_task_does_not_use_alone():
    """Neither decay nor the term moves the other task's policy; in a joint step both do."""
    for joint, moves in ((False, False), (True, True)):
        model = prepared()
        with torch.no_grad():
            for policy in model.policy.values():
                policy.fill_(1.0)
        stepped(model, POLICY, joint=joint, tasks=TASKS[:1])
        assert not torch.equal(model.policy["depth"], torch.ones(2))
        assert torch.equal(model.policy["edges"], torch.ones(2)) is not moves


def test_task_steps_add_the_terms_gradient_to_what_the_task_uses():
    """The term reaches each task's own policy once, as in one step per task with λ·L_reg(task)."""
    moved = {}
    for weight in (0.0, 5.0):
        turn = POLICY.model_copy(update={"terms": {"regularization": weight}, "optimiser": Optimiser(kind="sgd", lr=1)})
        model = prepared()
        stepped(model, turn, joint=False)
        moved[weight] = {name: policy.detach().clone() for name, policy in model.policy.items()}
    for name in ("depth", "edges"):
        difference = moved[5.0][name] - moved[0.0][name]  # softplus'(0) = 1/2, against p1 and for p0
        assert torch.allclose(difference, torch.tensor([2.5, -2.5]), atol=1e-5)


@pytest.mark.parametrize("joint", [True, False])
def test_only_the_turns_group_moves(joint):
    for turn, moving in ((POLICY, "policy"), (WEIGHTS, "weights")):
        model = prepared()
        before = copy.deepcopy(dict(model.named_parameters()))
        stepped(model, turn, joint=joint)
        groups = model.parameter_groups()
        still = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
        other = "weights" if moving == "policy" else "policy"
        assert set(groups[other]) <= still
        assert not set(groups[moving]) & still


def test_clipping_bounds_the_move():
    model = prepared()
    before = copy.deepcopy(dict(model.named_parameters()))
    turn = Turn(optimiser=Optimiser(kind="sgd", lr=1.0))
    stepped(model, turn, joint=True, clip_norm=1e-3)
    moved = torch.cat([(p - before[name]).flatten() for name, p in model.named_parameters()])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_run_leaves_parameters_as_it_found_them(tmp_path):
    model = Tiny()
    model.shared.weight.requires_grad_(False)
    run(tmp_path, search_phase(3), model=model)
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["shared.weight"]
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("edges", r'the loss of task "edges" \(nan\).*first non-finite value is in the output of "edges" at \[0, 0'),
        ("term", r'the term "regularization" \(nan\).*the term "regularization" at \[\]: nan'),
    ],
)
def test_abuse_non_finite_stops_the_same_step(tmp_path, spoil, message):
    """Step 12 (from 0: 11) is a policy step; nothing moves in it, and the last checkpoint stays good."""
    model = Tiny()
    model.spoil = {11: spoil}
    with pytest.raises(WorkFailed, match=r'(?s)phase "policy", turn "policy", step 12.*' + message):
        run(tmp_path, search_phase(), model=model)
    clean = Tiny()
    run(tmp_path / "clean", search_phase(11), model=clean)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, dict(clean.named_parameters())[name]), name
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["policy-00000006", "policy-00000009"]
    resumed = run(tmp_path, search_phase())
    assert resumed.resumed_from == 9


def test_abuse_non_finite_image_label_and_gradient_are_named(tmp_path):
    source = data()

    def spoiled(change):
        class Spoiled(Numbered):
            def batch(self, step):
                batch = super().batch(step)
                if step == 2:
                    change(batch)
                return batch

        return type(source)({"train": Spoiled(0)}, source.validation)

    def bad_image(batch):
        batch.image[1, 2, 3, 4] = math.nan

    def bad_label(batch):
        batch.labels["depth"][0, 0, 5, 5] = math.inf

    with pytest.raises(WorkFailed, match=r"step 3.*the image at \[1, 2, 3, 4\]: nan"):
        run(tmp_path / "a", train_phase(), data=spoiled(bad_image))
    with pytest.raises(WorkFailed, match=r'"depth".*the label of "depth" at \[0, 0, 5, 5\]: inf'):
        run(tmp_path / "b", train_phase(), data=spoiled(bad_label))
    model = Tiny()
    model.head["depth"].weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(WorkFailed, match=r'norm of the gradient \(nan\).*gradient of "head.depth.weight" at \[0, 0'):
        run(tmp_path / "c", train_phase(), model=model)


def test_abuse_nothing_non_finite_is_ever_saved(tmp_path):
    """A running average may overflow while every loss is finite."""
    model = Tiny()
    with torch.no_grad():
        model.norm.running_var.fill_(math.inf)
    with pytest.raises(WorkFailed, match=r"not saved: .*norm\.running_var at \[0\]: inf"):
        run(tmp_path, train_phase(eval_split=None), model=model)
    assert not (tmp_path / "checkpoints").exists()


def test_first_non_finite_is_the_first():
    good, bad = torch.ones(2), torch.tensor([[1.0, 2.0], [math.nan, -math.inf]])
    assert first_non_finite([("a", good), ("n", torch.tensor([1])), ("b", bad)]) == "b at [1, 0]: nan"
    assert first_non_finite([("a", good)]) is None


def test_evaluation_is_in_evaluation_mode_without_gradients_and_pooled():
    model = Tiny()
    model.begin_step(0, mode="argmax")
    batches = [Numbered(1, 2).batch(0), Numbered(1, 3).batch(1)]
    before = copy.deepcopy(model.state_dict())
    merged = type(batches[0])(
        torch.cat([b.image for b in batches]),
        {k: torch.cat([b.labels[k] for b in batches]) for k in ("depth", "edges")},
    )
    apart, together = evaluate(model, TASKS, batches), evaluate(model, TASKS, [merged])
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    for task in ("depth", "edges"):
        assert apart[task] == pytest.approx(together[task], rel=1e-4)
    model.train(False)
    with torch.no_grad():
        error = (model(merged.image)["depth"] - merged.labels["depth"]).abs().mean().item()
    assert together["depth"]["abs_error"] == pytest.approx(error, rel=1e-4)


def test_best_checkpoint_is_kept_and_is_the_best(tmp_path):
    phase = train_phase(12, eval_every=1, best_by="depth.abs_error", keep=1, checkpoint_every=100)
    outcome = run(tmp_path, phase)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    errors = {r["step"]: r["metrics"]["depth"]["abs_error"] for r in records if r["kind"] == "evaluation"}
    assert sorted(errors) == list(range(1, 13))
    best = min(errors, key=errors.get)
    assert {path.name for path in outcome.best.values()} == {f"train-{best:08d}"}
    assert read_checkpoint(outcome.best["edges"]).state["step"] == best
    assert len(list((tmp_path / "checkpoints").iterdir())) == len({best, 12})


def test_of_equal_evaluations_the_first_is_best(tmp_path, monkeypatch):
    metrics = {task.name: dict.fromkeys(task.higher_is_better, 0.5) for task in TASKS}
    monkeypatch.setattr("trunkline.train.loop.runner.evaluate", lambda *_: metrics)
    outcome = run(tmp_path, train_phase(5, eval_every=2, best_by="relative"))
    assert {path.name for path in outcome.best.values()} == {"train-00000002"}


def test_judge_turns_lower_is_better():
    metrics = {"depth": {"abs_error": 0.5}, "edges": {"pixel_f": 0.5}}
    assert BestMetric("depth.abs_error", TASKS).score(metrics, ("depth", "edges")) == -0.5
    assert BestMetric("edges.pixel_f", TASKS).score(metrics, ("depth", "edges")) == 0.5


def test_judge_ranks_by_relative_performance():
    """The difference of two scores is Δ, to first order, whatever the units; what does not exist is left out."""
    single = {"depth": {"abs_error": 2.0, "rel_error": 1e-9, "delta_1": 0.5}, "edges": {"pixel_f": math.nan}}
    better = {"depth": {"abs_error": 1.98, "rel_error": 1e-9, "delta_1": 0.505}, "edges": {"pixel_f": math.nan}}
    judge, component = BestMetric("relative", TASKS), ("depth", "edges")
    assert 100 * (judge.score(better, component) - judge.score(single, component)) == pytest.approx(2 / 3, rel=0.01)
    assert math.isnan(judge.score(single, ("edges",)))
    # a component that the metric says nothing of is judged as if it were trained alone
    assert BestMetric("edges.l1", TASKS).score(better, ("depth",)) == judge.score(better, component)


def test_abuse_everything_that_does_not_fit_is_said_at_once(tmp_path):
    turns = (Turn(group="polizy", split="trane"),)
    phase = train_phase(turns=turns, eval_split="vall", best_by="relativ")
    with pytest.raises(InvalidConfig) as caught:
        run(tmp_path, phase)
    text = str(caught.value)
    for found in (
        "polizy",
        'did you mean "policy"',
        "trane",
        'did you mean "train"',
        "vall",
        'did you mean "relative"',
    ):
        assert found in text
    with pytest.raises(InvalidConfig, match=r'no metric "depth.abs_eror".*\n.*did you mean "depth.abs_error"'):
        run(tmp_path, train_phase(best_by="depth.abs_eror"))


def test_abuse_data_without_labels_for_a_task(tmp_path):
    class Unlabelled(Numbered):
        def batch(self, step):
            batch = super().batch(step)
            del batch.labels["edges"]
            return batch

    source = data()
    with pytest.raises(InvalidConfig, match=r"(?s)no labels for edges.*labels for: depth"):
        run(tmp_path, train_phase(), data=type(source)({"train": Unlabelled(0)}, source.validation))


def test_abuse_data_that_fails_ends_the_run_with_its_error(tmp_path):
    class Failing(Numbered):
        def batch(self, step):
            if step == 3:
                raise InvalidConfig("broken file")
            return super().batch(step)

    source = data()
    with pytest.raises(InvalidConfig, match="broken file"):
        run(tmp_path, train_phase(), data=type(source)({"train": Failing(0)}, source.validation))


def test_device_is_never_replaced_in_silence():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(WorkFailed, match="CUDA device 0 was asked for, but torch .* finds 0"):
        Compute("cuda").resolve()
    with pytest.raises(InvalidConfig, match='device "gpu"'):
        Compute("gpu").resolve()


def test_bfloat16_trains_with_float32_weights_and_losses(tmp_path):
    model = Tiny()
    outcome = run(tmp_path, train_phase(4), model=model, compute=Compute("cpu", "bfloat16"))
    assert all(p.dtype == torch.float32 for p in model.parameters())
    exact = run(tmp_path / "exact", train_phase(4))
    assert outcome.metrics != exact.metrics
    assert outcome.metrics["depth"]["abs_error"] == pytest.approx(exact.metrics["depth"]["abs_error"], rel=0.1)


def test_a_run_evaluates_in_the_precision_it_trains_in(tmp_path):
    """The metrics of the last evaluation are those of the weights it left, computed under autocast."""
    model, compute = Tiny(), Compute("cpu", "bfloat16")
    phase = train_phase(1, eval_split="val")
    outcome = run(tmp_path, phase, model=model, compute=compute)
    model.begin_step(1, mode=phase.eval_mode)
    rounded, exact = (evaluate(model, TASKS, data().evaluation("val"), each) for each in (compute, None))
    assert rounded != exact
    assert outcome.metrics == rounded


@pytest.mark.parametrize("joint", [True, False])
def test_a_batch_without_labels_has_terms_and_moves_nothing(joint):
    model = prepared()
    before = copy.deepcopy(model.state_dict())
    stepper = Stepper(model, TASKS, Compute(), joint, None)
    optimiser = NamedOptimiser(POLICY.optimiser, model.parameter_groups()[POLICY.group])
    batch = dataclasses.replace(Numbered(0).batch(0), labelled={task.name: (False, False) for task in TASKS})
    values = stepper.step(POLICY, batch, optimiser, lr=0.1, place="here")
    assert values.losses == {}
    assert values.terms == {"regularization": pytest.approx(model.term("regularization").item())}
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items() if "norm" not in name)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_step_moves_by_the_rate_it_is_given(kind):
    """Schedules set the rate of every step; that of the settings is where they begin."""
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimiser = NamedOptimiser(Optimiser(kind=kind, lr=0.1, weight_decay=0.0), {"p": parameter})
    parameter.grad = torch.ones(3)
    optimiser.step(0.03)
    torch.testing.assert_close(parameter.detach(), torch.full((3,), -0.03), rtol=1e-4, atol=0)
