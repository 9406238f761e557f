"""Properties that every method has, on four kinds of networks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from method_work import (
    DEGENERATE,
    NETWORKS,
    ONE_COLUMN,
    TASKS,
    ShakenWork,
    StillWork,
    columns_for,
    hard,
    image,
    method_for,
    setup_for,
    shaken_weights,
)

from trunkline.export.exporter import export_model
from trunkline.graph.graph import INSTANCE_KEY, TASKS_KEY, UNIT_KEY, Graph, name_of
from trunkline.graph.roles import STATISTICS
from trunkline.graph.segments import needed_nodes
from trunkline.recipe import Moment, Move, Optimiser, Turn
from trunkline.seeds import seed_of
from trunkline.sharing.layouts.plans import all_shared, independent
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.option import Option
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.space import Space
from trunkline.supermodel.decision import Sampling
from trunkline.supermodel.methods.base import Method, Setup
from trunkline.supermodel.methods.registry import methods
from trunkline.supermodel.work import Found
from trunkline.train.data.batches import Batch
from trunkline.train.loop.device import Compute
from trunkline.train.loop.optimisers import TurnOptimiser
from trunkline.train.loop.step import Stepper
from trunkline.train.tasks.registry import make_task
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties

METHODS = tuple(methods())
SEARCHED = tuple(name for name, kind in methods().items() if kind.kind == "searched")
SOFT = tuple(name for name, kind in methods().items() if kind.kind == "soft")
LEARNED = tuple(name for name, kind in methods().items() if "sampling" in kind.Options.model_fields)
"""Methods that take a plan from what a supermodel learned: searched ones, and soft ones that choose what joins read."""
DECIDED = tuple(name for name in METHODS if name not in (*LEARNED, "random"))
"""Methods whose plan follows from the tasks. Random ones are drawn task by task; learned ones are permuted below."""
TRIED = [pytest.param(name, marks=pytest.mark.slow) if name == "mobile" else name for name in NETWORKS]
"""One of them, with groups of channels, is left to the longer suite."""


def found(
    name: str, backbone: str, folder: Path, tasks: tuple[str, ...] = TASKS, **options: Any
) -> tuple[Setup, Found]:
    setup = setup_for(backbone, tasks)
    return setup, method_for(name, setup, folder, **options).find(ShakenWork(setup))


@pytest.mark.parametrize("name", LEARNED)
def test_plans_are_drawn_by_the_runs_seed(name: str, tmp_path: Path) -> None:
    """Whatever a method learned, runs of several seeds draw apart."""
    sampling = Sampling(kind="draw", seed=5)
    _, result = found(name, "residual", tmp_path, sampling=sampling, **({"draws": 1} if name == "adashare" else {}))
    assert result.plan.provenance["seed"] == 3 and result.plan.provenance["sampling"]["seed"] == 5


def are_interchangeable(space: Space) -> bool:
    """Whether every task has the same whole instances to choose from, and nothing else."""
    rows = [options for row in space.entries.values() for options in row.values()]
    plain = all(not option.skip and option.channels == 1.0 for options in rows for option in options)
    return plain and len(set(rows)) == 1


def options_in(space: Space) -> list[Option]:
    """All options of all tasks."""
    return [option for row in space.entries.values() for options in row.values() for option in options]


def apart(space: Space) -> dict[ChoiceId, int]:
    """Picks with which no two tasks have an instance in common."""
    taken: dict[str, set[int]] = defaultdict(set)
    picks: dict[ChoiceId, int] = {}
    for choice in space.choices:
        options = space.entries[choice.place][choice.task]
        free = [number for number, option in enumerate(options) if option.instance not in taken[choice.place]]
        picks[choice] = next(number for number in free if not options[number].skip)
        taken[choice.place].add(options[picks[choice]].instance)
    return picks


def started(setup: Setup, found: Found) -> tuple[Lowered, Twin]:
    """The model of what was found, with the weights that it goes on from, or shaken ones."""
    lowered = lower(found.plan, setup.backbone, setup.heads)
    twin = Twin(lowered.graph, weights=shaken_weights(lowered))
    if found.start is not None:
        twin.load_weights(found.start(lowered), strict=False)
    return lowered, twin.eval()


def users_by_walk(graph: Graph) -> dict[str, frozenset[str]]:
    """The tasks that need each stored tensor, by going back from every output, whatever the nodes say of themselves."""
    users: dict[str, set[str]] = defaultdict(set)
    for output in graph.outputs:
        for node in needed_nodes(graph, [output]):
            for value in node.inputs:
                if value is not None and value.is_initializer():
                    users[name_of(value)].add(name_of(output))
    return {key: frozenset(tasks) for key, tasks in users.items()}


def drawn(shape: Sequence[int], *key: object) -> torch.Tensor:
    """Numbers that follow from a key; all positive, so that they may be variances too, and no activation is dead."""
    generator = torch.Generator().manual_seed(seed_of(repr(key), 0))
    return 0.05 + 0.1 * torch.rand(tuple(shape), generator=generator)


def outputs_of(plan: SharingPlan, setup: Setup) -> dict[str, torch.Tensor]:
    """What a plan's model computes with weights that do not know how its tasks and instances are numbered."""
    lowered = lower(plan, setup.backbone, setup.heads)
    twin, users = Twin(lowered.graph).eval(), users_by_walk(lowered.graph)
    content = {}
    for key, tensor in twin.weights().items():
        origin, marks = lowered.origin[key], lowered.graph.initializers[key].metadata_props
        # Behind a join every column serves all tasks, so whose it is follows from who chose its instance.
        chosen = plan.units.get(marks.get(UNIT_KEY, ""), {})
        owners = sorted(task for task, choice in chosen.items() if str(choice) == marks.get(INSTANCE_KEY))
        name = getattr(origin, "name", None) or origin.unit
        if getattr(origin, "part", "") != "join":  # what a join starts with says what it is to do
            content[key] = drawn(tensor.shape, type(origin), name, owners, sorted(users[key]))
    twin.load_weights(content, strict=False)
    with torch.no_grad():
        return twin(image())


