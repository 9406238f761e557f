"""Properties of running statistics: each input has its own, in lowered models and in the search."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache

import pytest
import torch
from automtl_model import AutoMTL, AutoMTLOptions
from backbones import BACKBONES, conv, unit
from plans import TASKS, choose, light_heads, random_plan

from trunkline.fragments.layers import batch_norm
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import HEAD, Graph, name_of
from trunkline.graph.roles import STATISTICS
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.lowering.numbering import BackboneNode
from trunkline.sharing.origin import BackboneWeight, FragmentWeight
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.twins.twin import Twin
from trunkline.twins.weight_store import WeightStore

pytestmark = pytest.mark.properties

NORMALISED = ("residual", "mobile")
STEPS = 30


def images(count: int = 12) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def gap(model: torch.nn.Module, store: WeightStore) -> float:
    """What running statistics add to the loss of batch statistics after some steps on one batch."""
    x, generator = images(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        targets = {task: torch.randn(y.shape, generator=generator) for task, y in model.eval()(x).items()}
    model.train()

    def loss() -> torch.Tensor:
        return torch.stack([(y - targets[task]).square().mean() for task, y in model(x).items()]).sum()

    optimiser = torch.optim.Adam(store.trainable().values(), lr=3e-3)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / STEPS)
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    with torch.no_grad():
        by_batch, by_running = float(loss()), float(model.eval() and loss())
    return abs(by_running - by_batch)


def gap_of_plan(plan: SharingPlan, backbone: Graph) -> float:
    twin = Twin(lower(plan, backbone, light_heads(backbone)).graph, seed=1)
    return gap(twin, twin)


@cache
def gap_when_shared(name: str) -> float:
    backbone = BACKBONES[name]()
    return gap_of_plan(all_shared(backbone, TASKS), backbone)


@pytest.mark.parametrize("name", NORMALISED)
@pytest.mark.parametrize(
    ("seed", "settings"), [(0, {}), (1, {}), (2, {}), (3, {"tie": False}), (4, {"batchnorm": "task"})]
)
def test_running_statistics_fit_every_plan(name: str, seed: int, settings: dict[str, object]) -> None:
    """Deployed is what was trained: no plan loses more to running statistics than the fully shared one does.

    With one set of statistics for several inputs the loss grows three to fifteen times as much.
    """
    backbone = BACKBONES[name]()
    plan = random_plan(backbone, TASKS, seed, sharing=0.8).model_copy(update=settings)
    assert gap_of_plan(plan, backbone) < 2 * gap_when_shared(name)


def statistics_read(graph: Graph) -> dict[str, set[str]]:
    """Inputs of the nodes that read each running statistic."""
    read: dict[str, set[str]] = defaultdict(set)
    for node in graph.nodes:
        if node.op_type == "BatchNormalization":
            for index in STATISTICS:
                read[name_of(node.inputs[index])].add(name_of(node.inputs[0]))
    return read


@pytest.mark.parametrize("name", NORMALISED)
@pytest.mark.parametrize("sharing", [0.97, 0.8, 0.4])
def test_no_statistic_describes_two_inputs(name: str, sharing: float) -> None:
    """Running statistics are apart wherever inputs differ, while affine weights stay tied."""
    backbone = BACKBONES[name]()
    for seed in range(10):
        plan = random_plan(backbone, TASKS, seed, sharing=sharing)
        lowered = lower(plan, backbone, light_heads(backbone))
        assert {len(inputs) for inputs in statistics_read(lowered.graph).values()} == {1}
        tied = [o for o in lowered.origin.values() if isinstance(o, BackboneWeight) and o.name.endswith(".scale")]
        assert tied and not any(origin.column for origin in tied)


def first_apart(backbone: Graph) -> SharingPlan:
    """Tasks part at the first unit and share the weights of all others."""
    rows = {u: dict.fromkeys(TASKS, 0) for u in random_plan(backbone, TASKS, 0).units}
    rows["stem"] = {"depth": 0, "normals": 0, "seg": 3}
    return make_plan(backbone, TASKS, rows)


def test_equal_inputs_have_one_named_set() -> None:
    """The first task of a kind names the set; what is computed once has one."""
    backbone = BACKBONES["residual"]()
    lowered = lower(first_apart(backbone), backbone, light_heads(backbone))
    means = {name for name in lowered.graph.initializers if name.startswith("a1_bn.mean")}
    assert means == {"a1_bn.mean", "a1_bn.mean~seg"}
    assert {name for name in lowered.graph.initializers if name.startswith("a1_bn.scale")} == {"a1_bn.scale"}
    assert {name for name in lowered.graph.initializers if name.startswith("stem_bn.var")} == {
        "stem_bn.var",
        "stem_bn.var@3",
    }
    assert lowered.origin["a1_bn.mean"] == BackboneWeight("a1_bn.mean", 0, "depth")
    assert lowered.origin["a1_bn.mean~seg"] == BackboneWeight("a1_bn.mean", 0, "seg")
    assert lowered.origin["head.seg.norm1.var"] == FragmentWeight(HEAD, "seg", "norm1.var")


def early_norm() -> Graph:
    """A BatchNormalization before any unit, one without weights of its own, and one after a join."""
    b = GraphBuilder("early")
    x = batch_norm(b, b.image("image", (3, 16, 16)), "input_bn")
    x = unit(b, unit(b, x, "stem", 8), "body", 8)
    y = b.node("Concat", [conv(b, x, "left", 4, kernel=1), conv(b, x, "right", 4)], name="join", attributes={"axis": 1})
    return b.finish([b.node("Relu", [batch_norm(b, y, "late_bn")], name="last")])


def backbone_named(name: str) -> Graph:
    return early_norm() if name == "early" else BACKBONES[name]()


def apart_model(name: str, **options: object) -> AutoMTL:
    """A supermodel whose tasks choose differently, softly, and whose weights differ."""
    backbone = backbone_named(name)
    model = AutoMTL(backbone, light_heads(backbone), TASKS, AutoMTLOptions(**options), seed=2)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in model.store.trainable().values():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    model.set_logits(2 * torch.randn(len(model.units), len(TASKS), 3, generator=generator))
    return model


@pytest.mark.parametrize("name", NORMALISED)
def test_search_statistics_fit_each_column(name: str) -> None:
    """A supermodel in evaluation loses no more than the fully shared model, although its columns differ."""
    model = apart_model(name)
    model.mode("soft")
    assert gap(model, model.store) < 4 * gap_when_shared(name)


@pytest.mark.parametrize("name", [*NORMALISED, "early"])
@pytest.mark.parametrize("options", [{}, {"mixing": "output"}, {"batchnorm": "task"}], ids=str)
def test_a_step_moves_each_statistic_once(name: str, options: dict[str, object]) -> None:
    """After one step every running mean is a tenth of its own column's batch mean (momentum 0.9, from 0)."""
    model = apart_model(name, **options).train()
    model.mode("soft")
    seen = batch_means(model)
    with torch.no_grad():
        model(images())
    assert len(seen) == sum(node.op_type == "BatchNormalization" for node in model.backbone.nodes)
    for node, means in seen.items():
        # What stands before all units is the same for all tasks, and is computed once.
        assert len(means) == (1 if node == "input_bn" else len(TASKS))
        for task, mean in zip(TASKS, means, strict=False):
            running = model.store.at(BackboneWeight(f"{node}.mean", column=task))
            torch.testing.assert_close(running, 0.1 * mean, rtol=1e-4, atol=1e-6)


