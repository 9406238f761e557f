"""MTAN: its formula against the model, what is shared and what is not, and what it degenerates to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from backbones import BACKBONES
from method_work import TASKS, THREE, ShakenWork, image, method_for, setup_for, shaken_weights

from trunkline.errors import InvalidConfig
from trunkline.export.exporter import export_model
from trunkline.graph.graph import shape_of
from trunkline.sharing.join import Join, Read
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.origin import FragmentWeight, Origin
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.work import Found
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden

Weights = Mapping[Origin, torch.Tensor]


def found_for(backbone: str, tasks: tuple[str, ...] = TASKS, **options: Any) -> tuple[Setup, Found]:
    setup = setup_for(backbone, tasks)
    return setup, method_for("mtan", setup, None, **options).find(ShakenWork(setup))


def model_for(backbone: str, **options: Any) -> tuple[Found, Lowered, Twin]:
    """A model whose weights and statistics are all other numbers."""
    setup, found = found_for(backbone, **options)
    lowered = lower(found.plan, setup.backbone, setup.heads)
    return found, lowered, Twin(lowered.graph, weights=shaken_weights(lowered)).eval()


def by_origin(lowered: Lowered, twin: Twin) -> Weights:
    return {origin: twin.weights()[name] for name, origin in lowered.origin.items()}


def normal(x: torch.Tensor, weights: Weights, owner: str, name: str, join: str) -> torch.Tensor:
    """By the statistics of this join: they are stored for the first join that reads the same."""
    mean, var = (weights[FragmentWeight("join", owner, f"{name}.{key}", join)] for key in ("mean", "var"))
    scale, bias = (weights[FragmentWeight("join", owner, f"{name}.{key}")] for key in ("scale", "bias"))
    return F.batch_norm(x, mean, var, scale, bias, eps=1e-5)


def attended(join: Join, reads: list[torch.Tensor], weights: Weights) -> torch.Tensor:
    kernels = [weights[FragmentWeight("join", join.name, f"hidden.weight{number}")] for number in range(1, len(reads))]
    x = F.conv2d(torch.cat(reads[1:], 1), torch.cat(kernels, 1))
    x = normal(x, weights, join.name, "hidden.norm", join.name).relu()
    x = F.conv2d(x, weights[FragmentWeight("join", join.name, "mask.weight")])
    return reads[0] * torch.sigmoid(normal(x, weights, join.name, "mask.norm", join.name))


def refined(join: Join, read: torch.Tensor, weights: Weights) -> torch.Tensor:
    x = F.conv2d(read, weights[FragmentWeight("join", join.owner, "conv.weight")], padding=1)
    x = normal(x, weights, join.owner, "conv.norm", join.name).relu()
    # Torch's adaptive windows are the same where one size divides the other, as in these networks.
    return F.adaptive_max_pool2d(x, tuple(join.settings["size"]))


@pytest.mark.parametrize("backbone", ["residual", "mobile", "taps"])
def test_attention_written_out(backbone: str) -> None:
    """Stage by stage: masks of b_s and of what the refinement makes of the stage before; the last goes to the head."""
    found, lowered, twin = model_for(backbone)
    weights = by_origin(lowered, twin)
    with torch.no_grad():
        values = twin.run_values(image())
        results: dict[str, torch.Tensor] = {}
        for join in found.plan.joins:
            reads = [values[read.at] if read.at else results[read.join] for read in join.reads]
            known = attended(join, reads, weights) if join.kind == "attention" else refined(join, reads[0], weights)
            results[join.name] = known
    given = {join.task: join for join in found.plan.joins if join.gives == "tap"}
    assert set(given) == set(TASKS)
    for task, join in given.items():
        torch.testing.assert_close(values[f"join.{join.name}.masked"], results[join.name], rtol=1e-4, atol=1e-5)
        heads = [node for node in lowered.graph.nodes if f"join.{join.name}.masked" in map(str_of, node.inputs)]
        assert heads and all(node.name.startswith(f"head.{task}.") for node in heads)


def str_of(value: Any) -> str:
    return "" if value is None else str(value.name)


def test_what_each_join_reads() -> None:
    """u_s first, which is masked, then b_s, then the refined map of the stage before."""
    _, found = found_for("residual", TASKS[:2])
    a, b = TASKS[:2]
    assert [(join.name, join.site, join.gives, join.weights_of) for join in found.plan.joins] == [
        *((f"attention0.{task}", "a_relu", "joins", f"attention0.{task}") for task in (a, b)),
        *((f"refine0.{task}", "a_relu", "joins", "refine0") for task in (a, b)),
        *((f"attention1.{task}", "b_relu", "tap", f"attention1.{task}") for task in (a, b)),
    ]
    reads = {join.name: join.reads for join in found.plan.joins}
    assert reads[f"attention0.{a}"] == (Read.column("a_relu", a), Read.column("stem_relu", a))
    assert reads[f"refine0.{a}"] == (Read.of(f"attention0.{a}"),)
    assert reads[f"attention1.{a}"] == (Read.column("b_relu", a), Read.column("b1_relu", a), Read.of(f"refine0.{a}"))


@pytest.mark.parametrize("backbone", THREE)
def test_masks_of_nothing_leave_nothing(backbone: str) -> None:
    """Where all masks are 0, heads read zeros."""
    _, lowered, _ = model_for(backbone, mask_start=-200.0)
    twin = Twin(lowered.graph).eval()  # joins start as their kind says
    with torch.no_grad():
        values = twin.run_values(image())
    masked = [value for name, value in values.items() if name.endswith(".masked")]
    assert len(masked) >= 2 * len(TASKS) and not any(value.any() for value in masked)


def owned(lowered: Lowered, prefix: str) -> Iterator[str]:
    """Names of trained weights of joins whose owner begins so."""
    for name, origin in lowered.origin.items():
        if isinstance(origin, FragmentWeight) and origin.part == "join" and origin.owner.startswith(prefix):
            yield name


@pytest.mark.parametrize("backbone", THREE)
def test_a_task_has_attention_of_its_own(backbone: str) -> None:
    """Its output does not change with the attention of others, and does with its own at every stage."""
    _, lowered, twin = model_for(backbone)
    owners = {origin.owner for origin in lowered.origin.values() if isinstance(origin, FragmentWeight)}
    attentions = sorted(owner for owner in owners if owner.startswith("attention"))
    with torch.no_grad():
        before = twin(image())
        for owner in attentions:
            start = {name: twin.weights()[name].clone() for name in owned(lowered, owner)}
            twin.load_weights({name: tensor + 0.5 for name, tensor in start.items()}, strict=False)
            after = twin(image())
            changed = {task for task in TASKS if not torch.equal(before[task], after[task])}
            assert changed == {owner.partition(".")[2]}, owner
            twin.load_weights(start, strict=False)


@pytest.mark.parametrize("backbone", THREE)
def test_refinement_is_one_for_all_tasks(backbone: str) -> None:
    """One set of weights, which all tasks move, and running statistics for each."""
    found, lowered, twin = model_for(backbone)
    origins = [origin for origin in lowered.origin.values() if getattr(origin, "owner", "").startswith("refine")]
    owners = {origin.owner for origin in origins}
    assert owners == {f"refine{number}" for number in range(len(found.plan.joins) // (2 * len(TASKS)))}
    for owner in owners:
        names = Counter(origin.name for origin in origins if origin.owner == owner)
        assert names == {
            **dict.fromkeys(("conv.weight", "conv.norm.scale", "conv.norm.bias"), 1),
            **dict.fromkeys(("conv.norm.mean", "conv.norm.var"), len(TASKS)),
        }
    kernel = next(name for name, origin in lowered.origin.items() if origin in origins and origin.name == "conv.weight")
    for task in TASKS:
        twin.train().zero_grad(set_to_none=True)
        twin(image())[task].square().sum().backward()
        assert bool(twin.trainable()[kernel].grad.any()), task


def test_statistics_of_a_refinement_are_each_tasks() -> None:
    """In training each set follows the map that its own task refines: three inputs in one step, none of them pooled."""
    _, lowered, twin = model_for("residual")
    weights = by_origin(lowered, twin)
    old = {task: weights[of_refinement(task)].clone() for task in TASKS}
    twin.train()
    with torch.no_grad():
        values = twin.run_values(image())
    new = by_origin(lowered, twin)
    kernel = new[FragmentWeight("join", "refine0", "conv.weight")]
    for task in TASKS:
        mean = F.conv2d(values[f"join.attention0.{task}.masked"], kernel, padding=1).mean((0, 2, 3))
        expected = 0.9 * old[task] + 0.1 * mean
        torch.testing.assert_close(new[of_refinement(task)], expected, rtol=1e-4, atol=1e-5)
    assert len({tuple(new[of_refinement(task)].tolist()) for task in TASKS}) == len(TASKS)


def of_refinement(task: str) -> FragmentWeight:
    return FragmentWeight("join", "refine0", "conv.norm.mean", f"refine0.{task}")


@pytest.mark.parametrize(
    ("options", "hidden"),
    [
        ({}, [8, 12]),
        ({"refinement": "bottleneck"}, [2, 3]),
        ({"reduction": 3}, [2, 4]),
        ({"refinement": "bottleneck", "reduction": 1}, [8, 12]),
        ({"reduction": 99}, [1, 1]),
    ],
)
def test_hidden_channels_of_masks(options: dict[str, Any], hidden: list[int]) -> None:
    """C of a plain refinement, a quarter of it beside bottlenecks, or what is said; one at least."""
    _, found = found_for("residual", **options)
    attentions = [join for join in found.plan.joins if join.kind == "attention"]
    assert [join.settings["hidden"] for join in attentions] == [width for width in hidden for _ in TASKS]


def test_options_reach_the_joins() -> None:
    options = {"refinement": "bottleneck", "separable": True, "rectifier": "relu6", "mask_start": 2.0}
    setup, found = found_for("mobile", **options)
    for join in found.plan.joins:
        if join.kind == "attention":
            assert (join.settings["rectifier"], join.settings["start"]) == ("relu6", 2.0)
        else:
            settings = {"form": "bottleneck", "separable": True, "rectifier": "relu6"}
            assert join.settings == {"channels": 8, "size": [4, 4], **settings}
    graph = lower(found.plan, setup.backbone, setup.heads).graph
    in_joins = {node.op_type for node in graph.nodes if node.name.startswith("join.")}
    assert "Clip" in in_joins and "Relu" not in in_joins
    assert shape_of(graph.initializers["join.refine0.conv.depth.weight"]) == (2, 1, 3, 3)


def test_stages_may_be_named() -> None:
    """Attention stands where the user's blocks end, and at the last feature map."""
    setup, found = found_for("chain", stages=("conv0",))
    assert list(dict.fromkeys(join.site for join in found.plan.joins)) == ["relu0", "relu_valid"]
    with pytest.raises(InvalidConfig, match='the backbone has no block "conv9"'):
        method_for("mtan", setup, None, stages=("conv9",)).find(ShakenWork(setup))


