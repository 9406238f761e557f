"""Searches that see smaller images: every searched method runs there as it does at full size, and ends with a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import BACKBONES, two_taps
from method_work import NETWORKS, TASKS, ShakenWork, hard, method_for, setup_for
from plans import light_heads
from three_tasks import pipeline_of_three, run_three

from trunkline.errors import InvalidConfig
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.graph import Graph
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.recipe import Moment, Phase
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan_check import check_plan
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.registry import methods
from trunkline.twins.twin import Twin
from trunkline.verbs.search import search

pytestmark = pytest.mark.golden

SEARCHED = tuple(name for name, kind in methods().items() if kind.kind == "searched")
MAKE = {**BACKBONES, "taps": two_taps}
SIZE = {"taps": 18}
"""Of images at full size, where it is not 16: maps of 9 and 5 pixels, which no whole number brings together."""


def read_at(name: str, resolution: float) -> tuple[Backbone, Mapping[str, Graph]]:
    """Backbone and heads of a setup, made for other images; a head of two maps resizes to sizes that it holds."""
    backbone = MAKE[name](round(SIZE.get(name, 16) * resolution))
    heads = dict(light_heads(backbone))
    if name == "taps":
        heads[TASKS[0]] = make_head("fpn", backbone, 1)
    return Backbone(backbone), heads


def setup_of(name: str) -> Setup:
    backbone, heads = read_at(name, 1.0)
    known = setup_for(name)
    return replace(known, backbone=backbone, heads=heads, read_at=lambda resolution: read_at(name, resolution))


def small(name: str) -> torch.Tensor:
    """Images of half the size."""
    size = SIZE.get(name, 16) // 2
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


class Recording(ShakenWork):
    """Keeps the phases that it was asked for."""

    def fit(self, name: str, model: ChoiceModel, phases: Sequence[Phase]) -> Mapping[str, Mapping[str, float]]:
        self.phases = list(phases)
        return super().fit(name, model, phases)


@pytest.mark.parametrize("backbone", NETWORKS)
@pytest.mark.parametrize("name", SEARCHED)
def test_small_images_run_as_the_small_plan(name: str, backbone: str, tmp_path: Path) -> None:
    """Softly and hard, what the plan's model of that size computes with the same weights; costs are the large one's."""
    setup = setup_of(backbone)
    method = method_for(name, setup, tmp_path)
    model, half, x = method.model.eval(), read_at(backbone, 0.5), small(backbone)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for tensor in model.store.trainable().values():  # instances start equal, and would hide which one ran
            tensor.add_(0.05 * torch.rand(tensor.shape, generator=generator))
    cost = model.expected_cost(model.probabilities())
    model.run_on(*half)
    assert torch.equal(model.expected_cost(model.probabilities()), cost)
    for _ in range(3):
        picks = hard(model, generator)
        lowered = lower(method.space.plan(picks), *half)
        twin = Twin(lowered.graph, weights=model.weights(lowered)).eval()
        with torch.no_grad():
            chosen, plan = model(x), twin(x)
            model.at(Moment("test", "soft"))
            mixed = model(x)
        for task in TASKS:
            torch.testing.assert_close(chosen[task], plan[task], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(mixed[task], chosen[task], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SEARCHED)
def test_every_search_may_be_at_a_share(name: str, tmp_path: Path) -> None:
    """All its phases are; the plan is one of the backbone at full size, and so is what it goes on from."""
    setup = setup_of("residual")
    for resolution in (1.0, 0.5):
        work = Recording(setup)
        method = method_for(name, setup, tmp_path, resolution=resolution)
        found = method.find(work)
        assert {phase.resolution for phase in work.phases} == {resolution}
        assert [phase.name for phase in work.phases] == [phase.name for phase in method.phases()]
        check_plan(found.plan, setup.backbone)
        lowered = lower(found.plan, setup.backbone, setup.heads)
        assert found.start(lowered).keys() == lowered.origin.keys()
        # The supermodel runs images of the size that its phases read, and no other network than the backbone.
        model = method.model.eval()
        with torch.no_grad():
            assert model(torch.zeros(1, 3, *[round(16 * resolution)] * 2)).keys() == set(TASKS)


def test_a_plan_that_ran_before_runs_small_too() -> None:
    """What was prepared for picks at full size is not what runs at another."""
    setup = setup_of("taps")
    model = method_for("bmtas", setup, None).model.eval()
    hard(model, torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 18, 18))["depth"].shape[-2:] == (9, 9)
        model.run_on(*read_at("taps", 0.5))
        assert model(small("taps"))["depth"].shape[-2:] == (5, 5)


def test_fixed_sizes_are_those_of_the_small_images() -> None:
    """A head that resizes to a size in the file cannot run on half of it, so it is made again."""
    setup = setup_of("taps")
    model = method_for("bmtas", setup, None).model.eval()
    with pytest.raises(RuntimeError), torch.no_grad():
        model(small("taps"))
    model.run_on(*read_at("taps", 0.5))
    with torch.no_grad():
        assert model(small("taps"))["depth"].shape[-2:] == (5, 5)


def test_the_resolution_is_part_of_the_search() -> None:
    method = method_for("bmtas", setup_of("chain"), None)
    assert method.decisive(method.options)["resolution"] == 1.0


def test_another_network_at_that_size_is_refused() -> None:
    setup = replace(setup_of("chain"), read_at=lambda resolution: read_at("residual", resolution))
    with pytest.raises(InvalidConfig, match="other units, skips or weights for images of 8 x 8") as caught:
        method_for("bmtas", setup, None, resolution=0.5).find(ShakenWork(setup))
    assert caught.value.problems[0].place == "search.resolution"
    without = setup_for("chain")
    with pytest.raises(InvalidConfig, match="one size only"):
        method_for("bmtas", without, None, resolution=0.5).find(ShakenWork(without))


SEARCH = """\
method = "bmtas"
warm_up = 1
steps = 3
alternate = [1, 2]
resolution = 0.5
"""


def test_a_run_searches_small_and_trains_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the real command; costs and the model file are those of full size."""
    seen: set[Any] = set()
    forward = ChoiceModel.forward

    def watched(self: ChoiceModel, image: torch.Tensor, tasks: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
        seen.add((self.training, tuple(image.shape[2:])))
        return forward(self, image, tasks)

    monkeypatch.setattr(ChoiceModel, "forward", watched)
    result, plan = run_three(tmp_path, SEARCH)
    assert seen == {(True, (16, 24)), (False, (16, 24))}
    assert plan["method"] == "bmtas"
    assert result["search"]["macs"]["executed"] == result["export"]["macs"]


def test_search_numbers_are_of_full_size(tmp_path: Path) -> None:
    """What search.json says of a plan is counted at the size that the model is trained and exported at."""
    path = pipeline_of_three(tmp_path, SEARCH)
    project = Project(load_config(path), tmp_path / "run")
    result = search(project, quiet=True)
    assert result.cost == executed_cost(result.plan, project.backbone, project.heads)
    assert project.backbone.graph.input.shape[2:] == (32, 48)


def test_images_too_small_to_read_are_refused(tmp_path: Path) -> None:
    """Before anything is written, with the size that it came to."""
    write_onnx(BACKBONES["chain"](32), tmp_path / "chain.onnx")
    path = pipeline_of_three(tmp_path, SEARCH.replace("0.5", "0.1"))
    text = path.read_text().replace("zoo:tiny", "chain.onnx").replace("[32, 48]", "[32, 32]")
    path.write_text(text)  # its last convolution, of 3 x 3, is not padded
    project = Project(load_config(path), tmp_path / "run")
    with pytest.raises(InvalidConfig, match="images of 3 x 3") as caught:
        search(project, quiet=True)
    assert caught.value.problems[0].place == "search.resolution"
    assert not (tmp_path / "run").exists()
