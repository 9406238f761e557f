"""Classification against independent numpy, written from the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trunkline.errors import InvalidConfig, InvalidModel
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.registry import make_task

pytestmark = pytest.mark.parity

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((50, 5)).astype(np.float32)
LABELS = np.where(RNG.random(50) < 0.2, -1, RNG.integers(0, 5, 50))


def task() -> Task:
    return make_task("scene", "classification", 5)


def test_loss_is_cross_entropy_of_labelled_images() -> None:
    z = LOGITS.astype(np.float64)
    each = np.log(np.exp(z).sum(1)) - z[np.arange(50), LABELS]
    total, count = task().loss_sum(torch.from_numpy(LOGITS), torch.from_numpy(LABELS))
    assert float(total) == pytest.approx(each[LABELS >= 0].sum(), rel=1e-5)
    assert int(count) == (LABELS >= 0).sum()


def test_accuracy() -> None:
    metric = task().metric()
    metric.update(torch.from_numpy(LOGITS), torch.from_numpy(LABELS))
    expected = (LOGITS.argmax(1) == LABELS)[LABELS >= 0].mean()
    assert metric.compute() == {"accuracy": pytest.approx(expected)}
    assert set(metric.compute()) == set(task().higher_is_better)


def test_nothing_labelled() -> None:
    output = torch.from_numpy(LOGITS).requires_grad_()
    empty = torch.full((50,), -1)
    loss = task().loss(output, empty)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(output.grad, torch.zeros_like(output))
    metric = task().metric()
    metric.update(output, empty)
    assert np.isnan(metric.compute()["accuracy"])


def test_pictures_are_one_colour_a_class() -> None:
    colours = {task().picture(np.array(number)).tobytes() for number in (-1, 0, 1, 2, 3, 4)}
    assert len(colours) == 6
    assert not task().picture(np.array(-1)).any()


@pytest.mark.abuse
def test_a_map_is_no_vector() -> None:
    with pytest.raises(InvalidModel, match=r"\[2, 5, 3, 3\], expected \[N, 5\]"):
        task().loss(torch.zeros(2, 5, 3, 3), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InvalidConfig, match="1 classes, expected 2 to 65536"):
        make_task("scene", "classification", 1)
    with pytest.raises(InvalidConfig, match="known options: weight"):
        make_task("scene", "classification", 5, loss_size="label")
