"""A resumed run equals an uninterrupted one, bit for bit; and a resume that forgets something does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from runner_fakes import TASKS, Numbered, Stop, Tiny, data, digests, run, search_phase, train_phase

from trunkline.errors import CorruptCheckpoint, InvalidConfig
from trunkline.recipe import Moment
from trunkline.train.data.batches import Batch
from trunkline.train.loop.interrupt import Interrupted
from trunkline.train.loop.optimisers import NamedOptimiser
from trunkline.train.loop.runner import Runner
from trunkline.train.progress.progress import Silence
from trunkline.train.run_folder.checkpoint_file import OPTIMISERS, STATE, Checkpoint, read_checkpoint, write_checkpoint
from trunkline.train.run_folder.run_folder import open_run

pytestmark = pytest.mark.properties


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


ADAM = ("step", "exp_avg", "exp_avg_sq")


def interrupt(number: int = signal.SIGINT) -> Callable[[], None]:
    return lambda: signal.raise_signal(number)


@pytest.mark.parametrize("stop", [1, 2, 4, 6, 12, 16])
def test_resumed_equals_uninterrupted_two_optimisers(tmp_path: Path, stop: int) -> None:
    """Stops inside a turn (1, 4, 16), between turns (2, 12), at an evaluation (6, 12)."""
    whole = run(tmp_path / "whole", search_phase())
    with pytest.raises(Interrupted) as caught:
        run(tmp_path / "parts", search_phase(), progress=Stop(stop, interrupt()))
    assert caught.value.exit_code == 130
    assert caught.value.checkpoint == tmp_path / "parts" / "checkpoints" / f"policy-{stop:08d}"
    parts = run(tmp_path / "parts", search_phase(), model=Tiny(seed=99))
    assert parts.resumed_from == stop
    assert digests(parts.checkpoint) == digests(whole.checkpoint)
    assert parts.metrics == whole.metrics
    assert steps_and_losses(tmp_path / "parts") == steps_and_losses(tmp_path / "whole")


@pytest.mark.parametrize("joint", [True, False])
def test_resumed_equals_uninterrupted_one_turn(tmp_path: Path, joint: bool) -> None:
    """Adam and a cosine, together or one step a task."""
    phase = train_phase(joint=joint)
    whole = run(tmp_path / "whole", phase)
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", phase, progress=Stop(3, interrupt()))
    assert digests(run(tmp_path / "parts", phase).checkpoint) == digests(whole.checkpoint)


def steps_and_losses(folder: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "images_per_s"} for record in records]


def test_state_holds_everything_that_moves(tmp_path: Path) -> None:
    """What the equality above speaks of: momentum, both Adam moments, BatchNorm's statistics."""
    found = read_checkpoint(run(tmp_path, search_phase()).checkpoint)
    slots = {key.rsplit("/", 1)[0] for key in found.optimisers}
    assert slots == {*(f"policy/policy/{slot}" for slot in ADAM), "weights/weights/momentum_buffer"}
    assert found.model["norm.num_batches_tracked"] == 17
    assert found.model["norm.running_mean"].abs().sum() > 0
    assert all(tensor.abs().sum() > 0 for key, tensor in found.optimisers.items())


def forget_optimisers(found: Checkpoint) -> Checkpoint:
    return Checkpoint(found.model, {}, found.state)


def forget_one_slot(slot: str) -> Callable[[Checkpoint], Checkpoint]:
    def change(found: Checkpoint) -> Checkpoint:
        zeroed = {k: torch.zeros_like(v) if f"/{slot}/" in k else v for k, v in found.optimisers.items()}
        return Checkpoint(found.model, zeroed, found.state)

    return change


def forget_statistics(found: Checkpoint) -> Checkpoint:
    model = {k: torch.zeros_like(v) if "running_mean" in k else v for k, v in found.model.items()}
    return Checkpoint(model, found.optimisers, found.state)


def forget_step(found: Checkpoint) -> Checkpoint:
    return Checkpoint(found.model, found.optimisers, {**found.state, "step": found.state["step"] - 1})


@pytest.mark.parametrize(
    "broken",
    [
        forget_optimisers,
        forget_one_slot("momentum_buffer"),
        forget_one_slot("exp_avg"),
        forget_one_slot("exp_avg_sq"),
        forget_one_slot("step"),
        forget_statistics,
        forget_step,
    ],
)
def test_a_resume_that_forgets_differs(tmp_path: Path, broken: Callable[[Checkpoint], Checkpoint]) -> None:
    """A control: without it the equality tests might be hollow."""
    whole = run(tmp_path / "whole", search_phase())
    with pytest.raises(Interrupted) as caught:
        run(tmp_path / "parts", search_phase(), progress=Stop(8, interrupt()))
    write_checkpoint(caught.value.checkpoint, broken(read_checkpoint(caught.value.checkpoint)))
    assert digests(run(tmp_path / "parts", search_phase()).checkpoint) != digests(whole.checkpoint)


