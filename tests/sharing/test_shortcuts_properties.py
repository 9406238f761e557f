"""A block of another shape is skipped by its own shortcut: found, computed, shared, stored and exported as such."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from method_work import hard, image
from plans import TASKS, light_heads
from shortcut_nets import NONE, SHORTCUTS, block_net, projected

from trunkline.errors import InvalidConfig
from trunkline.export.count import count_file
from trunkline.export.exporter import export_model
from trunkline.graph.cost import graph_cost
from trunkline.graph.graph import INSTANCE_KEY, PART_KEY, TASKS_KEY, Graph, name_of
from trunkline.recipe import Moment
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.lowering.numbering import BackboneNode
from trunkline.sharing.option import Option
from trunkline.sharing.origin import BackboneWeight
from trunkline.sharing.plan import Choice, SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.sharing.space import Space
from trunkline.sharing.units import Unit
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.cost_term import cost_term
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties


def block_of(backbone: Backbone) -> tuple[int, str]:
    """Number and name of the block with the addition."""
    units = backbone.table("block").units
    return next((number, unit.name) for number, unit in enumerate(units) if "add" in unit.nodes)


def plan_with(backbone: Backbone, row: Sequence[Choice], **settings: object) -> SharingPlan:
    """Everything is shared but the block with the addition."""
    _, block = block_of(backbone)
    tasks = TASKS[: len(row)]
    units: dict[str, dict[str, Choice]] = {name: dict.fromkeys(tasks, 0) for name in backbone.table("block").names}
    return make_plan(
        backbone, tasks, {**units, block: dict(zip(tasks, row, strict=True))}, granularity="block", **settings
    )


def space_over(backbone: Backbone, **settings: object) -> Space:
    """Shared, the task's own, half of both widths, or the skip."""

    def options(unit: object, task: int) -> list[Option]:
        return [Option(0), Option(skip=True), Option(task + 1), Option(0, channels=0.5), Option(task + 1, channels=0.5)]

    return Space.over(backbone, TASKS, "block", options, **settings)


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_a_shortcut_is_found(kind: str) -> None:
    make, nodes = SHORTCUTS[kind]
    backbone = Backbone(make())
    number, _ = block_of(backbone)
    skip = backbone.table("block").skips[number]
    assert skip is not None and skip.kind == "shortcut" and skip.kept == nodes
    assert skip.keeps_equal and not skip.is_identity


@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_shortcut_is_refused(kind: str) -> None:
    """A plan that skips such a block is refused, with its place."""
    backbone = Backbone(NONE[kind]())
    number, block = block_of(backbone)
    assert backbone.table("block").skips[number] is None
    with pytest.raises(InvalidConfig, match=f"units.{block}.depth: .* cannot be skipped"):
        plan_with(backbone, ["skip", 0])


def test_a_map_inside_forbids_the_skip() -> None:
    """A head reads it, so it must be computed."""
    graph = block_net(projected)
    inner = next(value for node in graph.nodes for value in node.outputs if value.name == "m1_relu")
    graph.model.graph.outputs.insert(0, inner)
    number, _ = block_of(Backbone(graph))
    assert Backbone(graph).table("block").skips[number] is None


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_a_skip_gives_what_the_block_adds(kind: str) -> None:
    """The shortcut's value in a model that runs the block, without the ReLU behind the addition."""
    make, nodes = SHORTCUTS[kind]
    graph = make()
    backbone = Backbone(graph)
    whole = lower(all_shared(backbone, TASKS[:1]), backbone, {})
    weights = shaken(whole.graph)
    skipping = lower(plan_with(backbone, ["skip"]), backbone, {})
    skipped = Twin(skipping.graph, weights={key: weights[key].numpy() for key in skipping.origin}).double().eval()
    running = Twin(whole.graph, weights={key: t.numpy() for key, t in weights.items()}).double().eval()
    (output,) = (value for node in graph.nodes if node.name == nodes[-1] for value in node.outputs)
    with torch.no_grad():
        expected = running(image().double(), [name_of(output)])[name_of(output)]
        reader = next(n for n in skipping.graph.nodes if n.name == "last")
        found = skipped(image().double(), [name_of(reader.inputs[0])])[name_of(reader.inputs[0])]
    # Whether a ReLU follows shows only where something is below 0: channels that are filled up are not.
    assert (expected < 0).any() == ("s_bn" in nodes)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def shaken(graph: Graph) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    twin = Twin(graph, seed=2)
    return {name: t + 0.2 * torch.rand(t.shape, generator=generator) for name, t in twin.weights().items()}


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_running_and_skipping_tasks_share_it(kind: str) -> None:
    """It runs once, and is stored once: what is executed is what a task that runs the block executes."""
    make, nodes = SHORTCUTS[kind]
    backbone = Backbone(make())
    graph = lower(plan_with(backbone, [0, "skip", "skip"]), backbone, {}).graph
    found = {name_of(node): node for node in graph.nodes if name_of(node).partition("@")[0] in nodes}
    assert set(found) == set(nodes)
    for node in found.values():
        assert node.metadata_props[TASKS_KEY] == ",".join(TASKS)
        assert node.metadata_props[PART_KEY] == "backbone"
    assert found[nodes[-1]].metadata_props.get(INSTANCE_KEY, "0") == "0"
    assert graph_cost(graph).parameters == graph_cost(backbone.graph).parameters


