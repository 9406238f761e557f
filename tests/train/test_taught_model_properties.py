"""A model that learns from a teacher: its term against loops over numbers, and a teacher that stays what it is."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from backbones import small_head, two_taps
from lowered import SIZE, backbone, data, plan, tasks
from runner_fakes import Stop, digests

from trunkline.errors import InvalidConfig
from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph
from trunkline.graph.owners import maps_of_heads, parts_of_weights
from trunkline.recipe import Move, Optimiser, Part, Phase, Turn
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import all_shared, independent, share_until
from trunkline.sharing.lowering.lower import lower
from trunkline.train.data.batches import Batch
from trunkline.train.data.sets.scenes.dataset import INFO
from trunkline.train.loop.device import Compute
from trunkline.train.loop.interrupt import Interrupted
from trunkline.train.loop.kept import keep_best
from trunkline.train.loop.optimisers import TurnOptimiser
from trunkline.train.loop.runner import Outcome, Runner
from trunkline.train.loop.step import Stepper, StepValues
from trunkline.train.loop.taught_model import TaughtModel, apart, lessons_of
from trunkline.train.loop.trainable import TaskModel
from trunkline.train.progress.progress import Silence
from trunkline.train.run_folder.checkpoint_file import read_checkpoint
from trunkline.train.run_folder.run_folder import open_run
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties

NAMES = ("segmentation", "depth", "normals")
TERM = ["teacher"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def graph_of(kind: str, names: Sequence[str] = NAMES) -> Graph:
    heads = {name: make_head("light", backbone().graph, INFO[name].channels) for name in names}
    return lower(plan(kind, names), backbone(), heads).graph


def taught_by(graph: Graph, teacher: Graph) -> TaughtModel:
    """A model with weights of seed 1, and a teacher with those of seed 7 and statistics of its own."""
    teaching = Twin(teacher, seed=7)
    for number, tensor in enumerate(teaching.statistics().values()):
        tensor.add_(0.1 * (1 + number % 3))
    lessons = lessons_of(graph, teacher)
    return TaughtModel(Twin(graph, seed=1), parts_of_weights(graph), teacher=teaching, lessons=lessons)


def taught(kind: str = "trunk", names: Sequence[str] = NAMES) -> TaughtModel:
    return taught_by(graph_of(kind, names), graph_of("independent", names))


def taught_on_two_maps(head: Callable[[Graph, int], Graph]) -> TaughtModel:
    """Task ``a`` reads both maps of a backbone, task ``b`` the last one, several times."""
    network = Backbone(two_taps())
    heads = {"a": head(network.graph, 2), "b": make_head("aspp", network.graph, 1)}
    first = network.table("block").names[0]
    own, teacher = share_until(network, ["a", "b"], first), independent(network, ["a", "b"])
    return taught_by(lower(own, network, heads).graph, lower(teacher, network, heads).graph)


def images(count: int = 2, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(4))


def shake_adapters(model: TaughtModel) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for matrix in model.adapters.values():
            matrix.add_(0.3 * torch.randn(matrix.shape, generator=generator))


def losses(*names: str) -> dict[str, torch.Tensor]:
    return dict.fromkeys(names, torch.ones(()))


def direction(vector: Sequence[float]) -> list[float]:
    """Of length 1; where everything is 0, as behind a ReLU, there is none."""
    length = sum(number**2 for number in vector) ** 0.5
    return [number / length if length else 0.0 for number in vector]


def term(model: TaughtModel, *names: str) -> float:
    """The term, where these tasks have a loss."""
    return model.terms(TERM, losses(*names))["teacher"].item()


def far_apart(own: np.ndarray, theirs: np.ndarray) -> float:
    """‖ f/‖f‖ − g/‖g‖ ‖², pixel by pixel, in Python's numbers."""
    batch, channels = own.shape[:2]
    flat = [map_.reshape(batch, channels, -1) for map_ in (own, theirs)]
    found = []
    for image in range(batch):
        for pixel in range(flat[0].shape[2]):
            f, g = (direction([float(map_[image, c, pixel]) for c in range(channels)]) for map_ in flat)
            found.append(sum((a - b) ** 2 for a, b in zip(f, g, strict=True)))
    return sum(found) / len(found)