def test_noise_comes_from_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control: dropout and Gumbel noise matter, and come from the step's seed alone."""
    whole = run(tmp_path / "whole", search_phase())
    torch.rand(13)  # whatever else draws from torch does not matter
    assert digests(run(tmp_path / "again", search_phase()).checkpoint) == digests(whole.checkpoint)
    monkeypatch.setattr("trunkline.train.loop.runner._step_seed", lambda seed, phase, step: 1)
    assert digests(run(tmp_path / "same", search_phase()).checkpoint) != digests(whole.checkpoint)


def test_seed_changes_the_run(tmp_path: Path) -> None:
    """A control: equal runs are not equal because nothing is random."""
    first, second = run(tmp_path / "a", train_phase(), seed=1), run(tmp_path / "b", train_phase(), seed=2)
    assert digests(first.checkpoint) != digests(second.checkpoint)


@pytest.mark.parametrize("goals", [(5, 14), pytest.param(tuple(range(4, 79, 5)), marks=pytest.mark.slow)])
@pytest.mark.abuse
def test_killed_runs_resume_bit_exact(tmp_path: Path, goals: tuple[int, ...]) -> None:
    """SIGKILL after some step the child reports; counts only kills that landed while it was training."""
    steps = 4 * len(goals) + 80
    whole = run(tmp_path / "whole", search_phase(steps))
    kills = [killed_after(goal, tmp_path / "parts", steps) for goal in goals]
    assert kills == [True] * len(goals)
    assert digests(run(tmp_path / "parts", search_phase(steps)).checkpoint) == digests(whole.checkpoint)
    assert steps_and_losses(tmp_path / "parts") == steps_and_losses(tmp_path / "whole")


def child(folder: Path, steps: int) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("runner_fakes.py")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(folder), str(steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


def killed_after(goal: int, folder: Path, steps: int, number: int = signal.SIGKILL) -> bool:
    with child(folder, steps) as process:
        for line in process.stdout:
            if int(line) >= goal:
                process.send_signal(number)
                break
        last = [int(line) for line in process.stdout][-1:] or [goal]
        return process.wait() == -number and last[0] < steps


def test_sigterm_saves_and_exits(tmp_path: Path) -> None:
    """With the exit code of a process that the signal ended."""
    with pytest.raises(Interrupted) as caught:
        run(tmp_path, search_phase(), progress=Stop(4, interrupt(signal.SIGTERM)))
    assert caught.value.exit_code == 143
    assert "SIGTERM" in str(caught.value)
    assert caught.value.checkpoint.name == "policy-00000004"


def test_second_interrupt_is_immediate(tmp_path: Path) -> None:
    """Without a checkpoint; and the handlers are restored."""
    before = signal.getsignal(signal.SIGINT)

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        run(tmp_path, search_phase(), progress=Stop(5, twice))
    assert caught.value.checkpoint is None
    assert signal.getsignal(signal.SIGINT) is before
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"policy-00000003"}


def test_an_interrupted_evaluation_is_made_up(tmp_path: Path) -> None:
    """When the run is resumed, before its next step."""
    whole = run(tmp_path / "whole", search_phase())
    source = data()

    def batches() -> Iterator[Batch]:
        yield Numbered(9).batch(0)
        signal.raise_signal(signal.SIGINT)
        yield Numbered(9).batch(1)

    broken = type(source)(source.training, {"val": batches})
    with pytest.raises(Interrupted) as caught:
        run(tmp_path / "parts", search_phase(), data=broken)
    assert caught.value.checkpoint.name == "policy-00000006"
    assert digests(run(tmp_path / "parts", search_phase()).checkpoint) == digests(whole.checkpoint)
    assert steps_and_losses(tmp_path / "parts") == steps_and_losses(tmp_path / "whole")


def test_a_finished_phase_is_only_loaded(tmp_path: Path) -> None:
    """Its data is not even read."""
    first = run(tmp_path, search_phase())
    source, model = data(weights=(weights := Numbered(1))), Tiny(seed=8)
    again = run(tmp_path, search_phase(), data=source, model=model)
    assert again.resumed_from == again.steps == 17
    assert again.metrics == first.metrics
    assert weights.asked == []
    assert torch.equal(model.state_dict()["stem.weight"], read_checkpoint(first.checkpoint).model["stem.weight"])


