"""Laws that hold for every kind of task: what is ignored does not count, metrics are pooled, and halves add up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trunkline.train.tasks.base import Metric, Task
from trunkline.train.tasks.registry import make_task, task_kinds

pytestmark = pytest.mark.properties

CHANNELS = {"segmentation": 4, "depth": 1, "normals": 3, "edges": 1, "keypoints": 1, "classification": 4}
MAPS = [kind for kind in CHANNELS if kind != "classification"]
SIZE = (5, 7)
seeds = st.integers(0, 2**31)
few = settings(max_examples=20, deadline=None)


def draw(kind: str, seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Return outputs, labels and the mask of what is ignored."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "classification":
        ignored = torch.rand(count, generator=generator) < 0.3
        label = torch.randint(0, 4, (count,), generator=generator).masked_fill(ignored, -1)
        return 2 * torch.randn(count, 4, generator=generator), label, ignored[:, None]
    output = 2 * torch.randn(count, CHANNELS[kind], *SIZE, generator=generator)
    ignored = torch.rand(count, 1, *SIZE, generator=generator) < 0.3
    if kind == "segmentation":
        label = torch.randint(0, 4, (count, *SIZE), generator=generator).masked_fill(ignored[:, 0], 255)
    elif kind == "normals":
        label = torch.nn.functional.normalize(torch.randn(count, 3, *SIZE, generator=generator), dim=1) * ~ignored
    else:
        label = torch.rand(count, 1, *SIZE, generator=generator) + 0.1
        label = (label > 0.6).float() if kind == "edges" else label
        label = label.masked_fill(ignored, 0 if kind == "depth" else 255)
    return output, label, ignored


def values(task: Task, *batches: object) -> dict[str, float]:
    metric = task.metric()
    for output, label in batches:
        metric.update(output, label)
    return metric.compute()


@pytest.mark.parametrize("kind", CHANNELS)
@given(seed=seeds)
@few
def test_outputs_at_ignored_pixels_change_nothing(kind: str, seed: int) -> None:
    task = make_task("t", kind, CHANNELS[kind])
    output, label, ignored = draw(kind, seed, 2)
    other = torch.where(ignored, 100 * torch.randn(output.shape), output)
    assert torch.equal(task.loss(output, label), task.loss(other, label))
    assert values(task, (output, label)) == pytest.approx(values(task, (other, label)), nan_ok=True, rel=1e-12)


@pytest.mark.parametrize("kind", CHANNELS)
@given(seed=seeds, cut=st.integers(1, 4))
@few
def test_metrics_are_pooled(kind: str, seed: int, cut: int) -> None:
    task = make_task("t", kind, CHANNELS[kind])
    output, label, _ = draw(kind, seed, 5)
    together = values(task, (output, label))
    parts = values(task, (output[:cut], label[:cut]), (output[cut:], label[cut:]))
    assert parts == pytest.approx(together, rel=1e-9, nan_ok=True)


def measured(task: Task, output: Tensor, label: Tensor) -> Metric:
    metric = task.metric()
    metric.update(output, label)
    return metric


@pytest.mark.parametrize("kind", CHANNELS)
@given(seed=seeds, cut=st.integers(0, 5))
@few
def test_halves_merge_to_the_whole(kind: str, seed: int, cut: int) -> None:
    """Merging states is counting the batches together: whole numbers exactly, sums of fractions up to rounding."""
    task = make_task("t", kind, CHANNELS[kind])
    output, label, _ = draw(kind, seed, 5)
    whole = measured(task, output, label)
    halves = [measured(task, output[part], label[part]) for part in (slice(cut), slice(cut, None))]
    before = [half.state() for half in halves]
    merged = task.metric()
    for half in halves:
        merged.merge(half.state())
    assert merged.state().keys() == whole.state().keys()
    for name, total in whole.state().items():
        torch.testing.assert_close(merged.state()[name], total, rtol=1e-9 if total.is_floating_point() else 0, atol=0)
    assert merged.compute() == pytest.approx(whole.compute(), rel=1e-9, nan_ok=True)
    for half, state in zip(halves, before, strict=True):
        assert all(torch.equal(half.state()[name], total) for name, total in state.items())


@pytest.mark.parametrize("kind", CHANNELS)
@given(seed=seeds, cut=st.integers(0, 5))
@few
def test_loss_sums_of_halves_add_up(kind: str, seed: int, cut: int) -> None:
    """So a step over several processes can divide the sum of all by the count of all."""
    options = {"positive_weight": 0.8} if kind == "edges" else {}  # "balanced" weighs by the whole batch
    task = make_task("t", kind, CHANNELS[kind], **options)
    output, label, _ = draw(kind, seed, 5)
    total, count = task.loss_sum(output, label)
    parts = [task.loss_sum(output[part], label[part]) for part in (slice(cut), slice(cut, None))]
    assert sum(int(part) for _, part in parts) == int(count)
    assert sum(float(part) for part, _ in parts) == pytest.approx(float(total), rel=1e-5, abs=1e-5)
    assert float(task.loss(output, label)) == pytest.approx(float(total) / max(1, int(count)), rel=1e-6)


def test_every_kind_is_tested_here() -> None:
    assert set(CHANNELS) == set(task_kinds())


@pytest.mark.parametrize("kind", MAPS)
@given(seed=seeds)
@few
def test_mirroring_both_changes_nothing(kind: str, seed: int) -> None:
    task = make_task("t", kind, CHANNELS[kind])
    output, label, _ = draw(kind, seed, 2)
    assert float(task.loss(output.flip(-1), label.flip(-1))) == pytest.approx(float(task.loss(output, label)), rel=1e-4)
    assert values(task, (output.flip(-1), label.flip(-1))) == pytest.approx(
        values(task, (output, label)), rel=1e-9, nan_ok=True
    )


@pytest.mark.parametrize("kind", ["segmentation", "depth", "normals", "keypoints"])
@given(seed=seeds)
@few
def test_the_label_is_the_best_output(kind: str, seed: int) -> None:
    task = make_task("t", kind, CHANNELS[kind])
    output, label, _ = draw(kind, seed, 2)
    perfect = label.float()
    if kind == "segmentation":
        perfect = torch.nn.functional.one_hot(label % 255, 4).movedim(-1, 1).float() * 50
    assert float(task.loss(perfect, label)) == pytest.approx(0, abs=1e-6)
    best, some = values(task, (perfect, label)), values(task, (output, label))
    for name, higher in {**task.higher_is_better, **task.informative}.items():
        assert best[name] >= some[name] if higher else best[name] <= some[name] + 0.01
        assert best[name] == pytest.approx(1 if higher else 0, abs=0.006)


@given(seed=seeds, scale=st.floats(0.1, 50))
@few
def test_lengths_of_normals_do_not_matter(seed: int, scale: float) -> None:
    """Neither to the loss nor to the metrics."""
    task = make_task("n", "normals", 3)
    output, label, _ = draw("normals", seed, 2)
    assert float(task.loss(output * scale, label)) == pytest.approx(float(task.loss(output, label)), rel=1e-4)
    a, b = values(task, (output * scale, label)), values(task, (output, label))
    assert a["angle_mean"] == pytest.approx(b["angle_mean"], rel=1e-5)


def test_memory_of_metrics_does_not_grow() -> None:
    task = make_task("n", "normals", 3)
    metric = task.metric()
    output, label, _ = draw("normals", 1, 4)
    before = None
    for _ in range(3):
        metric.update(output, label)
        held = sum(total.numel() for total in metric.state().values())
        assert before in (None, held)
        before = held
    assert np.isfinite(list(metric.compute().values())).all()


@pytest.mark.abuse
@pytest.mark.parametrize("space", ["decoded", "paper"])
def test_no_direction_is_the_worst_one(space: str) -> None:
    """A network whose outputs overflow has no good median angle."""
    _, label, _ = draw("normals", 1, 2)
    found = values(make_task("t", "normals", 3, space=space), (torch.full_like(label, float("nan")), label))
    for name, value in found.items():
        if name.startswith("angle_median"):
            assert value > 179
        elif name.startswith("within"):
            assert value == 0