def adapted(model: TaughtModel, task: str, number: int, values: np.ndarray) -> np.ndarray:
    """Σ_c A_dc f_c at every place, one number after the other."""
    matrix = model.adapters[f"teacher/{task}/{number}"].detach().numpy()
    found = np.zeros_like(values)
    for d in range(len(matrix)):
        for c in range(len(matrix)):
            found[:, d] += matrix[d, c] * values[:, c]
    return found


def term_by_loops(model: TaughtModel, image: torch.Tensor, names: Sequence[str]) -> float:
    """The term of some tasks: what students have in training, and teachers in evaluation, value by value."""
    with torch.no_grad():
        own, theirs = model.twin.train().run_values(image), model.teacher.eval().run_values(image)
    total = 0.0
    for task in names:
        found = []
        for number, lesson in enumerate(model._lessons[task]):
            mine = adapted(model, task, number, own[lesson.own].float().numpy())
            found.append(far_apart(mine, theirs[lesson.theirs].float().numpy()))
        total += sum(found) / len(found)
    return total


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4), (1, 2, 7)])
def test_distance_is_that_of_loops(shape: tuple[int, ...]) -> None:
    """Over maps, vectors and rows."""
    rng = np.random.default_rng(0)
    own, theirs = (rng.standard_normal(shape, np.float32) for _ in range(2))
    found = apart(torch.from_numpy(own), torch.from_numpy(theirs))
    assert found.shape == () and float(found) == pytest.approx(far_apart(own, theirs), rel=1e-5)


def test_distance_is_of_directions() -> None:
    """0 for equal ones whatever their lengths, 4 for opposite ones, 2 at right angles, 1 from nothing."""
    vector = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    lengths = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(1)) + 0.1
    assert float(apart(lengths * vector, vector)) == pytest.approx(0, abs=1e-10)
    assert float(apart(-lengths * vector, vector)) == pytest.approx(4)
    x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    assert float(apart(x, y)) == pytest.approx(2)
    nothing = torch.zeros(1, 2, requires_grad=True)
    distance = apart(nothing, y)
    distance.backward()
    assert float(distance.detach()) == pytest.approx(1) and torch.isfinite(nothing.grad).all()


@pytest.mark.parametrize("kind", ["shared", "trunk", "independent"])
def test_term_is_that_of_loops(kind: str) -> None:
    """With matrices that are no identity; a sum over tasks."""
    model, image = taught(kind), images()
    shake_adapters(model)
    model.train()(image)
    expected = term_by_loops(model, image, NAMES)
    assert term(model, *NAMES) == pytest.approx(expected, rel=1e-4)
    assert expected > 0.1


@pytest.mark.parametrize("head", [small_head, lambda graph, channels: make_head("fpn", graph, channels)])
def test_several_maps_count_by_mean(head: Callable[[Graph, int], Graph]) -> None:
    """Each has a matrix of its own, and each once, though a head may read it several times."""
    model, image = taught_on_two_maps(head), images(size=(16, 16))
    matrices = {name: len(matrix) for name, matrix in model.adapters.items()}
    # A head may read the coarse map before the fine one; both have their own number of channels.
    assert sorted(matrices.items())[-1] == ("teacher/b/0", 8)
    assert sorted(matrices[f"teacher/a/{number}"] for number in range(2)) == [6, 8] and len(matrices) == 3
    shake_adapters(model)
    model.train()(image)
    found = term(model, "a", "b")
    assert found == pytest.approx(term_by_loops(model, image, ["a", "b"]), rel=1e-4)


def vectors() -> Graph:
    """A backbone that ends in a vector for each image."""
    b = GraphBuilder("vectors")
    weight = b.weight("conv.weight", (6, 3, 3, 3), Filler("msra"))
    settings = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4, "dilations": [1, 1], "group": 1}
    x = b.node("Conv", [b.image("image", (3, 8, 8)), weight], name="conv", attributes=settings)
    x = b.node("GlobalAveragePool", [b.node("Relu", [x], name="relu")], name="pool")
    return b.finish([b.node("Flatten", [x], name="vector", attributes={"axis": 1})])


