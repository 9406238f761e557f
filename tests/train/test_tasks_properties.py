"""Laws that hold for every kind of task: ignored pixels do not count, and metrics are pooled."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.train.tasks.registry import make_task

pytestmark = pytest.mark.properties

CHANNELS = {"segmentation": 4, "depth": 1, "normals": 3, "edges": 1, "keypoints": 1}
SIZE = (5, 7)
seeds = st.integers(0, 2**31)
few = settings(max_examples=20, deadline=None)


def draw(kind, seed, count):
    """Return outputs, labels and the mask of ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
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


def values(task, *batches):
    metric = task.metric()
    for output, label in batches:
        metric.update(output, label)
    return metric.compute()


@pytest.mark.parametrize("kind", CHANNELS)
@given(seed=seeds)
@few
def test_outputs_at_ignored_pixels_change_nothing(kind, seed):
    task = make_task("t", kind, CHANNELS[kind])
    output, label, ignored = draw(kind, seed, 2)
    other = torch.where(ignored, 100 * torch.randn(output.shape), output)
    assert torch.equal(task.loss(output, label), task.loss(other, label))
    assert values(task, (output, label)) == pytest.approx(values(task, (other, label)), nan_ok=True, rel=1e-12)


@pytest.mark.parametrize("kind", CHANNELS)
@given(seed=seeds, cut=st.integers(1, 4))
@few
def test_metrics_are_pooled(kind, seed, cut):
    task = make_task("t", kind, CHANNELS[kind])
    output, label, _ = draw(kind, seed, 5)
    together = values(task, (output, label))
    parts = values(task, (output[:cut], label[:cut]), (output[cut:], label[cut:]))
    assert parts == pytest.approx(together, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("kind", CHANNELS)
@given(seed=seeds)
@few
def test_mirroring_both_changes_nothing(kind, seed):
    task = make_task("t", kind, CHANNELS[kind])
    output, label, _ = draw(kind, seed, 2)
    assert float(task.loss(output.flip(-1), label.flip(-1))) == pytest.approx(float(task.loss(output, label)), rel=1e-4)
    assert values(task, (output.flip(-1), label.flip(-1))) == pytest.approx(
        values(task, (output, label)), rel=1e-9, nan_ok=True
    )


@pytest.mark.parametrize("kind", ["segmentation", "depth", "normals", "keypoints"])
@given(seed=seeds)
@few
def test_the_label_is_the_best_output(kind, seed):
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
def test_the_length_of_predicted_normals_does_not_matter(seed, scale):
    task = make_task("n", "normals", 3)
    output, label, _ = draw("normals", seed, 2)
    assert float(task.loss(output * scale, label)) == pytest.approx(float(task.loss(output, label)), rel=1e-4)
    a, b = values(task, (output * scale, label)), values(task, (output, label))
    assert a["angle_mean"] == pytest.approx(b["angle_mean"], rel=1e-5)


def test_memory_of_metrics_does_not_grow():
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