def test_hard_choices_in_training_move_one_set() -> None:
    """All columns compute the same here, so it is computed once, and moves the set that an evaluation reads."""
    model = apart_model("residual").train()
    choose(model, random_plan(model.backbone, TASKS, 0, sharing=1.0))
    before = {key: tensor.clone() for key, tensor in model.statistics().items()}
    seen = batch_means(model)
    with torch.no_grad():
        model(images())
    moved = {key for key, tensor in model.statistics().items() if not torch.equal(tensor, before[key])}
    for node, means in seen.items():
        assert len(means) == 1
        running = model.store.at(BackboneWeight(f"{node}.mean", column=TASKS[0]))
        torch.testing.assert_close(running, 0.1 * means[0], rtol=1e-4, atol=1e-6)
    assert not any(key.endswith(f"~{task}") for key in moved for task in TASKS[1:])


def batch_means(model: AutoMTL) -> dict[str, list[torch.Tensor]]:
    """Filled by the next forward pass: the means of what columns feed to each BatchNormalization, in their order."""
    seen: dict[str, list[torch.Tensor]] = {}
    for node in model.backbone.nodes:
        if node.op_type == "BatchNormalization":
            operator = model.operators.of(BackboneNode(name_of(node)))
            operator.register_forward_pre_hook(watching(seen.setdefault(name_of(node), [])))
    return seen


def watching(means: list[torch.Tensor]) -> Callable[[object, tuple[torch.Tensor, ...]], None]:
    read: list[torch.Tensor] = []

    def watch(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        # An option more on the same input, where outputs are mixed, is no column more.
        if not read or read[-1] is not inputs[0]:
            means.append(inputs[0].mean((0, 2, 3)))
        read.append(inputs[0])

    return watch


@pytest.mark.parametrize("name", [*NORMALISED, "early"])
@pytest.mark.parametrize("batchnorm", ["tied", "task"])
def test_evaluation_is_that_of_the_lowered_model(name: str, batchnorm: str) -> None:
    """After soft steps all columns' statistics differ; hard choices read the one that the lowered model starts from."""
    model = apart_model(name, batchnorm=batchnorm).train()
    backbone = model.backbone
    model.mode("soft")
    with torch.no_grad():
        for _ in range(3):
            model(images())
    model.eval()
    for seed in range(8):
        plan = random_plan(backbone, TASKS, seed, sharing=(0.5, 0.9)[seed % 2])
        plan = plan.model_copy(update={"batchnorm": batchnorm})
        choose(model, plan)
        lowered = lower(plan, backbone, light_heads(backbone))
        twin = Twin(lowered.graph, weights=model.weights(lowered)).eval()
        with torch.no_grad():
            searched, deployed, alone = model(images()), twin(images()), model(images(), TASKS[1:2])
        for task in TASKS:
            torch.testing.assert_close(searched[task], deployed[task], rtol=1e-4, atol=1e-4)
        assert torch.equal(alone[TASKS[1]], searched[TASKS[1]])