def test_it_trains_as_the_multi_task_model() -> None:
    """From the backbone's own weights, as the pipeline says: nothing is trained before."""
    _, found = found_for("residual")
    assert (found.start, found.phases, found.goes_on, found.steps) == (None, None, False, 0)


@pytest.mark.parametrize("backbone", THREE)
def test_the_backbone_runs_once(backbone: str) -> None:
    """What it costs beyond the multi-task model is what its joins cost."""
    setup, found = found_for(backbone)
    lowered = lower(found.plan, setup.backbone, setup.heads)
    shared = executed_cost(all_shared(setup.backbone, TASKS), setup.backbone, setup.heads)
    assert executed_cost(found.plan, setup.backbone, setup.heads).heads == shared.heads
    layers = [node.name for node in BACKBONES[backbone]().nodes if node.op_type == "Conv"]
    assert [node.name for node in lowered.graph.nodes if node.op_type == "Conv" and node.name in layers] == layers
    own = ("join.", "head.")
    assert sum(not node.name.startswith(own) for node in lowered.graph.nodes) == len(BACKBONES[backbone]().nodes)


@pytest.mark.parametrize("options", [{}, {"refinement": "bottleneck", "separable": True, "rectifier": "relu6"}])
@pytest.mark.parametrize("backbone", THREE)
def test_the_file_is_lean(backbone: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Kernels of two reads are stored whole, every mask's normalisations are folded, and MACs are those of the plan.

    A refinement's normalisations stay: its one kernel is read with the statistics of each task.
    """
    setup, found = found_for(backbone, **options)
    lowered = lower(found.plan, setup.backbone, setup.heads)
    weights: Mapping[str, np.ndarray] = shaken_weights(lowered)
    exported = export_model(lowered.graph, weights, tmp_path / "model.onnx", parity_inputs=4)
    assert exported.parity.passed
    assert exported.macs == executed_cost(found.plan, setup.backbone, setup.heads).total.macs
    graph = onnx.load(tmp_path / "model.onnx").graph
    joins = [node for node in graph.node if node.name.startswith("join.")]
    attentions = sum(join.kind == "attention" for join in found.plan.joins)
    counted = Counter((node.name.split(".")[1].rstrip("0123456789"), node.op_type) for node in joins)
    assert {op: count for (kind, op), count in counted.items() if kind == "attention"} == {
        "Conv": 2 * attentions,
        ("Clip" if options else "Relu"): attentions,
        "Sigmoid": attentions,
        "Mul": attentions,
        "Concat": attentions - len(TASKS),
    }
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    assert all(set(node.output) <= read for node in graph.node)
    assert {tensor.name for tensor in graph.initializer} <= read