def assert_same_outputs(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    assert set(one) == set(other)
    for task in one:
        torch.testing.assert_close(one[task], other[task], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", METHODS)
def test_found_model_equals_its_file(name: str, backbone: str, tmp_path: Path) -> None:
    """What a method finds becomes a file that computes what its torch model does, with outputs named by task."""
    setup, result = found(name, backbone, tmp_path)
    lowered, twin = started(setup, result)
    weights = {key: tensor.numpy() for key, tensor in twin.weights().items()}
    exported = export_model(lowered.graph, weights, tmp_path / "model.onnx", parity_inputs=4)
    assert exported.parity.passed
    assert tuple(name_of(value) for value in lowered.graph.outputs) == TASKS


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", METHODS)
def test_plans_survive_file_and_space(name: str, backbone: str, tmp_path: Path) -> None:
    """Plan, JSON, plan; plan, space, plan; and lowering it twice gives one Graph."""
    setup, result = found(name, backbone, tmp_path)
    result.plan.save(tmp_path / "found.json")
    assert SharingPlan.load(tmp_path / "found.json") == result.plan
    space = Space.of_plan(result.plan, setup.backbone)
    provenance = result.plan.provenance
    assert space.plan({}, method=result.plan.method, provenance=provenance) == result.plan
    first, second = (lower(result.plan, setup.backbone, setup.heads) for _ in range(2))
    assert [node.name for node in first.graph.nodes] == [node.name for node in second.graph.nodes]
    assert first.origin == second.origin


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", METHODS)
def test_a_task_moves_only_what_serves_it(name: str, backbone: str, tmp_path: Path) -> None:
    """The loss of a task has a gradient for the weights that its output is computed from, and for no others."""
    setup, result = found(name, backbone, tmp_path)
    lowered, twin = started(setup, result)
    users = users_by_walk(lowered.graph)
    stored = lowered.graph.initializers
    assert all(set(stored[key].metadata_props[TASKS_KEY].split(",")) == users[key] for key in lowered.origin)
    for task in TASKS:
        twin.train().zero_grad(set_to_none=True)
        twin(image())[task].square().sum().backward()
        for key, parameter in twin.trainable().items():
            assert (parameter.grad is not None) == (task in users[key]), (task, key)
    assert {key for key, users in twin.users().items() if not users} == set()


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", METHODS)
def test_running_statistics_describe_one_input(name: str, backbone: str, tmp_path: Path) -> None:
    setup, result = found(name, backbone, tmp_path)
    graph = lower(result.plan, setup.backbone, setup.heads).graph
    read: dict[str, set[str]] = defaultdict(set)
    for node in graph.nodes:
        if node.op_type == "BatchNormalization":
            for position in STATISTICS:
                read[name_of(node.inputs[position])].add(name_of(node.inputs[0]))
    assert {len(inputs) for inputs in read.values()} <= {1}


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", DECIDED)
def test_order_of_tasks_does_not_matter(name: str, backbone: str, tmp_path: Path) -> None:
    """Tasks in another order: the same plan but for the order of its outputs, so the same costs and numbers."""
    costs, outputs = [], []
    for tasks in (TASKS, TASKS[::-1]):
        setup, result = found(name, backbone, tmp_path, tasks)
        costs.append(executed_cost(result.plan, setup.backbone, setup.heads).total)
        outputs.append(outputs_of(result.plan, setup))
    assert costs[0] == costs[1]
    assert_same_outputs(*outputs)


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", SEARCHED)
def test_permuted_choices_permute_outputs(name: str, backbone: str, tmp_path: Path) -> None:
    """What every task chose, and the tasks in another order: each computes what it did, softly and as a plan.

    Where instances are nodes that choose, each stands for a task, and is permuted with it.
    """
    setups = [setup_for(backbone, tasks) for tasks in (TASKS, TASKS[::-1])]
    methods = [method_for(name, setup, tmp_path) for setup in setups]
    generator = torch.Generator().manual_seed(6)
    logits = {task: torch.randn(methods[0].model.policies[0].shape, generator=generator) for task in TASKS}
    for rows in logits.values():
        rows[0, 0] = 9  # no task skips everything
    lowered, soft = [], []
    for setup, method in zip(setups, methods, strict=True):
        model = method.model.eval()
        by_node = method.space.chosen_by == "node"
        order = [TASKS.index(task) for task in setup.tasks]
        model.set_policy({task: rows[:, order] if by_node else rows for task, rows in logits.items()})
        model.at(Moment("test", "argmax"))
        lowered.append(outputs_of(method.space.plan(model.picks()), setup))
        model.at(Moment("test", "soft"))
        users = model.users()
        with torch.no_grad():
            for key, tensor in model.store.trainable().items():
                own = users.get(key, frozenset(TASKS))
                # A task's own instance has the number of the task; one that all may choose has its own.
                name_of_weight, _, number = key.partition("@")
                mark = (name_of_weight, order[int(number or 0)]) if by_node else key
                tensor.copy_(drawn(tensor.shape, mark if own == set(TASKS) else (name_of_weight, sorted(own))))
            soft.append(model(image()))
    assert_same_outputs(*lowered)
    assert_same_outputs(*soft)


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", SEARCHED)
def test_a_permuted_policy_costs_the_same(name: str, backbone: str, tmp_path: Path) -> None:
    """Which task a column belongs to makes no difference: options of all tasks are permuted with them."""
    models = [method_for(name, setup_for(backbone, tasks), tmp_path).model.double() for tasks in (TASKS, TASKS[::-1])]
    generator = torch.Generator().manual_seed(0)
    logits = {task: torch.randn(models[0].policies[0].shape, generator=generator) for task in TASKS}
    models[0].set_policy(logits)
    # Where all tasks choose among the same instances, which one is called what must not matter either.
    alike = are_interchangeable(models[0].space)
    models[1].set_policy({task: row.flip(-1) if alike else row for task, row in logits.items()})
    costs = [float(model.expected_cost(model.probabilities()).detach()) for model in models]
    assert costs[0] == pytest.approx(costs[1], rel=1e-9)


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", LEARNED)
def test_hard_choices_equal_the_lowered_graph(name: str, backbone: str, tmp_path: Path) -> None:
    """A supermodel whose choices are one-hot computes what their plan does: softly, hard, lowered."""
    setup = setup_for(backbone)
    method = method_for(name, setup, tmp_path)
    ShakenWork(setup).fit("search", method.model, [])
    model = method.model.eval()
    generator = torch.Generator().manual_seed(4)
    for _ in range(5):
        picks = hard(model, generator)
        lowered = lower(method.space.plan(picks), setup.backbone, setup.heads)
        twin = Twin(lowered.graph, weights=model.weights(lowered)).eval()
        with torch.no_grad():
            chosen, plan = model(image()), twin(image())
        for task in TASKS:
            torch.testing.assert_close(chosen[task], plan[task], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", SEARCHED)
def test_the_shown_policy_is_the_learned_one(name: str, backbone: str, tmp_path: Path) -> None:
    """Of every unit and task the softmax over the options that exist; what does not exist has probability 0."""
    setup = setup_for(backbone)
    method = method_for(name, setup, tmp_path)
    policy = method.find(ShakenWork(setup)).policy
    assert policy.units == method.space.table.names and policy.tasks == TASKS
    learned = dict(zip(method.model.groups_of_choices, method.model.policies, strict=True))
    for number, task in enumerate(TASKS):
        rows = iter(learned[task].detach().double())
        for unit, name_of_unit in enumerate(policy.units):
            count = len(method.space.entries[name_of_unit][task])
            # One option is certain, and has no logits.
            p = [1.0] if count == 1 else torch.softmax(next(rows)[:count], -1).tolist()
            columns = [method.column(name_of_unit, task, option) for option in range(count)]
            assert len(set(columns)) == count
            expected = dict(zip(columns, p, strict=True))
            shown = policy.probabilities[unit, number].tolist()
            assert shown == pytest.approx([expected.get(i, 0.0) for i in range(len(policy.options))], abs=1e-6)
        assert next(rows, None) is None


@pytest.mark.parametrize("name", SEARCHED)
def test_another_plan_is_taken_without_a_search(name: str, tmp_path: Path) -> None:
    """How a plan is taken from what was learned may change; what the search is made of may not."""
    method = method_for(name, setup_for("chain"), tmp_path)
    decisive = method.decisive(method.options)
    assert "sampling" not in decisive and {"cost", "steps"} <= set(decisive)


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", LEARNED)
def test_one_hot_soft_weights_equal_hard_choices(name: str, backbone: str, tmp_path: Path) -> None:
    """Mixing every option by weights of 1 and 0 is running the chosen one, when all columns saw the same."""
    setup = setup_for(backbone)
    model = method_for(name, setup, tmp_path).model.eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.store.trainable().values():  # instances start equal, and would hide which one ran
            parameter.add_(0.05 * torch.rand(parameter.shape, generator=generator))
    for _ in range(3):
        hard(model, generator)
        with torch.no_grad():
            chosen = model(image())
            model.at(setup.search_phase("s", "soft", 1, setup.phase.turns).moment(0))
            mixed = model(image())
        for task in TASKS:
            torch.testing.assert_close(mixed[task], chosen[task], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", SEARCHED)
def test_expected_cost_of_hard_choices_is_counted(name: str, backbone: str, tmp_path: Path) -> None:
    """Expected MACs of a decided policy are the MACs of the lowered model, parameters likewise where they are tied."""
    setup = setup_for(backbone)
    for count in ("macs", "parameters"):
        method = method_for(name, setup, tmp_path, cost=count)
        generator = torch.Generator().manual_seed(5)
        for _ in range(5):
            picks = hard(method.model, generator)
            cost = executed_cost(method.space.plan(picks), setup.backbone, setup.heads)
            share = getattr(cost.backbone, count) / getattr(cost.independent_backbone, count)
            expected = float(method.model.expected_cost(method.model.probabilities()).detach())
            assert expected == pytest.approx(share, rel=1e-6), count


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", SEARCHED)
def test_degenerate_policies_are_the_baselines(name: str, backbone: str, tmp_path: Path) -> None:
    """Everybody takes instance 0: one backbone. Everybody takes an own one, where there are such: N backbones."""
    setup = setup_for(backbone)
    method = method_for(name, setup, tmp_path)
    cases = [(dict.fromkeys(method.space.choices, 0), all_shared)]
    if any(option.instance for option in options_in(method.space)):
        cases.append((apart(method.space), independent))
    for picks, plan in cases:
        mine = executed_cost(method.space.plan(picks), setup.backbone, setup.heads)
        reference = executed_cost(plan(setup.backbone, TASKS), setup.backbone, setup.heads)
        assert mine == reference


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", LEARNED)
def test_a_held_step_leaves_statistics(name: str, backbone: str, tmp_path: Path) -> None:
    """The trainer's step, with a method's own model: it moves what it is to move, by the batch's own statistics."""
    model = method_for(name, setup_for(backbone), tmp_path).model.train()
    turn = Turn(moves=(Move(optimiser=Optimiser(kind="sgd", lr=0.1)),), statistics="hold")
    before = {key: tensor.clone() for key, tensor in model.store.weights().items()}
    model.at(Moment("test", "soft"))
    stepper = Stepper(model, [make_task("depth", "depth", 1)], Compute())
    batch = Batch(image(4), {"depth": torch.ones(4, 16, 16)})
    stepper.step(turn, batch, TurnOptimiser(turn, model), rates={"weights": 0.1}, place="here")
    after = {**model.store.weights(), **model.statistics()}
    moved = {key for key, tensor in before.items() if not torch.equal(after[key], tensor)}
    assert moved
    assert moved.isdisjoint(model.statistics())


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", LEARNED)
def test_statistics_move_and_are_reset(name: str, backbone: str, tmp_path: Path) -> None:
    """In training a forward pass moves running statistics; a reset brings them back to 0 and 1."""
    model = method_for(name, setup_for(backbone), tmp_path).model.train()
    before = {key: tensor.clone() for key, tensor in model.statistics().items()}
    assert before
    model.at(setup_for(backbone).search_phase("s", "soft", 1, setup_for(backbone).phase.turns).moment(0))
    with torch.no_grad():
        model(image(4))
    assert any(not torch.equal(before[key], tensor) for key, tensor in model.statistics().items())
    model.reset_statistics()
    for key, tensor in model.statistics().items():
        assert set(tensor.flatten().tolist()) == ({1.0} if ".var" in key else {0.0}), key


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("layout", "plan", "random")])
def test_one_task_is_the_backbone_itself(name: str, backbone: str, tmp_path: Path) -> None:
    """Where nothing is skipped, a task alone runs the backbone, and there is nothing to join."""
    setup = setup_for(backbone, TASKS[:1])
    method = method_for(name, setup, tmp_path)
    if name in SEARCHED and any(option.skip for option in options_in(method.space)):
        plan = method.space.plan(dict.fromkeys(method.space.choices, 0))
    else:
        plan = method.find(ShakenWork(setup)).plan
    cost = executed_cost(plan, setup.backbone, setup.heads)
    assert cost.backbone == cost.independent_backbone
    assert not plan.joins


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", SOFT)
def test_soft_sharing_keeps_its_columns(name: str, backbone: str, tmp_path: Path) -> None:
    """No column is dropped. Where each task has one, its weights come from the single-task models.

    Those of the joins do not, unless nothing trains them any more.
    """
    setup, result = found(name, backbone, tmp_path)
    lowered = lower(result.plan, setup.backbone, setup.heads)
    alone = executed_cost(columns_for(name, setup), setup.backbone, setup.heads)
    assert executed_cost(result.plan, setup.backbone, setup.heads).backbone.macs >= alone.backbone.macs
    if name in ONE_COLUMN:
        assert result.start is None  # it starts as the multi-task model does
        return
    taken = result.start(lowered)
    of_joins = {key for key, origin in lowered.origin.items() if getattr(origin, "part", "") == "join"}
    assert {key for key in lowered.origin if key not in taken} == (set() if result.phases == () else of_joins)


@pytest.mark.parametrize("backbone", TRIED)
@pytest.mark.parametrize("name", SOFT)
def test_degenerate_soft_sharing_is_its_columns(name: str, backbone: str, tmp_path: Path) -> None:
    """With joins that pass on each column's own map, every task computes what the columns do without them."""
    setup = setup_for(backbone)
    result = method_for(name, setup, tmp_path, **DEGENERATE[name]).find(StillWork(setup))
    alone = ShakenWork(setup).train("single", columns_for(name, setup))
    lowered = lower(result.plan, setup.backbone, setup.heads)
    twin = Twin(lowered.graph)  # joins start as their kind says
    twin.load_weights((result.start or alone.start)(lowered), strict=False)
    with torch.no_grad():
        mine = twin.eval()(image())
        theirs = Twin(alone.graph, weights=alone.weights).eval()(image())
    for task in TASKS:
        assert torch.equal(mine[task], theirs[task])


def test_methods_name_themselves() -> None:
    """What a method says of itself is there, and names are what a pipeline file holds."""
    assert {"single-task", "multi-task", "share-until", "random", "layout", "plan", "automtl"} <= set(METHODS)
    for name, kind in methods().items():
        assert issubclass(kind, Method)
        assert name == name.lower() and " " not in name
        assert all((kind.kind, kind.units, kind.needs, kind.source))


def test_choices_come_unit_by_unit(tmp_path: Path) -> None:
    """And in each unit task by task, in the order of the outputs."""
    method = method_for("automtl", setup_for("residual"), tmp_path)
    names = method.space.table.names
    assert list(method.space.choices) == [ChoiceId(unit, task) for unit in names for task in TASKS]