def test_a_finished_phase_can_be_interrupted(tmp_path: Path) -> None:
    """Ctrl-C while its checkpoint is loaded ends the run, though no step follows."""

    class Interrupting(Tiny):
        def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            return super().load_state_dict(*arguments, **options)

    first = run(tmp_path, search_phase())
    with pytest.raises(Interrupted) as caught:
        run(tmp_path, search_phase(), model=Interrupting())
    assert caught.value.checkpoint == first.checkpoint


@pytest.mark.abuse
def test_corrupt_checkpoints_fall_back(tmp_path: Path) -> None:
    """To the newest good one, with a warning that names the file."""
    whole = run(tmp_path / "whole", search_phase())
    with pytest.raises(Interrupted) as caught:
        run(tmp_path / "parts", search_phase(), progress=Stop(8, interrupt()))
    damage = caught.value.checkpoint / OPTIMISERS
    damage.write_bytes(damage.read_bytes()[:-1] + b"x")
    with pytest.warns(RuntimeWarning, match="optimisers.safetensors"):
        parts = run(tmp_path / "parts", search_phase())
    assert parts.resumed_from == 6
    assert digests(parts.checkpoint) == digests(whole.checkpoint)
    assert steps_and_losses(tmp_path / "parts") == steps_and_losses(tmp_path / "whole")


def scored(monkeypatch: pytest.MonkeyPatch, errors: Mapping[int, float]) -> None:
    """Let evaluations have these errors, by the steps that are done."""

    def evaluate(model: Tiny, *_: object) -> dict[str, dict[str, float]]:
        return {task.name: dict.fromkeys(task.higher_is_better, errors[model.moment.step]) for task in TASKS}

    monkeypatch.setattr("trunkline.train.loop.runner.evaluate", evaluate)


class StopBehind(Silence):
    """Interrupts behind an evaluation, whose step is then saved with it."""

    def __init__(self, at: int) -> None:
        self.at = at

    def evaluation(self, phase: str, step: int, metrics: object) -> None:
        if step == self.at:
            signal.raise_signal(signal.SIGINT)


def spoil(checkpoint: Path) -> None:
    path = checkpoint / OPTIMISERS
    path.write_bytes(path.read_bytes()[:-1] + b"x")


@pytest.mark.abuse
@pytest.mark.parametrize(("again", "best"), [({3: 0.7, 4: 0.8}, 2), ({3: 0.7, 4: 0.5}, 4), ({3: 0.1, 4: 0.8}, 3)])
def test_a_pruned_best_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: dict[int, float], best: int
) -> None:
    """Step 3 was better than step 1, whose checkpoint went, and is then lost; on a GPU it comes out otherwise."""
    phase = train_phase(4, eval_every=1, checkpoint_every=1, best_by="depth.abs_error", keep=2)
    scored(monkeypatch, {1: 0.5, 2: 0.6, 3: 0.1})
    with pytest.raises(Interrupted) as caught:
        run(tmp_path, phase, progress=StopBehind(3))
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"train-00000002", "train-00000003"}
    spoil(caught.value.checkpoint)
    scored(monkeypatch, again)
    with pytest.warns(RuntimeWarning) as warned:
        outcome = run(tmp_path, phase)
    assert "train-00000001" in str(warned[-1].message) and "best" in str(warned[-1].message)
    assert {path.name for path in outcome.best.values()} == {f"train-{best:08d}"}
    assert read_checkpoint(outcome.best["depth"]).state["step"] == best


