"""Properties of running statistics where options are channel views: each width has its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import BACKBONES
from method_work import TASKS, THREE, hard, image
from plans import light_heads

from trunkline.export.exporter import export_model
from trunkline.graph.graph import shape_of
from trunkline.recipe import Moment
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.lowering.numbering import BackboneNode, Ref
from trunkline.sharing.lowering.walk import Walk
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.option import Option
from trunkline.sharing.origin import BackboneWeight
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties

WIDTHS = (Option(0), Option(0, channels=0.5), Option(0, channels=0.25), Option(1, channels=0.5), Option(skip=True))
STEPS = 3
SETTINGS: tuple[dict[str, Any], ...] = ({}, {"tie": False}, {"batchnorm": "task"})
"""With the last, a task's normalisation is one instance whatever its block runs."""


def space_of(name: str, *, tie: bool = True, **settings: Any) -> Space:
    backbone = Backbone(BACKBONES[name]())
    return Space.over(backbone, TASKS, "block", lambda unit, task: WIDTHS, tie=tie, **settings)


def model_of(space: Space) -> ChoiceModel:
    """A supermodel whose instances differ."""
    model = ChoiceModel(space, light_heads(space.backbone.graph), {}, seed=3)
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for tensor in model.store.trainable().values():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    return model


def see_batches(model: torch.nn.Module, count: int = STEPS) -> None:
    """Let running statistics follow some batches."""
    model.train()
    with torch.no_grad():
        for seed in range(count):
            model(torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(seed)))
    model.eval()


def lowered_of(model: ChoiceModel, picks: Mapping[ChoiceId, int]) -> Lowered:
    return lower(model.space.plan(picks), model.space.backbone, model.heads)


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_no_set_describes_two_inputs(name: str, settings: dict[str, Any]) -> None:
    """No set of a search describes two inputs.

    Not even behind the narrow map, where the maps of all widths have one shape.
    """
    space = space_of(name, **settings)
    walk = Walk(space, {}, {})
    walk.run()
    inputs_of: dict[BackboneWeight, set[tuple[Ref, ...]]] = defaultdict(set)
    for cell in walk.numbering.cells:
        if not isinstance(cell.operation, BackboneNode):
            continue
        if space.backbone.nodes[cell.operation.name].op_type != "BatchNormalization":
            continue
        for weight in cell.weights[2:]:
            assert isinstance(weight, BackboneWeight)
            inputs_of[weight].add(cell.inputs)
    assert bool(inputs_of) == (name != "chain")
    assert {len(inputs) for inputs in inputs_of.values()} <= {1}


def test_shortcut_beside_the_map_has_one_set() -> None:
    """Whatever the width it gets the same, and is computed once; the branch that is narrowed has a set a width."""
    model = model_of(space_of("residual"))
    kept = set(model.store.statistics())
    assert {name for name in kept if name.startswith("b_short_bn.mean") and name.endswith("~seg")} == {
        "b_short_bn.mean~seg",
        "b_short_bn.mean@1~seg",
    }
    assert {name for name in kept if name.startswith("b2_bn.mean") and name.endswith("~seg")} == {
        "b2_bn.mean~seg",
        "b2_bn.mean:6~seg",
        "b2_bn.mean:3~seg",
        "b2_bn.mean@1:6~seg",
    }


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", THREE)
def test_search_lowered_and_file_agree(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """After soft steps all sets differ; hard choices, the plan's Graph and its file read the same one of them."""
    model = model_of(space_of(name, **settings))
    model.at(Moment("test", "soft"))
    see_batches(model)
    generator = torch.Generator().manual_seed(5)
    for number in range(4):
        lowered = lowered_of(model, hard(model, generator, pinned=False))
        weights = model.weights(lowered)
        twin = Twin(lowered.graph, weights=weights).eval()
        with torch.no_grad():
            searched, deployed = model(image()), twin(image())
        for task in TASKS:
            torch.testing.assert_close(searched[task], deployed[task], rtol=1e-5, atol=1e-5)
        if not number:
            arrays = {key: tensor.numpy() for key, tensor in weights.items()}
            assert export_model(lowered.graph, arrays, tmp_path / "model.onnx", parity_inputs=4).parity.passed


@pytest.mark.parametrize("mode", ["argmax", "soft"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", THREE)
def test_sure_training_moves_what_the_plan_moves(name: str, settings: dict[str, Any], mode: str) -> None:
    """In training too a search whose choices are sure is its plan's model: batch by batch, the same statistics."""
    generator = torch.Generator().manual_seed(6)
    for _ in range(3):
        model = model_of(space_of(name, **settings))
        picks = hard(model, generator, pinned=False)
        lowered = lowered_of(model, picks)
        twin = Twin(lowered.graph, weights={key: tensor.clone() for key, tensor in model.weights(lowered).items()})
        model.at(Moment("test", mode))
        see_batches(model)
        see_batches(twin)
        moved = twin.weights()
        for key, tensor in model.weights(lowered).items():
            torch.testing.assert_close(tensor, moved[key], rtol=1e-4, atol=1e-5)
        model.at(Moment("test", "argmax"))
        with torch.no_grad():
            searched, deployed = model(image()), twin(image())
        for task in TASKS:
            torch.testing.assert_close(searched[task], deployed[task], rtol=1e-4, atol=1e-5)


def test_plan_widths_have_sets_behind_the_map() -> None:
    """Also where one task alone runs a view, so that a search can tell which set the plan's is."""
    model = model_of(space_of("residual"))
    lowered = lowered_of(model, dict.fromkeys(model.space.choices, 1))
    found = {key: origin for key, origin in lowered.origin.items() if key.startswith("a2_bn.mean")}
    assert found == {"a2_bn.mean:4": BackboneWeight("a2_bn.mean", 0, "depth", channels=4)}
    assert shape_of(lowered.graph.initializers["a2_bn.mean:4"]) == (8,)
