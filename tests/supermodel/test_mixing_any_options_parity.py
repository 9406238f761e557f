"""Parity: mixing weights of any number of instances is mixing outputs, in float64, with the gradients."""

from __future__ import annotations

import pytest
import torch
from backbones import BACKBONES
from plans import light_heads

from trunkline.recipe import Moment
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.sharing.units import Unit
from trunkline.supermodel.cell_steps import Mixing
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.choices import Gumbel
from trunkline.supermodel.temperature import Linear

pytestmark = pytest.mark.parity

TASKS = ("a", "b")


def model_of(name: str, instances: int, mixing: Mixing, *, skip: bool, behind: int | None = None) -> ChoiceModel:
    """``behind`` is the number of instances of all units but the first, where it is another one."""
    backbone = Backbone(BACKBONES[name]())

    def options(unit: Unit, task: int) -> list[Option]:
        count = instances if behind is None or unit.depth == 1 else behind
        return [*(Option(number) for number in range(count)), *([Option(skip=True)] if skip else [])]

    space = Space.over(backbone, TASKS, "operator", options)
    heads = light_heads(backbone.graph, TASKS)
    modes = {"sample": Gumbel(Linear(2.0, 0.5))}
    model = ChoiceModel(space, heads, modes, mixing=mixing, seed=3).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in [*model.store.weights().values(), *model.policies]:
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64))
    return model


def outputs_and_gradients(model: ChoiceModel) -> dict[str, torch.Tensor]:
    model.at(Moment("search", "sample", step=3, of=10))
    image = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outputs = model(image)
    torch.stack([(output.sin() * (i + 1)).sum() for i, output in enumerate(outputs.values())]).sum().backward()
    found = {f"output.{task}": output.detach() for task, output in outputs.items()}
    for group in model.groups().values():
        found |= {name: p.grad for name, p in group.items() if p.grad is not None}
    return found


@pytest.mark.parametrize(("instances", "skip"), [(1, True), (3, True), (3, False), (5, True)])
@pytest.mark.parametrize("name", BACKBONES)
def test_mixed_weights_are_mixed_outputs(name: str, instances: int, skip: bool) -> None:
    """One instance with or without a skip, or several: one convolution by a mixed kernel gives what K give."""
    agree(*(model_of(name, instances, mixing, skip=skip) for mixing in ("weight", "output")))


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("behind", [1, 2])
@pytest.mark.parametrize("name", BACKBONES)
def test_units_may_have_unlike_numbers_of_options(name: str, behind: int, skip: bool) -> None:
    """Logits have a column for each option of the unit with most; of other units the last ones count for nothing."""
    agree(*(model_of(name, 4, mixing, skip=skip, behind=behind) for mixing in ("weight", "output")))


def agree(first: ChoiceModel, second: ChoiceModel) -> None:
    fast, plain = outputs_and_gradients(first), outputs_and_gradients(second)
    assert fast.keys() == plain.keys()
    assert sum(key.startswith("policy.") for key in fast) == len(TASKS)
    scale = max(float(value.abs().max()) for value in plain.values())
    for key, value in plain.items():
        error = float((fast[key] - value).abs().max())
        assert error <= 1e-10 * max(float(value.abs().max()), 1e-4 * scale), key
