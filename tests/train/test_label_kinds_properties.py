"""Laws that hold for the labels of every kind of task: their form, their emptiness, and how they follow the image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.train.data.augment import Augmentation, draw_crop
from trunkline.train.labels.crop import Crop, Size, whole
from trunkline.train.labels.label_kind import IGNORE, ImageLabel, LabelKind
from trunkline.train.tasks.registry import make_task, task_kind, task_kinds

pytestmark = pytest.mark.properties

KINDS = sorted(task_kinds())
sizes = st.tuples(st.integers(2, 20), st.integers(2, 20))
seeds = st.integers(0, 2**31)
few = settings(max_examples=25, deadline=None)


def drawn(label: LabelKind, size: Size, seed: int, *, counted: float = 0.7) -> np.ndarray:
    """A label of which about this share counts; values are 0.1 to 3, so that they count for every kind."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.1, 3, label.shape(size)) + (1 if label.dtype.kind == "i" else 0)
    holes = rng.random(label.shape(size)[-2:]) > counted
    return np.where(holes, label.empty(size), values).astype(label.dtype)


@pytest.mark.parametrize("kind", KINDS)
@given(size=sizes)
@few
def test_empty_labels_have_the_form(kind: str, size: Size) -> None:
    """And nothing in them counts."""
    label = task_kind(kind).label
    empty = label.empty(size)
    assert (empty.shape, empty.dtype) == (label.shape(size), label.dtype)
    assert not label.is_labelled(empty)
    assert label.is_labelled(drawn(label, size, 0, counted=1))


@pytest.mark.parametrize("kind", KINDS)
@given(native=sizes, size=sizes, seed=seeds)
@few
def test_a_cut_keeps_the_form(kind: str, native: Size, size: Size, seed: int) -> None:
    """What lies beyond the picture does not count, and nothing counts that did not before."""
    label = task_kind(kind).label
    crop = draw_crop(Augmentation(), native, size, 0, seed)
    cut = label.cropped(drawn(label, native, seed), crop)
    assert (cut.shape, cut.dtype) == (label.shape(size), label.dtype)
    assert not label.is_labelled(label.cropped(label.empty(native), crop))
    beyond = Crop(native, native[0], native[1], size)
    assert isinstance(label, ImageLabel) or not label.is_labelled(label.cropped(drawn(label, native, seed), beyond))


@pytest.mark.parametrize("kind", KINDS)
@given(size=sizes, seed=seeds)
@few
def test_a_mirror_twice_is_none(kind: str, size: Size, seed: int) -> None:
    label = task_kind(kind).label
    drawn_label = drawn(label, size, seed)
    assert np.array_equal(label.mirrored(label.mirrored(drawn_label)), drawn_label)
    assert np.array_equal(
        label.cropped(drawn_label, dataclasses.replace(whole(size), mirrored=True)), label.mirrored(drawn_label)
    )
    assert label.is_labelled(label.mirrored(drawn_label)) == label.is_labelled(drawn_label)


@pytest.mark.parametrize("kind", KINDS)
@given(size=sizes, seed=seeds)
@few
def test_arrays_and_tensors_count_alike(kind: str, size: Size, seed: int) -> None:
    """Batches are made with numpy, losses with torch: both must see the same label."""
    label = task_kind(kind).label
    stack = np.stack([drawn(label, size, seed), label.empty(size), drawn(label, size, seed + 1)])
    counted = label.counted(stack)
    assert np.array_equal(counted, label.counted(torch.from_numpy(stack)).numpy())
    assert [bool(part.any()) for part in counted] == [label.is_labelled(part) for part in stack]


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_of_another_form_is_refused(kind: str) -> None:
    known = task_kind(kind)
    channels = known.usual_channels
    label = known.label
    right = ["N", channels, *(8 for _ in label.output_axes)]
    assert label.fits(right, channels)
    assert not label.fits(right, channels + 1)
    for axes in range(4):
        assert label.fits(["N", channels, *[8] * axes], channels) == (axes == len(label.output_axes))
    assert label.output_text(channels).startswith(f"[N, {channels}")


@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_predictions_can_be_shown(kind: str) -> None:
    task = make_task("t", kind, task_kind(kind).usual_channels)
    size = (6, 8)
    output = torch.randn(2, task.channels, *(3 for _ in task.label.output_axes))
    predicted = task.predict_for(output, size)[0].numpy()
    assert predicted.shape == task.label.shape(size)
    for shown in (predicted, task.label.empty(size), drawn(task.label, size, 1)):
        picture = task.picture(shown)
        assert picture.dtype == np.uint8
        assert picture.shape in ((*size, 3), (1, 1, 3))


def test_a_depth_below_zero_is_no_label() -> None:
    """A kind says itself what counts: a map of invalid depths differs from the empty one and has no label either."""
    label = task_kind("depth").label
    assert not label.is_labelled(np.full((1, 2, 3), -1, np.float32))
    assert not task_kind("segmentation").label.is_labelled(np.full((2, 3), IGNORE))