def test_vectors_are_taught_as_maps() -> None:
    """``[N, C]``, of tasks without heads, which give the map itself."""
    network, names = Backbone(vectors()), ["a", "b"]
    own, teacher = (lower(make(network, names), network, {}).graph for make in (all_shared, independent))
    model, image = taught_by(own, teacher), images(3, (8, 8))
    assert maps_of_heads(own) == {"a": ("a",), "b": ("b",)}
    shake_adapters(model)
    assert model.train()(image)["a"].shape == (3, 6)
    found = term(model, *names)
    assert found == pytest.approx(term_by_loops(model, image, names), rel=1e-4)


def test_matrices_start_as_the_identity() -> None:
    """So that at first the maps themselves are compared."""
    model = taught()
    assert set(model.adapters) == {f"teacher/{task}/0" for task in NAMES}
    for matrix in model.adapters.values():
        assert torch.equal(matrix, torch.eye(len(matrix)))


@pytest.mark.parametrize("training", [True, False])
def test_outputs_are_those_without_teacher(training: bool) -> None:
    """Bit for bit, of all tasks or some, whatever the matrices are."""
    model, image = taught(), images()
    plain = TaskModel(Twin(graph_of("trunk"), seed=1))
    shake_adapters(model)
    for names in (None, ["depth"]):
        ours, theirs = model.train(training)(image, names), plain.train(training)(image, names)
        assert list(ours) == list(theirs) == list(names or NAMES)
        assert all(torch.equal(ours[task], theirs[task]) for task in ours)
    assert all(torch.equal(a, b) for a, b in zip(model.statistics().values(), plain.statistics().values(), strict=True))


def test_term_is_of_tasks_with_loss() -> None:
    """Of the last forward pass: the tasks that it computed, and of these the ones that have a loss."""
    model, image = taught("independent"), images()
    model.train()(image)
    each = {task: term(model, task) for task in NAMES}
    assert len(set(each.values())) == 3
    both = term(model, "segmentation", "normals")
    assert both == pytest.approx(each["segmentation"] + each["normals"])
    assert term(model) == 0
    model(2 * image + 1, ["depth"])
    alone = term(model, *NAMES)
    assert alone != pytest.approx(each["depth"]) and alone == pytest.approx(
        term_by_loops(model, 2 * image + 1, ["depth"]), rel=1e-4
    )


def test_a_term_needs_no_forward_pass() -> None:
    """Runners ask for it before the first step. What is not asked for is not there, and others are refused."""
    model = taught()
    assert term(model, *NAMES) == 0
    assert model.terms([], losses(*NAMES)) == {}
    with pytest.raises(InvalidConfig, match="adds no term"):
        model.terms(["cost", "teacher"], {})


def test_in_evaluation_nobody_teaches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher does not run, and no distance is left from the steps before."""
    model, image = taught(), images()
    model.train()(image)
    assert term(model, *NAMES) > 0

    def never(*_: object) -> None:
        raise AssertionError("the teacher was asked")

    monkeypatch.setattr(model.teacher, "forward", never)
    model.eval()(image)
    assert term(model, *NAMES) == 0
    with pytest.raises(AssertionError, match="was asked"):
        model.train()(image)


class Training:
    """A model in the middle of its training, with a term that weighs as much as the losses."""

    def __init__(self, model: TaskModel, *, joint: bool = True, compute: Compute | None = None) -> None:
        names = model.tasks
        terms = {"teacher": 1.0} if isinstance(model, TaughtModel) else {}
        self.model, self.batches = model, data(names).source(Part())
        optimiser = Optimiser(kind="sgd", lr=0.05, weight_decay=0.1)
        self.turn = Turn(moves=(Move(optimiser=optimiser),), joint=joint, terms=terms)
        self.optimiser = TurnOptimiser(self.turn, model, model.components())
        self.stepper = Stepper(model, tasks(names), compute or Compute(), clip_norm=0.5)
        self.model.train()
        for number in range(2):
            self.step(self.batches.batch(number))

    def step(self, batch: Batch) -> StepValues:
        return self.stepper.step(self.turn, batch, self.optimiser, rates={"weights": 0.05}, place="here")


def copied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("joint", [True, False])
def test_the_teacher_stays_what_it_is(joint: bool) -> None:
    """Neither weights nor running statistics move, whatever the model's mode; the matrices and the model do."""
    model = taught()
    before, start = copied(model.teacher.weights()), copied(model.state_dict())
    Training(model, joint=joint)
    for mode in (True, False, True):
        model.train(mode)(images())
        assert model.training == mode == model.twin.training
        assert not any(module.training for module in model.teacher.modules())
    assert moved(before, model.teacher.weights()) == set()
    assert not any(p.requires_grad or p.grad is not None for p in model.teacher.parameters())
    assert moved(start, model.state_dict()) == set(start)