@pytest.mark.parametrize("tie", [True, False])
def test_a_skip_has_instance_zero(tie: bool) -> None:
    """A task with an own instance of the block runs that one's shortcut, and one that skips the shared one's."""
    backbone = Backbone(block_net(projected))
    graph = lower(plan_with(backbone, [1, "skip", "skip"], tie=tie), backbone, {}).graph
    read = {
        node.metadata_props[TASKS_KEY]: name_of(node.inputs[1]) for node in graph.nodes if node.name.startswith("s@")
    }
    assert read == {"depth": "s.weight@1", "normals,seg": "s.weight"}


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_supermodel_lowered_and_costs_agree(kind: str) -> None:
    """Hard choices of the search are the lowered plan, and cost what it costs; softly sure ones are the hard ones."""
    backbone = Backbone(SHORTCUTS[kind][0]())
    heads = light_heads(backbone.graph)
    space = space_over(backbone)
    model = ChoiceModel(space, heads, {}, seed=3).eval()
    terms = {count: cost_term(space, heads, count) for count in ("macs", "parameters")}
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for tensor in model.store.trainable().values():
            tensor.add_(0.05 * torch.rand(tensor.shape, generator=generator))
    for _ in range(8):
        plan = space.plan(hard(model, generator))
        lowered = lower(plan, backbone, heads)
        twin = Twin(lowered.graph, weights=model.weights(lowered)).eval()
        cost = executed_cost(plan, backbone, heads)
        for count, term in terms.items():
            share = getattr(cost.backbone, count) / getattr(cost.independent_backbone, count)
            assert float(term(model.probabilities()).detach()) == pytest.approx(share, rel=1e-6), count
        with torch.no_grad():
            chosen, deployed = model(image()), twin(image())
            model.at(Moment("test", "soft"))
            mixed = model(image())
        for task in TASKS:
            torch.testing.assert_close(chosen[task], deployed[task], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(mixed[task], chosen[task], rtol=1e-4, atol=1e-5)


def test_untied_parameters_follow_executions() -> None:
    backbone = Backbone(block_net(projected))

    def options(unit: object, task: int) -> list[Option]:
        return [Option(0), Option(1), Option(skip=True)]

    space = Space.over(backbone, TASKS, "block", options, tie=False)
    model = ChoiceModel(space, {}, {}, seed=3)
    term = cost_term(space, {}, "parameters")
    generator = torch.Generator().manual_seed(5)
    for _ in range(20):
        cost = executed_cost(space.plan(hard(model, generator)), backbone, {})
        share = cost.backbone.parameters / cost.independent_backbone.parameters
        assert float(term(model.probabilities()).detach()) == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize("count", ["macs", "parameters"])
def test_tasks_that_skip_share_it_too(count: str) -> None:
    """Also where no task may run the instance that the shortcut has its weights of."""
    backbone = Backbone(block_net(projected))

    def options(unit: Unit, task: int) -> list[Option]:
        return [Option(0)] if unit.depth == 1 else [Option(skip=True), Option(task + 1)]

    space = Space.over(backbone, TASKS, "block", options)
    model = ChoiceModel(space, {}, {}, seed=3)
    term = cost_term(space, {}, count)  # type: ignore[arg-type]  # a parametrised literal
    generator = torch.Generator().manual_seed(5)
    shares = set()
    for _ in range(20):
        picks = hard(model, generator, pinned=False)
        cost = executed_cost(space.plan(picks), backbone, {})
        share = getattr(cost.backbone, count) / getattr(cost.independent_backbone, count)
        assert float(term(model.probabilities()).detach()) == pytest.approx(share, rel=1e-6)
        shares.add(share)
    assert len(shares) > 2


def test_one_set_of_statistics_describes_one_input() -> None:
    """A soft step runs the shortcut for both options at once: its statistics move once, and fit its own input."""
    backbone = Backbone(block_net(projected))

    def options(unit: object, task: int) -> list[Option]:
        return [Option(0), Option(skip=True)]

    model = ChoiceModel(Space.over(backbone, TASKS[:2], "block", options), {}, {}, seed=3).train()
    model.at(Moment("test", "soft"))
    seen: list[torch.Tensor] = []
    operator = model.operators.of(BackboneNode("s_bn"))
    operator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    with torch.no_grad():
        model(image(8))
    # Before the block nothing is open, so both columns have one input, and one set: it is named after the first.
    assert len(seen) == 1
    running = model.store.at(BackboneWeight("s_bn.mean", column="depth"))
    torch.testing.assert_close(running, 0.1 * seen[0], rtol=1e-4, atol=1e-6)


def test_statistics_are_apart_where_inputs_differ() -> None:
    """Behind own stems the shortcut has two inputs, and a set for each, whether it is run or skipped to."""
    backbone = Backbone(block_net(projected))
    plan = plan_with(backbone, [0, "skip"])
    units = {**plan.units, "stem": {"depth": 0, "normals": 1}}
    lowered = lower(plan.model_copy(update={"units": units}), backbone, {})
    means = {key: origin for key, origin in lowered.origin.items() if key.startswith("s_bn.mean")}
    assert set(means) == {"s_bn.mean", "s_bn.mean~normals"}
    assert {key for key in lowered.origin if key.startswith("s_bn.scale")} == {"s_bn.scale"}


def test_normalisation_of_each_task_parts_them() -> None:
    """With a normalisation of each task's own, values behind a shortcut are equal for no two tasks."""
    backbone = Backbone(block_net(projected))
    graph = lower(plan_with(backbone, ["skip", "skip"], batchnorm="task"), backbone, {}).graph
    names = [name_of(node) for node in graph.nodes]
    assert names.count("s") == 0  # the stems' normalisations are apart already
    assert {"s_bn@depth", "s_bn@normals"} <= set(names)


@pytest.mark.parametrize("kind", SHORTCUTS)
def test_a_skipped_block_is_exported(kind: str, tmp_path: Path) -> None:
    """The file computes what its twin does, and counts what the plan executes."""
    backbone = Backbone(SHORTCUTS[kind][0]())
    heads = light_heads(backbone.graph)
    plan = plan_with(backbone, ["skip", 0, 2])
    lowered = lower(plan, backbone, heads)
    weights = {key: tensor.numpy() for key, tensor in Twin(lowered.graph, seed=1).weights().items()}
    exported = export_model(lowered.graph, weights, tmp_path / "model.onnx", parity_inputs=4)
    assert exported.parity.passed
    assert count_file(tmp_path / "model.onnx").macs == executed_cost(plan, backbone, heads).total.macs


def test_joins_cannot_read_a_skipped_shortcut() -> None:
    """Inside a block that a task skips its column has no values, those of the shortcut neither."""
    backbone = Backbone(block_net(projected))
    join = Join(
        name="mix",
        kind="mix",
        settings={"starts": [0.5, 0.5], "per": "tensor"},
        site="s_bn",
        task="depth",
        reads=(Read.column("s_bn", "depth"), Read.column("s_bn", "normals")),
        gives="site",
    )
    with pytest.raises(InvalidConfig, match='"depth" skips'):
        plan_with(backbone, ["skip", 0], joins=(join,))
