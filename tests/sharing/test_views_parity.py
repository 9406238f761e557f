"""Parity: a channel view computes what the whole unit does when nobody reads its other channels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from backbones import BACKBONES, unit, unit_of

from trunkline.export.exporter import export_model
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import TASKS_KEY, Graph, name_of, shape_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.origin import BackboneWeight, Leading, Origin
from trunkline.sharing.plan import Choice, SharingPlan, View
from trunkline.sharing.plan_check import make_plan
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.parity

VIEWED = {"residual": "a1", "mobile": "expand0"}
"""By backbone, a block with an inner map."""
CONSUMER = {"residual": "a2.weight", "mobile": "project0.weight"}
"""What reads that map, along its axis 1."""


def plan_with(backbone: Backbone, unit: str, row: Mapping[str, Choice], **settings: object) -> SharingPlan:
    """Everything is shared but this unit."""
    units: dict[str, dict[str, Choice]] = {
        name: dict.fromkeys(row, 0) for name in backbone.table("block").names if name != unit
    }
    return make_plan(backbone, tuple(row), {**units, unit: dict(row)}, granularity="block", **settings)


def lowered_with(name: str, row: Mapping[str, Choice], **settings: object) -> tuple[Backbone, Lowered]:
    backbone = Backbone(BACKBONES[name]())
    return backbone, lower(plan_with(backbone, VIEWED[name], row, **settings), backbone, {})


def shaken(graph: Graph, seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    twin = Twin(graph, seed=2)
    return {name: t + 0.2 * torch.rand(t.shape, generator=generator) for name, t in twin.weights().items()}


def run(graph: Graph, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    twin = Twin(graph, weights={name: tensor.numpy() for name, tensor in weights.items()}).double().eval()
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        return twin(image)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("name", VIEWED)
def test_narrow_is_wide_with_unread_channels(name: str, share: float) -> None:
    """Whatever the other channels hold: where their reader's kernel is 0, the whole block gives the view's numbers."""
    _, narrow = lowered_with(name, {"a": View(channels=share)})
    _, wide = lowered_with(name, {"a": 0})
    few, all_of = shaken(narrow.graph), shaken(wide.graph, seed=7)
    for key, origin in narrow.origin.items():
        # A view's statistics describe its own channels: of the whole map, the leading ones.
        target = all_of[whole(origin).name]
        target[tuple(slice(0, size) for size in few[key].shape)] = few[key]
    channels = next(o.size for o in narrow.origin.values() if isinstance(o, Leading))
    all_of[CONSUMER[name]][:, channels:] = 0
    torch.testing.assert_close(run(narrow.graph, few)["a"], run(wide.graph, all_of)["a"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", VIEWED)
def test_widths_read_one_set_of_weights(name: str) -> None:
    """Whole, half and quarter: one kernel is stored, and each task computes what it would compute with its own part."""
    row: dict[str, Choice] = {"whole": 0, "half": View(channels=0.5), "quarter": View(channels=0.25)}
    backbone, lowered = lowered_with(name, row)
    weights = shaken(lowered.graph)
    together = run(lowered.graph, weights)
    kernels = [key for key in weights if key.startswith(f"{VIEWED[name]}.weight")]
    assert kernels == [f"{VIEWED[name]}.weight"]
    for task, choice in row.items():
        alone = lower(plan_with(backbone, VIEWED[name], {task: choice}), backbone, {})
        own = {key: part_of(lowered, weights, key, origin, task) for key, origin in alone.origin.items()}
        narrowed = {key: cut_like(tensor, alone.graph.initializers[key]) for key, tensor in own.items()}
        torch.testing.assert_close(run(alone.graph, narrowed)[task], together[task], rtol=1e-9, atol=1e-9)


def part_of(
    lowered: Lowered, weights: Mapping[str, torch.Tensor], key: str, origin: Origin | Leading, task: str
) -> torch.Tensor:
    """Return the stored tensor that a task of several reads where it alone reads ``key``."""
    wanted = whole(origin)
    for name, stored in lowered.origin.items():
        found = whole(stored)
        serves = task in lowered.graph.initializers[name].metadata_props[TASKS_KEY].split(",")
        if serves and (found.name, found.instance, found.channels) == (wanted.name, wanted.instance, wanted.channels):
            return weights[name]
    raise AssertionError(f"{task} reads no {key}")


def whole(origin: Origin | Leading) -> BackboneWeight:
    weight = origin.weight if isinstance(origin, Leading) else origin
    assert isinstance(weight, BackboneWeight)
    return weight


def cut_like(tensor: torch.Tensor, like: ir.Value) -> torch.Tensor:
    return tensor[tuple(slice(0, int(size or 1)) for size in shape_of(like))]


@pytest.mark.parametrize("name", VIEWED)
def test_only_the_widest_view_is_stored(name: str) -> None:
    """Where nobody runs the whole block, channels beyond the widest view are not in the model."""
    backbone, lowered = lowered_with(name, {"a": View(channels=0.5), "b": View(channels=0.25)})
    kernel = lowered.graph.initializers[f"{VIEWED[name]}.weight"]
    whole = backbone.graph.initializers[f"{VIEWED[name]}.weight"]
    assert kernel.shape is not None
    assert whole.shape is not None
    assert int(kernel.shape[0]) == int(whole.shape[0]) // 2
    origin = lowered.origin[f"{VIEWED[name]}.weight"]
    assert isinstance(origin, Leading)
    assert (origin.axis, origin.size) == (0, int(kernel.shape[0]))


@pytest.mark.parametrize("name", VIEWED)
def test_a_view_has_statistics_of_its_own(name: str) -> None:
    """Even where it gets what the whole block gets; its scale and offset are the block's."""
    _, lowered = lowered_with(name, {"whole": 0, "half": View(channels=0.5)})
    read = {
        tuple(name_of(value) for value in node.inputs[3:5])
        for node in lowered.graph.nodes
        if node.op_type == "BatchNormalization" and name_of(node).startswith(f"{VIEWED[name]}_bn")
    }
    assert len(read) == 2
    assert not set.intersection(*map(set, read))
    assert [key for key in lowered.origin if key.startswith(f"{VIEWED[name]}_bn.scale")] == [f"{VIEWED[name]}_bn.scale"]


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("name", VIEWED)
def test_an_exported_view_is_stored_cut(name: str, fold: bool, tmp_path: Path) -> None:
    """The file computes what the model does; only one that is to be trained again cuts its views at run time."""
    _, lowered = lowered_with(name, {"whole": 0, "half": View(channels=0.5), "other": View(instance=1, channels=0.25)})
    assert "Slice" in {node.op_type for node in lowered.graph.nodes}
    weights = {key: tensor.numpy() for key, tensor in shaken(lowered.graph).items()}
    exported = export_model(lowered.graph, weights, tmp_path / "model.onnx", fold=fold, parity_inputs=4)
    assert exported.parity.passed
    in_file = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert ("Slice" in in_file) != fold


