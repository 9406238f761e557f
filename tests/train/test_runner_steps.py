"""What one step does, against plain torch; and what it refuses."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from runner_fakes import TASKS, Numbered, Tiny, data, run, search_phase, train_phase
from torch import Tensor, nn

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.recipe import Moment, Move, Optimiser, Part, Phase, Turn
from trunkline.train.data.batches import Batch
from trunkline.train.loop.device import Compute
from trunkline.train.loop.evaluate import BestMetric, Metrics, evaluate
from trunkline.train.loop.non_finite import first_non_finite
from trunkline.train.loop.optimisers import NamedOptimiser, TurnOptimiser
from trunkline.train.loop.step import Stepper, StepValues
from trunkline.train.run_folder.checkpoint_file import read_checkpoint
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.registry import make_task

pytestmark = pytest.mark.parity

SAMPLE = Moment("policy", "sample")


def policy_turn(optimiser: Optimiser | None = None, *, joint: bool = True, weight: float = 0.5) -> Turn:
    move = Move(group="policy", optimiser=optimiser or Optimiser(lr=0.1, weight_decay=0.3))
    return Turn(moves=(move,), terms={"regularization": weight}, joint=joint)


def weights_turn(optimiser: Optimiser | None = None, *, joint: bool = True) -> Turn:
    return Turn(moves=(Move(optimiser=optimiser or Optimiser(kind="sgd", lr=0.1, weight_decay=0.01)),), joint=joint)


def prepared(seed: int = 3) -> Tiny:
    model = Tiny(seed)
    model.at(SAMPLE)
    return model


def stepped(model: Tiny, turn: Turn, tasks: Sequence[Task] = TASKS, clip_norm: float | None = None) -> StepValues:
    """One step of ``turn`` from no optimiser state, at the rates its moves begin with."""
    optimiser = TurnOptimiser(turn, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in optimiser.parameters)
    rates = {move.group: move.optimiser.lr for move in turn.moves}
    torch.manual_seed(0)
    stepper = Stepper(model, tasks, Compute(), clip_norm)
    return stepper.step(turn, Numbered(0).batch(0), optimiser, rates=rates, place="here")


def total_loss(model: Tiny) -> Tensor:
    batch = Numbered(0).batch(0)
    out = model(batch.image)
    return sum(task.weight * task.loss(out[task.name], batch.labels[task.name]) for task in TASKS)


def not_policy(model: Tiny) -> list[nn.Parameter]:
    return [p for name, p in model.named_parameters() if not name.startswith("policy")]


def test_joint_step_is_plain_torch() -> None:
    """One backward of the summed loss and its terms, one step."""
    model, reference = prepared(), prepared()
    values = stepped(model, policy_turn())
    optimiser = torch.optim.Adam(reference.policy.parameters(), lr=0.1, weight_decay=0.3)
    torch.manual_seed(0)
    loss = total_loss(reference) + 0.5 * reference.terms(["regularization"], {})["regularization"]
    loss.backward()
    optimiser.step()
    assert loss.item() == pytest.approx(
        values.losses["depth"] + 2 * values.losses["edges"] + 0.5 * values.terms["regularization"]
    )
    for name, tensor in reference.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_task_steps_are_plain_torch() -> None:
    """As AutoMTL's release with gradients set to None: only what the task reaches moves."""
    model, reference = prepared(), prepared()
    stepped(model, weights_turn(joint=False))
    optimiser = torch.optim.SGD(not_policy(reference), lr=0.1, momentum=0.9, weight_decay=0.01)
    batch = Numbered(0).batch(0)
    torch.manual_seed(0)
    for task in TASKS:
        optimiser.zero_grad()
        output = reference(batch.image, [task.name])[task.name]
        (task.weight * task.loss(output, batch.labels[task.name])).backward()
        optimiser.step()
    for name, tensor in reference.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-7), name