def test_groups_and_users_name_all() -> None:
    """Matrices are a group of their own, each of one task; the teacher is nobody's."""
    model, plain = taught(), TaskModel(Twin(graph_of("trunk")), parts_of_weights(graph_of("trunk")))
    groups = model.groups()
    assert set(groups) == {*plain.groups(), "weights.adapters"}
    assert all(set(groups[name]) == set(content) for name, content in plain.groups().items())
    assert groups["weights.adapters"] == dict(model.adapters.items())
    parameters = [parameter for group in groups.values() for parameter in group.values()]
    assert len(set(map(id, parameters))) == len(parameters)
    assert set(map(id, parameters)).isdisjoint(map(id, model.teacher.parameters()))
    adapters = {f"teacher/{task}/0": frozenset({task}) for task in NAMES}
    assert model.users() == {**plain.users(), **adapters}


@pytest.mark.parametrize("kind", ["shared", "trunk", "independent"])
def test_matrices_are_in_their_component(kind: str) -> None:
    """With the weights of their task, so that both are clipped together."""
    model = taught(kind)
    plain = model.twin.components()
    assert [part.tasks for part in model.components()] == [part.tasks for part in plain]
    for part, without in zip(model.components(), plain, strict=True):
        assert part.weights == without.weights | {f"teacher/{task}/0" for task in part.tasks}


def test_state_goes_there_and_back() -> None:
    """The model's tensors under their ONNX names and the matrices, but nothing of the teacher."""
    model, other = taught(), taught()
    Training(model)
    state = copied(model.state_dict())
    assert set(state) == {*model.twin.weights(), *model.adapters}
    assert moved(state, other.state_dict()) == set(state)
    lessons = copied(other.teacher.weights())
    other.load_state_dict(state)
    assert moved(state, other.state_dict()) == set()
    assert moved(lessons, other.teacher.weights()) == set()
    assert {name for name in state if name.startswith("teacher/")} == set(model.adapters)


def phase(steps: int = 6, *, joint: bool = True, **changes: object) -> Phase:
    """Adam, clipped hard and evaluated often, with half as much of the teacher as of the losses."""
    move = Move(optimiser=Optimiser(lr=0.02, weight_decay=1e-3))
    turn = Turn(moves=(move,), joint=joint, terms={"teacher": 0.5})
    settings = {"clip_norm": 0.3, "eval_every": 1, "best_by": "relative", "keep": 1, "log_every": 1}
    return Phase.model_validate({"steps": steps, "turns": (turn,), **settings, **changes})


def run(folder: Path, model: TaskModel, how: Phase, progress: Silence | None = None) -> Outcome:
    names = model.tasks
    with open_run(folder, {}, seed=2) as opened:
        return Runner(model, tasks(names), data(names), how, opened, seed=2, progress=progress).run()


@pytest.mark.parametrize("kind", ["trunk", "independent"])
@pytest.mark.parametrize("joint", [True, False])
def test_resumed_equals_uninterrupted(kind: str, joint: bool, tmp_path: Path) -> None:
    """Weights, matrices and all state of their optimiser, by a model that was made anew."""
    how = phase(5, joint=joint, eval_every=2, best_by=None)
    whole = run(tmp_path / "whole", taught(kind), how)
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", taught(kind), how, Stop(3, lambda: signal.raise_signal(signal.SIGINT)))
    parts = run(tmp_path / "parts", taught(kind), how)
    assert parts.resumed_from == 3 and digests(parts.checkpoint) == digests(whole.checkpoint)
    found = read_checkpoint(whole.checkpoint)
    assert f"weights/weights/exp_avg/teacher/{NAMES[0]}/0" in found.optimisers
    assert not torch.equal(found.model[f"teacher/{NAMES[0]}/0"], torch.eye(len(found.model[f"teacher/{NAMES[0]}/0"])))


