"""The users of a parameter are the tasks whose losses have a gradient to it, while choices are mixed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from method_work import THREE, image, method_for, setup_for

from trunkline.recipe import Moment
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.methods.searched import SearchedMethod

pytestmark = pytest.mark.properties


def reached(model: ChoiceModel) -> dict[str, frozenset[str]]:
    """By parameter, the tasks whose output has a gradient to it."""
    found: dict[str, set[str]] = {}
    parameters = {name: p for group in model.groups().values() for name, p in group.items()}
    for task in model.tasks:
        output = model(image(), [task])[task].square().sum()
        gradients = torch.autograd.grad(output, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            users = found.setdefault(name, set())
            if gradient is not None:
                users.add(task)
    return {name: frozenset(tasks) for name, tasks in found.items()}


@pytest.mark.parametrize("method", ["automtl", "bmtas"])
@pytest.mark.parametrize("backbone", THREE)
def test_users_are_who_has_a_gradient(backbone: str, method: str, tmp_path: Path) -> None:
    """Of weights and of logits: what is shared, what is a task's own, and heads."""
    searched = method_for(method, setup_for(backbone), tmp_path)
    assert isinstance(searched, SearchedMethod)
    model = searched.model
    model.at(Moment("test", "soft"))
    users = model.users()
    assert users == reached(model)
    assert {name: users[f"policy.{name}"] for name in model.tasks} == {name: {name} for name in model.tasks}


@pytest.mark.parametrize("open_reads", ["one", "each"])
def test_reads_make_users(open_reads: str) -> None:
    """A task that may read another's column uses what is behind it; one that nothing reads uses its own."""
    setup = setup_for("residual", ("depth", "seg"))
    backbone = Backbone(setup.backbone.graph)
    site = backbone.table("block").units[1].output
    reads = tuple(Read.column(site, task) for task in ("depth", "seg"))
    starts = [0.5, 0.5] if open_reads == "each" else [0.5]
    join = Join(name="fuse", kind="mix", settings={"starts": starts}, site=site, task="depth", reads=reads)
    joins = (OpenJoin(join, open_reads),)  # type: ignore[arg-type]  # a parametrised literal
    instances = [Option(0), Option(1)]
    space = Space.over(backbone, ("depth", "seg"), "block", lambda unit, task: instances, joins=joins)
    model = ChoiceModel(space, {}, {}, seed=3)
    model.at(Moment("test", "soft"))
    users = model.users()
    assert users == reached(model)
    assert users["policy.seg"] == {"depth", "seg"}
    assert users["policy.depth"] == {"depth"}
    assert {users[f"policy.{name}"] for name in model.groups_of_choices if "." in name} == {frozenset(["depth"])}
