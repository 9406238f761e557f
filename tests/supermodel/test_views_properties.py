"""Properties of spaces whose options are channel views: soft, hard, lowered and counted agree."""

from __future__ import annotations

import pytest
import torch
from backbones import BACKBONES, unit, unit_of
from method_work import hard, image
from plans import light_heads

from trunkline.errors import InvalidConfig
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph
from trunkline.recipe import Moment
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.option import Option
from trunkline.sharing.plan import View
from trunkline.sharing.space import Space
from trunkline.sharing.units import Unit
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.cost_term import cost_term
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties

TASKS = ("depth", "normals", "seg")
WIDTHS = (Option(0), Option(0, channels=0.5), Option(0, channels=0.25), Option(1, channels=0.5), Option(skip=True))


def space_of(name: str, *, tie: bool = True) -> Space:
    backbone = Backbone(BACKBONES[name]())
    return Space.over(backbone, TASKS, "block", lambda unit, task: WIDTHS, tie=tie)


@pytest.mark.parametrize("name", ["residual", "mobile"])
def test_views_are_left_out_where_impossible(name: str) -> None:
    """A block without an inner map keeps the options that run it whole."""
    space = space_of(name)
    widths = {unit: {option.channels for option in row["seg"]} for unit, row in space.entries.items()}
    assert widths["stem"] == {1.0}
    assert widths["a1" if name == "residual" else "expand0"] == {1.0, 0.5, 0.25}


@pytest.mark.parametrize(
    ("shares", "kept"),
    [
        ((0.5, 0.25), (0.5, 0.25)),
        ((0.3, 0.25, 0.2), (0.25,)),  # 2.4, 2 and 1.6 of 8 channels
        ((0.3, 0.99), (0.25, 1.0)),  # 7.92 of 8 are all of them
        ((0.01, 0.02), (0.125,)),  # one channel at least
    ],
)
def test_equal_widths_are_one_option(shares: tuple[float, ...], kept: tuple[float, ...]) -> None:
    """What rounds to the same number of channels is one computation, and would have split its probability."""
    backbone = Backbone(BACKBONES["residual"]())
    views = [*(Option(channels=share) for share in shares), Option(1, channels=shares[0])]
    space = Space.over(backbone, TASKS, "block", lambda unit, task: [Option(0)] if unit.name == "stem" else views)
    assert space.entries["a1"]["seg"] == (*(Option(channels=share) for share in kept), Option(1, channels=kept[0]))


def test_widths_of_tasks_meet() -> None:
    """Two tasks that ask for other shares of the same channels run one computation, and are told so."""
    backbone = Backbone(BACKBONES["residual"]())

    def options(unit: Unit, task: int) -> list[Option]:
        return [Option(channels=1.0 if unit.name == "stem" else (0.27, 0.23)[task])]

    plan = Space.over(backbone, ("a", "b"), "block", options).plan({})
    assert plan.choice("a1", "a") == plan.choice("a1", "b") == View(channels=0.25)
    alone = Space.over(backbone, ("a",), "block", options).plan({})
    costs = [executed_cost(one, backbone, {}).backbone for one in (plan, alone)]
    assert (costs[0].macs, costs[0].parameters) == (costs[1].macs, costs[1].parameters)


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("name", ["residual", "mobile"])
def test_hard_views_equal_the_lowered_graph(name: str, tie: bool) -> None:
    space = space_of(name, tie=tie)
    heads = light_heads(space.backbone.graph)
    model = ChoiceModel(space, heads, {}, seed=3).eval()
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for tensor in model.store.weights().values():
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    for _ in range(6):
        picks = hard(model, generator)
        lowered = lower(space.plan(picks), space.backbone, heads)
        twin = Twin(lowered.graph, weights=model.weights(lowered)).eval()
        with torch.no_grad():
            found, wanted = model(image()), twin(image())
        for task in TASKS:
            torch.testing.assert_close(found[task], wanted[task], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["residual", "mobile"])
def test_sure_soft_views_equal_hard_ones(name: str) -> None:
    """Every option runs, and all but one count nothing."""
    space = space_of(name)
    model = ChoiceModel(space, light_heads(space.backbone.graph), {}, seed=3).eval()
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        hard(model, generator)
        with torch.no_grad():
            chosen = model(image())
            model.at(Moment("test", "soft"))
            mixed = model(image())
        for task in TASKS:
            torch.testing.assert_close(mixed[task], chosen[task], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", ["macs", "parameters"])
@pytest.mark.parametrize("name", ["residual", "mobile"])
def test_expected_cost_of_hard_views_is_counted(name: str, count: str) -> None:
    space = space_of(name)
    heads = light_heads(space.backbone.graph)
    model = ChoiceModel(space, heads, {}, seed=3)
    term = cost_term(space, heads, count)  # type: ignore[arg-type]  # a parametrised literal
    generator = torch.Generator().manual_seed(5)
    for _ in range(12):
        cost = executed_cost(space.plan(hard(model, generator)), space.backbone, heads)
        share = getattr(cost.backbone, count) / getattr(cost.independent_backbone, count)
        assert float(term(model.probabilities()).detach()) == pytest.approx(share, rel=1e-6)


def kernel_twice(where: str) -> Graph:
    """Two residual blocks, between whose convolutions one kernel is used more than once."""
    b = GraphBuilder("kernel_twice")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 8)
    kernel, other = (b.weight(name, (8, 8, 3, 3), Filler("msra")) for name in ("kernel", "other"))
    y = b.node("Relu", [unit_of(b, x, "first", kernel)], name="first_relu")
    y = unit_of(b, y, "second", other if where == "other block" else kernel)
    x = b.node("Add", [x, y], name="first_add")
    y = unit_of(b, unit(b, x, "inner", 8), "outer", kernel if where == "other block" else other)
    short = unit_of(b, x, "short", kernel) if where == "shortcut" else x
    x = b.node("Add", [short, y], name="last_add")
    return b.finish([unit(b, x, "last", 8)])


@pytest.mark.parametrize("where", ["one block", "other block", "shortcut"])
def test_kernel_cut_along_two_axes_counts_whole(where: str) -> None:
    """A view reads rows of it in one layer and columns in another, so what is stored is all of it.

    The expectation is linear in the probabilities of each choice, so it is right if it is where choices are sure.
    """
    backbone = Backbone(kernel_twice(where))
    space = Space.over(backbone, TASKS, "block", lambda unit, task: WIDTHS)
    model = ChoiceModel(space, {}, {}, seed=3)
    term = cost_term(space, {}, "parameters")
    generator = torch.Generator().manual_seed(5)
    for _ in range(50):
        cost = executed_cost(space.plan(hard(model, generator, pinned=False)), backbone, {})
        share = cost.backbone.parameters / cost.independent_backbone.parameters
        assert float(term(model.probabilities()).detach()) == pytest.approx(share, rel=1e-6)


def test_stored_numbers_of_untied_views_are_refused() -> None:
    space = space_of("residual", tie=False)
    with pytest.raises(InvalidConfig, match="channel views"):
        cost_term(space, light_heads(space.backbone.graph), "parameters")