@pytest.mark.parametrize("joint", [True, False])
def test_columns_are_taught_as_single_models(joint: bool, tmp_path: Path) -> None:
    """Bit for bit, clipped and judged apart, and each with its own best weights; see test_components_parity."""
    together = taught("independent")
    outcome = run(tmp_path / "together", together, phase(joint=joint))
    assert len(set(outcome.best.values())) > 1, "the case is too easy: all tasks are best at one step"
    last = copied(together.state_dict())
    kept = keep_best(together.twin, outcome)
    for part, task in zip(together.components(), NAMES, strict=True):
        alone = taught("independent", [task])
        # The statistics of a teacher are shifted by their number, which is another in a model of one task.
        columns = together.teacher.components()
        own = next(column.weights for column in columns if column.tasks == (task,))
        shown = [tensor for name, tensor in together.teacher.weights().items() if name in own]
        alone.teacher.load_weights(dict(zip(alone.teacher.weights(), shown, strict=True)))
        single = run(tmp_path / task, alone, phase(joint=joint))
        ours = [tensor for name, tensor in last.items() if name in part.weights]
        theirs = list(alone.state_dict().values())
        assert len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), task
        assert outcome.best[task].name == single.best[task].name
        alone_kept = keep_best(alone.twin, single)
        assert kept.steps[task] == alone_kept.steps[task] and kept.metrics[task] == alone_kept.metrics[task]
        best = [tensor for name, tensor in together.twin.weights().items() if name in part.weights]
        assert all(torch.equal(a, b) for a, b in zip(best, alone.twin.weights().values(), strict=True)), task


@pytest.mark.parametrize("joint", [True, False])
def test_without_a_label_nothing_is_taught(joint: bool) -> None:
    """Of a task that no sample of the batch has a label for: its branch and its matrix stay, the trunk moves."""
    model = taught()
    training = Training(model, joint=joint)
    batch = training.batches.batch(2)
    before = copied(model.state_dict())
    values = training.step(replace(batch, labelled={"depth": (False, False)}))
    assert set(values.losses) == {"segmentation", "normals"}
    own = {name for name, users in model.users().items() if users == {"depth"}}
    changed = moved(before, model.state_dict())
    assert "teacher/depth/0" in own and len(own) > 5 and changed.isdisjoint(own)
    assert changed == set(before) - own


def test_one_step_a_task_has_its_own_term() -> None:
    """The last task's alone is what is logged then, and what the last backward pass was of."""
    model, together = taught("independent"), taught("independent")
    for joint, each in ((False, model), (True, together)):
        training = Training(each, joint=joint)
        with torch.no_grad():
            expected = term_by_loops(each, training.batches.batch(2).image, NAMES if joint else NAMES[-1:])
        # The columns share nothing, so that the tasks that are stepped before do not move what the last one reads.
        assert training.step(training.batches.batch(2)).terms["teacher"] == pytest.approx(expected, rel=1e-4)


def test_bfloat16_teaches_as_float32() -> None:
    """Under autocast: maps of few digits, distances in float32, and gradients for every matrix."""
    image, found = images(), {}
    for precision in ("float32", "bfloat16"):
        model, compute = taught(), Compute("cpu", precision)
        with compute.autocast():
            model.train()(image)
            expected = term_by_loops(model, image, NAMES)
        teacher = model.terms(TERM, losses(*NAMES))["teacher"]
        teacher.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.adapters.values())
        assert teacher.dtype == torch.float32 and teacher.item() == pytest.approx(expected, rel=1e-5)
        found[precision] = teacher.item()
    assert found["bfloat16"] != found["float32"]
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.02)
    before = taught()
    start = copied(before.state_dict())
    Training(before, compute=Compute("cpu", "bfloat16"))
    assert moved(start, before.state_dict()) == set(start)
    assert all(tensor.dtype == torch.float32 for tensor in before.state_dict().values())


def test_lessons_need_the_same_heads() -> None:
    """Of a teacher of more tasks those of the model are learned; heads that read otherwise do not fit."""
    own = graph_of("trunk", NAMES[:2])
    found = lessons_of(own, graph_of("independent"))
    assert set(found) == set(NAMES[:2])
    network = Backbone(two_taps())
    graphs = [
        lower(all_shared(network, ["a"]), network, {"a": head}).graph
        for head in (small_head(network.graph, 1), make_head("light", network.graph, 1))
    ]
    with pytest.raises(ValueError, match="zip"):
        lessons_of(*graphs)