@pytest.mark.abuse
def test_a_corrupt_best_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the phase is finished and only loaded; step 3 was saved without an evaluation of its own."""
    phase = train_phase(5, eval_every=2, best_by="depth.abs_error", keep=3, checkpoint_every=1)
    scored(monkeypatch, {2: 0.1, 4: 0.6, 5: 0.7})
    first = run(tmp_path, phase)
    assert {path.name for path in first.best.values()} == {"train-00000002"}
    spoil(first.best["depth"])
    with pytest.warns(RuntimeWarning, match=r"train-00000002.*optimisers\.safetensors"):
        again = run(tmp_path, phase)
    assert {path.name for path in again.best.values()} == {"train-00000004"}


@pytest.mark.abuse
def test_other_settings_are_refused(tmp_path: Path) -> None:
    """All of them at once; those that alter no number are free."""
    with pytest.raises(Interrupted):
        run(tmp_path, search_phase(), progress=Stop(4, interrupt()))
    apart = tuple(turn.model_copy(update={"joint": False}) for turn in search_phase().turns)
    with pytest.raises(InvalidConfig, match=r"policy\.clip_norm: is 1\.0, but the run began with 5\.0") as caught:
        run(tmp_path, search_phase(clip_norm=1.0, turns=apart, keep=9))
    assert [problem.place for problem in caught.value.problems] == ["policy.clip_norm", "policy.turns"]
    with pytest.raises(InvalidConfig, match=r"policy\.seed"):
        run(tmp_path, search_phase(), seed=6)


def test_more_steps_may_be_asked_for(tmp_path: Path) -> None:
    """Unless a learning rate depends on their number; what a model does at a moment may, too: see below."""
    run(tmp_path / "a", search_phase(10))
    longer = run(tmp_path / "a", search_phase(17))
    assert (longer.resumed_from, longer.steps) == (10, 17)
    assert digests(longer.checkpoint) == digests(run(tmp_path / "b", search_phase(17)).checkpoint)
    run(tmp_path / "c", train_phase(5))
    with pytest.raises(InvalidConfig, match=r"train\.steps: is 9, but the run began with 5"):
        run(tmp_path / "c", train_phase(9))


class Cooling(Tiny):
    """A model whose temperature falls with the share of the phase that is done, as BMTAS's does."""

    def at(self, moment: Moment) -> Mapping[str, float]:
        super().at(moment)
        self.temperature = 5.0 - 4.0 * moment.done
        return {"temperature": self.temperature}

    def needs_total(self, mode: str) -> bool:
        return mode == "sample"


@pytest.mark.abuse
def test_steps_stay_where_a_model_needs_them(tmp_path: Path) -> None:
    """In a longer phase the steps so far would have had another temperature, or its evaluations."""
    run(tmp_path / "a", search_phase(10), model=Cooling())
    with pytest.raises(InvalidConfig, match=r"policy\.steps: is 17, but the run began with 10"):
        run(tmp_path / "a", search_phase(17), model=Cooling())
    evaluated = {"mode": "average", "eval_mode": "sample", "turns": search_phase().turns[1:]}
    run(tmp_path / "b", search_phase(10, **evaluated), model=Cooling())
    with pytest.raises(InvalidConfig, match=r"policy\.steps"):
        run(tmp_path / "b", search_phase(17, **evaluated), model=Cooling())
    unused = {**evaluated, "eval_split": None}
    run(tmp_path / "c", search_phase(10, **unused), model=Cooling())
    assert run(tmp_path / "c", search_phase(17, **unused), model=Cooling()).resumed_from == 10


@pytest.mark.abuse
def test_another_models_checkpoint_is_refused(tmp_path: Path) -> None:
    """Weight by weight."""
    run(tmp_path, search_phase())
    other = Tiny()
    other.extra = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(InvalidConfig, match=r'"extra" is absent in the checkpoint, of shape \[3\] in the model'):
        run(tmp_path, search_phase(), model=other)


@pytest.mark.abuse
def test_another_parameters_state_is_refused() -> None:
    """By name and by shape."""
    parameter = torch.nn.Parameter(torch.zeros(2, 2))
    optimiser = NamedOptimiser(search_phase().turns[1].moves[0].optimiser, {"a/b": parameter})
    for state in ({"momentum_buffer/c": torch.zeros(2, 2)}, {"momentum_buffer/a/b": torch.zeros(4)}):
        with pytest.raises(CorruptCheckpoint, match="fits no parameter"):
            optimiser.load(state)


def test_phases_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Pre-training's end is still there when the search is resumed, and its log records stay."""
    model = Tiny()
    with open_run(tmp_path, {}, seed=5) as folder:
        pre = Runner(model, TASKS, data(), train_phase(name="pre"), folder, seed=5).run()
        with pytest.raises(Interrupted):
            Runner(model, TASKS, data(), search_phase(), folder, seed=5, progress=Stop(7, interrupt())).run()
    with open_run(tmp_path, {}, seed=5) as folder:
        fresh = Tiny(seed=77)
        again = Runner(fresh, TASKS, data(), train_phase(name="pre"), folder, seed=5).run()
        search = Runner(fresh, TASKS, data(), search_phase(), folder, seed=5).run()
        kinds = [(record["phase"], record["kind"]) for record in folder.log.records()]
    assert (again.resumed_from, search.resumed_from) == (9, 7)
    assert again.checkpoint == pre.checkpoint
    assert kinds.count(("pre", "step")) == 9
    assert kinds.count(("policy", "step")) == 17


def test_state_is_plain_json(tmp_path: Path) -> None:
    """Other programs may read how far a run is."""
    state = json.loads((run(tmp_path, search_phase()).checkpoint / STATE).read_text())
    assert (state["phase"], state["step"], state["seed"], state["settings"]["steps"]) == ("policy", 17, 5, 17)