def test_task_steps_leave_other_tasks_alone() -> None:
    """Neither decay nor the term moves the other task's policy; in a joint step both do."""
    for joint, moves in ((False, False), (True, True)):
        model = prepared()
        with torch.no_grad():
            for policy in model.policy.values():
                policy.fill_(1.0)
        stepped(model, policy_turn(joint=joint), TASKS[:1])
        assert not torch.equal(model.policy["depth"], torch.ones(2))
        assert torch.equal(model.policy["edges"], torch.ones(2)) is not moves


def test_task_steps_add_each_term_once() -> None:
    """The term reaches each task's own policy once, as in one step per task with λ·L_reg(task)."""
    moved = {}
    for weight in (0.0, 5.0):
        model = prepared()
        stepped(model, policy_turn(Optimiser(kind="sgd", lr=1), joint=False, weight=weight))
        moved[weight] = {name: policy.detach().clone() for name, policy in model.policy.items()}
    for name in ("depth", "edges"):
        difference = moved[5.0][name] - moved[0.0][name]  # softplus'(0) = 1/2, against p1 and for p0
        assert torch.allclose(difference, torch.tensor([2.5, -2.5]), atol=1e-5)


@pytest.mark.parametrize("joint", [True, False])
def test_only_the_turns_group_moves(joint: bool) -> None:
    """All of the group moves, and nothing else."""
    for turn, moving in ((policy_turn(joint=joint), "policy"), (weights_turn(joint=joint), "weights")):
        model = prepared()
        before = copy.deepcopy(dict(model.named_parameters()))
        stepped(model, turn)
        policy = set(model.groups()["policy"])
        weights = set(before) - policy
        still = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
        mine, other = (policy, weights) if moving == "policy" else (weights, policy)
        assert other <= still
        assert not mine & still


def test_terms_see_the_losses() -> None:
    """A term over the step's losses is in its value and in its gradient: Σ L_t² here, beside Σ w_t·L_t."""
    turn = weights_turn().model_copy(update={"terms": {"squares": 0.25}})
    model, reference = prepared(), prepared()
    values = stepped(model, turn)
    assert values.terms["squares"] == pytest.approx(sum(loss**2 for loss in values.losses.values()))
    optimiser = torch.optim.SGD(not_policy(reference), lr=0.1, momentum=0.9, weight_decay=0.01)
    batch = Numbered(0).batch(0)
    torch.manual_seed(0)
    outputs = reference(batch.image)
    losses = [task.loss(outputs[task.name], batch.labels[task.name]) for task in TASKS]
    weighted = [task.weight * loss + 0.25 * loss**2 for task, loss in zip(TASKS, losses, strict=True)]
    torch.stack(weighted).sum().backward()
    optimiser.step()
    for name, tensor in reference.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-7), name


def test_task_steps_show_terms_one_loss() -> None:
    """Where tasks step one after the other, a term sees the loss of the task whose step it is."""
    turn = weights_turn(joint=False).model_copy(update={"terms": {"squares": 0.25}})
    values = stepped(prepared(), turn)
    assert values.terms["squares"] == pytest.approx(values.losses["edges"] ** 2)  # the last task's


def test_clipping_bounds_the_move() -> None:
    """The norm is over all that moves."""
    model = prepared()
    before = copy.deepcopy(dict(model.named_parameters()))
    stepped(model, weights_turn(Optimiser(kind="sgd", lr=1.0)), clip_norm=1e-3)
    moved = torch.cat([(p - before[name]).flatten() for name, p in model.named_parameters()])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_a_run_leaves_parameters_as_found(tmp_path: Path) -> None:
    """What did not learn before does not learn after, and no gradient is left."""
    model = Tiny()
    model.shared.weight.requires_grad_(False)
    run(tmp_path, search_phase(3), model=model)
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["shared.weight"]
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("edges", r'the loss of task "edges" \(nan\).*first non-finite value is in the output of "edges" at \[0, 0'),
        ("term", r'the term "regularization" \(nan\).*the term "regularization" at \[\]: nan'),
    ],
)
def test_non_finite_numbers_stop_their_step(tmp_path: Path, spoil: str, message: str) -> None:
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


