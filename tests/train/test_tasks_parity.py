"""Losses and metrics against independent numpy, written from the formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from trunkline.errors import InvalidConfig, InvalidModel
from trunkline.train.tasks.registry import make_task

pytestmark = pytest.mark.parity

RNG = np.random.default_rng(0)
N, H, W = 3, 6, 8


def rand(*shape: object) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def labels(kind: str) -> np.ndarray:
    if kind == "segmentation":
        label = RNG.integers(0, 4, (N, H, W))
        label[RNG.random(label.shape) < 0.2] = 255
        return label
    if kind == "depth":
        return (RNG.uniform(0.5, 6, (N, 1, H, W)) * (RNG.random((N, 1, H, W)) > 0.2)).astype(np.float32)
    if kind == "normals":
        vectors = rand(N, 3, H, W)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors * (RNG.random((N, 1, H, W)) > 0.2).astype(np.float32)
    label = RNG.random((N, 1, H, W)).astype(np.float32)
    if kind == "edges":
        label = (label > 0.7).astype(np.float32)
    label[RNG.random(label.shape) < 0.2] = 255
    return label


CHANNELS = {"segmentation": 4, "depth": 1, "normals": 3, "edges": 1, "keypoints": 1}


def numpy_loss(kind: str, out: np.ndarray, label: np.ndarray) -> float:
    if kind == "segmentation":
        terms = []
        for n, i, j in np.argwhere(label != 255):
            z = out[n, :, i, j].astype(np.float64)
            terms.append(np.log(np.exp(z - z.max()).sum()) + z.max() - z[label[n, i, j]])
        return np.mean(terms)
    if kind == "normals":
        valid = np.any(label != 0, 1)
        p, g = out.transpose(0, 2, 3, 1)[valid], label.transpose(0, 2, 3, 1)[valid]
        return np.mean(1 - (p * g).sum(-1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(g, axis=-1))
    valid = label > 0 if kind == "depth" else label != 255
    p, g = out[valid].astype(np.float64), label[valid]
    if kind != "edges":
        return np.mean(np.abs(p - g))
    w = 1 - g.mean()
    return np.mean(np.where(g == 1, -w * np.log(1 / (1 + np.exp(-p))), -(1 - w) * np.log(1 - 1 / (1 + np.exp(-p)))))


@pytest.mark.parametrize("kind", CHANNELS)
def test_loss_equals_numpy(kind: str) -> None:
    task = make_task("t", kind, CHANNELS[kind])
    out, label = rand(N, CHANNELS[kind], H, W), labels(kind)
    got = task.loss(torch.from_numpy(out), torch.from_numpy(label))
    assert got.shape == ()
    assert float(got) == pytest.approx(numpy_loss(kind, out, label), rel=1e-5)


@pytest.mark.parametrize("kind", CHANNELS)
def test_smaller_outputs_use_nearest_labels(kind: str) -> None:
    """The loss is taken where the output has a value."""
    task = make_task("t", kind, CHANNELS[kind])
    out, label = rand(N, CHANNELS[kind], 4, 3), labels(kind)
    small = label[..., np.array([0, 1, 3, 4])[:, None], np.array([0, 2, 5])]
    assert float(task.loss(torch.from_numpy(out), torch.from_numpy(label))) == pytest.approx(
        numpy_loss(kind, out, small), rel=1e-5
    )
    up = make_task("t", kind, CHANNELS[kind], loss_size="label", upsample="nearest")
    large = np.repeat(np.repeat(rand(N, CHANNELS[kind], 3, 4), 2, 2), 2, 3)
    got = up.loss(torch.from_numpy(np.ascontiguousarray(large[:, :, ::2, ::2])), torch.from_numpy(label))
    assert float(got) == pytest.approx(numpy_loss(kind, large, label), rel=1e-5)


@pytest.mark.parametrize("kind", CHANNELS)
def test_nothing_labelled_gives_zero_gradient(kind: str) -> None:
    """And a loss of zero."""
    out = torch.from_numpy(rand(N, CHANNELS[kind], H, W)).requires_grad_()
    label = torch.from_numpy(labels(kind))
    empty = torch.full_like(label, 0 if kind in ("depth", "normals") else 255)
    task = make_task("t", kind, CHANNELS[kind])
    loss = task.loss(out, empty)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(out.grad, torch.zeros_like(out))
    metric = task.metric()
    metric.update(out, empty)
    assert all(np.isnan(value) for value in metric.compute().values())


def test_a_zero_normal_has_a_finite_gradient() -> None:
    out = torch.zeros(1, 3, 2, 2, requires_grad=True)
    make_task("n", "normals", 3).loss(out, torch.nn.functional.normalize(torch.ones(1, 3, 2, 2), dim=1)).backward()
    assert torch.isfinite(out.grad).all()


def measure(kind: str, out: np.ndarray, label: np.ndarray, **options: object) -> dict[str, float]:
    task = make_task("t", kind, CHANNELS[kind], **options)
    metric = task.metric()
    metric.update(torch.from_numpy(out), torch.from_numpy(label))
    values = metric.compute()
    assert set(values) == {*task.higher_is_better, *task.informative}
    return values


def test_segmentation_metrics() -> None:
    out, label = rand(N, 4, H, W), labels("segmentation")
    label[label == 3] = 2
    out[:, 3] = -9
    label.flat[:2] = 3  # class 3 occurs in labels, and is never hit
    predicted, valid = out.argmax(1), label != 255
    iou = []
    for c in range(4):
        p, g = (predicted == c) & valid, (label == c) & valid
        iou.append((p & g).sum() / (p | g).sum())
    got = measure("segmentation", out, label)
    assert got["miou"] == pytest.approx(np.mean(iou))
    assert got["miou_paper"] == pytest.approx(np.mean([value for value in iou if value > 0]))
    assert got["miou_paper"] > got["miou"]
    assert got["pixel_accuracy"] == pytest.approx((predicted == label)[valid].mean())


def test_depth_metrics() -> None:
    label = labels("depth")
    out = label * RNG.uniform(0.6, 1.7, label.shape).astype(np.float32)
    out[0, 0, 0] = -2.0
    p, g = out[label > 0].astype(float), label[label > 0].astype(float)
    ratio = np.maximum(np.maximum(p, 1e-3) / g, g / np.maximum(p, 1e-3))
    got = measure("depth", out, label)
    assert got["abs_error"] == pytest.approx(np.abs(p - g).mean())
    assert got["rel_error"] == pytest.approx((np.abs(p - g) / g).mean())
    assert got["rmse"] == pytest.approx(np.sqrt(((p - g) ** 2).mean()))
    for k in (1, 2, 3):
        assert got[f"delta_{k}"] == pytest.approx((ratio < 1.25**k).mean())


def numpy_angles(p: np.ndarray, g: np.ndarray) -> np.ndarray:
    cosine = (p * g).sum(-1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(g, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_normal_metrics_in_both_spaces() -> None:
    label = labels("normals")
    out = 3 * (label + 0.4 * rand(*label.shape))
    valid = np.any(label != 0, 1)
    p, g = (array.transpose(0, 2, 3, 1)[valid].astype(float) for array in (out, label))
    decoded = numpy_angles(p, g)
    unit = p / np.linalg.norm(p, axis=-1, keepdims=True)
    paper = numpy_angles(127.5 * (unit + 1), 127.5 * (g + 1))
    got = measure("normals", out, label)
    for suffix, angles in (("", decoded), ("_paper", paper)):
        assert got["angle_mean" + suffix] == pytest.approx(angles.mean(), rel=1e-6)
        assert got["angle_median" + suffix] == pytest.approx(np.median(angles), abs=0.0051)
        for limit in ("11.25", "22.5", "30"):
            assert got[f"within_{limit}{suffix}"] == pytest.approx((angles < float(limit)).mean())
    assert got["angle_mean_paper"] < got["angle_mean"]
    in_bytes = measure("normals", out, np.where(label.any(1, keepdims=True), 127.5 * (label + 1), 0), space="paper")
    assert all(name.endswith("_paper") for name in in_bytes)
    assert in_bytes["angle_mean_paper"] == pytest.approx(numpy_angles(p, 127.5 * (g + 1)).mean(), rel=1e-5)


def test_edge_metrics() -> None:
    label = labels("edges")
    out = np.where(label == 1, 1.0, -1.0).astype(np.float32) + 1.5 * rand(*label.shape)
    valid = label != 255
    p, g = 1 / (1 + np.exp(-out[valid].astype(float))), label[valid]
    best = 0.0
    for threshold in np.arange(1, 100) / 100:
        tp, fp, fn = (
            ((p >= threshold) & (g == 1)).sum(),
            ((p >= threshold) & (g == 0)).sum(),
            ((p < threshold) & (g == 1)).sum(),
        )
        best = max(best, 2 * tp / (2 * tp + fp + fn))
    got = measure("edges", out, label)
    assert got["pixel_f"] == pytest.approx(best)
    assert got["l1"] == pytest.approx(np.abs(p - g).mean(), rel=1e-5)


def test_edge_options() -> None:
    out, label = rand(N, 1, H, W), labels("edges")
    p, g = out[label != 255].astype(float), label[label != 255]
    given = make_task("e", "edges", 1, positive_weight=0.95).loss(torch.from_numpy(out), torch.from_numpy(label))
    terms = np.where(g == 1, 0.95 * np.log1p(np.exp(-p)), 0.05 * np.log1p(np.exp(p)))
    assert float(given) == pytest.approx(terms.mean(), rel=1e-5)
    plain = make_task("e", "edges", 1, objective="l1")
    assert float(plain.loss(torch.from_numpy(out), torch.from_numpy(label))) == pytest.approx(
        np.abs(p - g).mean(), rel=1e-5
    )
    assert dict(plain.higher_is_better) == {"l1": False}


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("kind", "channels", "options", "words"),
    [
        ("segmentatoin", 3, {}, 'did you mean "segmentation"?'),
        ("depth", 2, {}, "2 channels"),
        ("segmentation", 1, {}, "1 classes"),
        ("normals", 3, {"spaces": "paper"}, 'did you mean "space"?'),
        ("normals", 3, {"space": "bytes"}, '"decoded" or "paper"'),
        ("edges", 1, {"weight": -1}, "a number from 0 on"),
        ("edges", 1, {"positive_weight": True}, '"balanced"'),
        ("edges", 1, {"positive_weight": 1.5}, "from 0 to 1"),
    ],
)
def test_bad_tasks_are_refused(kind: str, channels: int, options: dict[str, Any], words: str) -> None:
    """Unknown kinds, options and channels."""
    with pytest.raises(InvalidConfig) as error:
        make_task("t", kind, channels, **options)
    assert words in str(error.value)
    assert 'task "t"' in str(error.value)


@pytest.mark.abuse
def test_wrong_channels_name_the_task() -> None:
    """And what the output should have had."""
    task = make_task("walls", "segmentation", 5)
    with pytest.raises(InvalidModel, match="walls"):
        task.loss(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))


@pytest.mark.parametrize("kind", CHANNELS)
def test_pictures(kind: str) -> None:
    task = make_task("t", kind, CHANNELS[kind])
    label = labels(kind)
    predicted = task.predict(torch.from_numpy(rand(N, CHANNELS[kind], H, W))).numpy()
    for array in (label[0], predicted[0]):
        shown = task.picture(array)
        assert shown.shape == (H, W, 3)
        assert shown.dtype == np.uint8
        assert shown.any()