@pytest.mark.parametrize("tie", [True, False])
def test_training_a_view_moves_the_leading_part(tie: bool) -> None:
    """A narrow task trains what a wide one uses too, and nothing beyond its channels."""
    _, lowered = lowered_with("residual", {"whole": 0, "half": View(channels=0.5)}, tie=tie)
    twin = Twin(lowered.graph, seed=2).train()
    twin(torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))["half"].square().sum().backward()
    gradient = twin.trainable()["a1.weight"].grad
    assert gradient is not None
    assert np.count_nonzero(gradient[:4].numpy()) > 0
    assert np.count_nonzero(gradient[4:].numpy()) == 0


def shared_kernel() -> Graph:
    """A residual block whose two convolutions have one kernel."""
    b = GraphBuilder("shared_kernel")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 8)
    kernel = b.weight("kernel", (8, 8, 3, 3), Filler("msra"))
    y = b.node("Relu", [unit_of(b, x, "first", kernel)], name="first_relu")
    y = unit_of(b, y, "second", kernel)
    return b.finish([b.node("Add", [x, y], name="add")])


def test_kernel_cut_along_two_axes_is_whole() -> None:
    """A view reads rows of it in the first convolution and columns in the second; neither part holds the other."""
    backbone = Backbone(shared_kernel())
    half = plan_with(backbone, "first", {"a": View(channels=0.5), "b": View(channels=0.25)})
    narrow = lower(half, backbone, {})
    assert shape_of(narrow.graph.initializers["kernel"]) == (8, 8, 3, 3)
    outputs = run(narrow.graph, shaken(narrow.graph))
    assert {task: tuple(output.shape) for task, output in outputs.items()} == dict.fromkeys("ab", (2, 8, 16, 16))


def test_units_of_one_name_have_own_maps() -> None:
    """The operator a1 has no inner map, and the block that begins with it has one."""
    backbone = Backbone(BACKBONES["residual"]())
    operators, blocks = backbone.table("operator"), backbone.table("block")
    assert backbone.span(operators.units[operators.number("a1")]) is None
    assert backbone.span(blocks.units[blocks.number("a1")]) is not None


def shortcut_first() -> Graph:
    """A residual block whose projection stands before its main path in the file, as in Caffe's ResNets."""
    b = GraphBuilder("shortcut_first")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 8)
    short = unit(b, x, "short", 12, kernel=1, stride=2, relu=False)
    y = unit(b, unit(b, x, "main1", 12, stride=2), "main2", 12, relu=False)
    return b.finish([b.node("Relu", [b.node("Add", [short, y], name="add")], name="relu")])


def test_a_shortcut_first_hides_no_map() -> None:
    """The map between the two convolutions behind it is the block's; the projection is whole at every width."""
    backbone = Backbone(shortcut_first())
    blocks = backbone.table("block")
    block = blocks.units[blocks.number("short")]
    span = backbone.span(block)
    assert span is not None
    assert span.narrowed == ("main1", "main1_bn", "main1_relu")
    assert span.channels == 12 and "short" not in span.cuts | dict.fromkeys(span.behind)
    row: dict[str, Choice] = {"whole": 0, "half": View(channels=0.5)}
    lowered = lower(plan_with(backbone, "short", row), backbone, {})
    assert [name_of(node) for node in lowered.graph.nodes if node.op_type == "Conv"].count("short") == 1
    assert run(lowered.graph, shaken(lowered.graph))["half"].shape == (2, 12, 8, 8)