@pytest.mark.abuse
def test_non_finite_origins_are_named(tmp_path: Path) -> None:
    """An image, a label, a gradient: where the first bad number is, in causal order."""

    class Spoiled(Numbered):
        def __init__(self, change: Callable[[Batch], None]) -> None:
            super().__init__(0)
            self.change = change

        def batch(self, step: int) -> Batch:
            batch = super().batch(step)
            if step == 2:
                self.change(batch)
            return batch

    def bad_image(batch: Batch) -> None:
        batch.image[1, 2, 3, 4] = math.nan

    def bad_label(batch: Batch) -> None:
        batch.labels["depth"][0, 0, 5, 5] = math.inf

    with pytest.raises(WorkFailed, match=r"step 3.*the image at \[1, 2, 3, 4\]: nan"):
        run(tmp_path / "a", train_phase(), data=data(all=Spoiled(bad_image)))
    with pytest.raises(WorkFailed, match=r'"depth".*the label of "depth" at \[0, 0, 5, 5\]: inf'):
        run(tmp_path / "b", train_phase(), data=data(all=Spoiled(bad_label)))
    model = Tiny()
    model.head["depth"].weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(WorkFailed, match=r'norm of the gradient \(nan\).*gradient of "head.depth.weight" at \[0, 0'):
        run(tmp_path / "c", train_phase(), model=model)


@pytest.mark.abuse
def test_nothing_non_finite_is_ever_saved(tmp_path: Path) -> None:
    """A running average may overflow while every loss is finite."""
    model = Tiny()
    with torch.no_grad():
        model.norm.running_var.fill_(math.inf)
    with pytest.raises(WorkFailed, match=r"not saved: .*norm\.running_var at \[0\]: inf"):
        run(tmp_path, train_phase(eval_split=None), model=model)
    assert not (tmp_path / "checkpoints").exists()


def test_first_non_finite_is_the_first() -> None:
    """The first bad number of the first bad tensor; integers have none."""
    good, bad = torch.ones(2), torch.tensor([[1.0, 2.0], [math.nan, -math.inf]])
    assert first_non_finite([("a", good), ("n", torch.tensor([1])), ("b", bad)]) == "b at [1, 0]: nan"
    assert first_non_finite([("a", good)]) is None


def test_evaluation_changes_nothing_and_pools() -> None:
    """In evaluation mode, without gradients; batches of other sizes give the same metrics."""
    model = Tiny()
    model.at(Moment("train", "argmax"))
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


def test_best_checkpoint_is_kept(tmp_path: Path) -> None:
    """And it is the best of all that the log tells of."""
    phase = train_phase(12, eval_every=1, best_by="depth.abs_error", keep=1, checkpoint_every=100)
    outcome = run(tmp_path, phase)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    errors = {r["step"]: r["metrics"]["depth"]["abs_error"] for r in records if r["kind"] == "evaluation"}
    assert sorted(errors) == list(range(1, 13))
    best = min(errors, key=errors.__getitem__)
    assert {path.name for path in outcome.best.values()} == {f"train-{best:08d}"}
    assert read_checkpoint(outcome.best["edges"]).state["step"] == best
    assert len(list((tmp_path / "checkpoints").iterdir())) == len({best, 12})


def test_first_of_equal_evaluations_is_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later ones must be better, not as good."""
    metrics = {task.name: dict.fromkeys(task.higher_is_better, 0.5) for task in TASKS}
    monkeypatch.setattr("trunkline.train.loop.runner.evaluate", lambda *_: metrics)
    outcome = run(tmp_path, train_phase(5, eval_every=2, best_by="relative"))
    assert {path.name for path in outcome.best.values()} == {"train-00000002"}


def test_judge_turns_lower_is_better() -> None:
    """A greater score is always better."""
    metrics = {"depth": {"abs_error": 0.5}, "edges": {"pixel_f": 0.5}}
    assert BestMetric("depth.abs_error", TASKS).score(metrics, ("depth", "edges")) == -0.5
    assert BestMetric("edges.pixel_f", TASKS).score(metrics, ("depth", "edges")) == 0.5


def test_judge_ranks_by_relative_performance() -> None:
    """The difference of two scores is Δ, to first order, whatever the units; what does not exist is left out."""
    single: Metrics = {"depth": {"abs_error": 2.0, "rel_error": 1e-9, "delta_1": 0.5}, "edges": {"pixel_f": math.nan}}
    better: Metrics = {"depth": {"abs_error": 1.98, "rel_error": 1e-9, "delta_1": 0.505}, "edges": single["edges"]}
    judge, component = BestMetric("relative", TASKS), ("depth", "edges")
    assert 100 * (judge.score(better, component) - judge.score(single, component)) == pytest.approx(2 / 3, rel=0.01)
    assert math.isnan(judge.score(single, ("edges",)))
    # a component that the metric says nothing of is judged as if it were trained alone
    assert BestMetric("edges.l1", TASKS).score(better, ("depth",)) == judge.score(better, component)


def test_metrics_with_dots_decide() -> None:
    """``within_11.25`` is one name: it decides by itself, and not by the relative performance instead."""
    tasks = [make_task("normals", "normals", 3)]
    metrics: Metrics = {"normals": {"within_11.25": 0.25, "angle_mean": 20.0}}
    assert BestMetric("normals.within_11.25", tasks).score(metrics, ("normals",)) == 0.25


def misfits() -> Phase:
    """A phase in which nearly every name is wrong by a letter, and a part of the data is not there."""
    turn = Turn(moves=(Move(group="polizy"),), data=Part(share=(0.0, 0.001)), terms={"regularisation": 1.0})
    settings = {"mode": "smaple", "eval_mode": "argmx", "eval_split": "vall", "best_by": "relativ"}
    return train_phase(turns=(turn,), loss_weights={"depht": 2.0}, **settings)


@pytest.mark.abuse
def test_all_misfits_are_said_at_once(tmp_path: Path) -> None:
    """Each with a guess, and before anything is written or trained."""
    source = data()

    def training(part: Part) -> Numbered:
        raise InvalidConfig(f"no samples from {part.share[0]} to {part.share[1]}")

    with pytest.raises(InvalidConfig) as caught:
        run(tmp_path, misfits(), data=type(source)(training, source.validation))
    text = str(caught.value)
    guesses = {"polizy": "policy", "smaple": "sample", "argmx": "argmax", "vall": "val", "relativ": "relative"}
    for found, guess in {**guesses, "depht": "depth"}.items():
        assert found in text
        assert f'did you mean "{guess}"' in text, text
    assert "no samples from 0.0 to 0.001" in text
    assert not (tmp_path / "checkpoints").exists() and not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.abuse
def test_unknown_terms_and_metrics_are_guessed(tmp_path: Path) -> None:
    """Also where the mode is known: terms are asked for in the turn's mode, before the first step."""
    turn = policy_turn().model_copy(update={"terms": {"regularisation": 1.0}})
    with pytest.raises(InvalidConfig, match=r'no term regularisation\n.*did you mean "regularization"'):
        run(tmp_path, search_phase(turns=(weights_turn(), turn.model_copy(update={"name": "late"}))))
    assert not (tmp_path / "checkpoints").exists() and not (tmp_path / "metrics.jsonl").exists()
    with pytest.raises(InvalidConfig, match=r'no metric "depth.abs_eror".*\n.*did you mean "depth.abs_error"'):
        run(tmp_path, train_phase(best_by="depth.abs_eror"))


@pytest.mark.abuse
def test_labels_must_be_in_the_data(tmp_path: Path) -> None:
    """A task without any labels is an error that says what there is."""

    class Unlabelled(Numbered):
        def batch(self, step: int) -> Batch:
            batch = super().batch(step)
            del batch.labels["edges"]
            return batch

    with pytest.raises(InvalidConfig, match=r"(?s)no labels for edges.*labels for: depth"):
        run(tmp_path, train_phase(), data=data(all=Unlabelled(0)))


@pytest.mark.abuse
def test_data_that_fails_ends_the_run(tmp_path: Path) -> None:
    """With its own error, though another thread made the batch."""

    class Failing(Numbered):
        def batch(self, step: int) -> Batch:
            if step == 3:
                raise InvalidConfig("broken file")
            return super().batch(step)

    with pytest.raises(InvalidConfig, match="broken file"):
        run(tmp_path, train_phase(), data=data(all=Failing(0)))


def test_device_is_never_replaced() -> None:
    """A device that is not there is an error, not the CPU."""
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(WorkFailed, match="CUDA device 0 was asked for, but torch .* finds 0"):
        Compute("cuda").resolve()
    with pytest.raises(InvalidConfig, match='device "gpu"'):
        Compute("gpu").resolve()


@pytest.mark.abuse
@pytest.mark.parametrize("name", ["cpu:1", "cpu:", "cuda:", "cuda:01", "cuda:-1", "cuda:0 "])
def test_names_that_torch_refuses_are_refused(name: str) -> None:
    """Before any work, as a wrong setting."""
    with pytest.raises(InvalidConfig, match="is neither"):
        Compute(name).resolve()


def test_bfloat16_keeps_weights_in_float32(tmp_path: Path) -> None:
    """And losses: only the forward pass is rounded."""
    model = Tiny()
    outcome = run(tmp_path, train_phase(4), model=model, compute=Compute("cpu", "bfloat16"))
    assert all(p.dtype == torch.float32 for p in model.parameters())
    exact = run(tmp_path / "exact", train_phase(4))
    assert outcome.metrics != exact.metrics
    assert outcome.metrics["depth"]["abs_error"] == pytest.approx(exact.metrics["depth"]["abs_error"], rel=0.1)


def test_evaluation_has_the_trainings_precision(tmp_path: Path) -> None:
    """The metrics of the last evaluation are those of the weights it left, computed under autocast."""
    model, compute = Tiny(), Compute("cpu", "bfloat16")
    phase = train_phase(1, eval_split="val")
    outcome = run(tmp_path, phase, model=model, compute=compute)
    model.at(phase.evaluation(1))
    rounded, exact = (evaluate(model, TASKS, data().evaluation("val"), each) for each in (compute, None))
    assert rounded != exact
    assert outcome.metrics == rounded


@pytest.mark.parametrize("joint", [True, False])
def test_an_unlabelled_batch_moves_nothing(joint: bool) -> None:
    """Its terms are known all the same."""
    model, turn = prepared(), policy_turn(joint=joint)
    before = copy.deepcopy(model.state_dict())
    batch = dataclasses.replace(Numbered(0).batch(0), labelled={task.name: (False, False) for task in TASKS})
    stepper = Stepper(model, TASKS, Compute())
    values = stepper.step(turn, batch, TurnOptimiser(turn, model), rates={"policy": 0.1}, place="here")
    assert values.losses == {}
    expected = model.terms(["regularization"], {})["regularization"].item()
    assert values.terms == {"regularization": pytest.approx(expected)}
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items() if "norm" not in name)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_step_moves_by_its_rate(kind: str) -> None:
    """Schedules set the rate of every step; that of the settings is where they begin."""
    parameter = nn.Parameter(torch.zeros(3))
    optimiser = NamedOptimiser(Optimiser(kind=kind, lr=0.1, weight_decay=0.0), {"p": parameter})
    parameter.grad = torch.ones(3)
    optimiser.step(0.03)
    torch.testing.assert_close(parameter.detach(), torch.full((3,), -0.03), rtol=1e-4, atol=0)


def test_the_policy_is_logged_over_a_phase(tmp_path: Path) -> None:
    """Often enough to see it move, at the last step too, and not at every step of a long phase."""
    model = Tiny()
    run(tmp_path, search_phase(99), model=model)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    policies = [record for record in records if record["kind"] == "policy"]
    assert [record["step"] for record in policies] == list(range(3, 100, 3))
    assert all(record["phase"] == "policy" for record in policies)
    last = policies[-1]["probabilities"]
    assert last == {task: {"conv": row} for task, row in ((t, last[t]["conv"]) for t in ("depth", "edges"))}
    assert policies[0]["probabilities"] != last
    assert last == model.option_probabilities()
