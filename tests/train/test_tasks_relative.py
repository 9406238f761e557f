"""Relative performance, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from trunkline.errors import InvalidConfig
from trunkline.train.tasks.relative import relative_performance

pytestmark = pytest.mark.golden

DIRECTIONS = {"seg": {"miou": True, "pixel_accuracy": True}, "depth": {"abs_error": False}}
SINGLE = {"seg": {"miou": 0.40, "pixel_accuracy": 0.80, "miou_paper": 0.5}, "depth": {"abs_error": 0.5}}


def test_relative_performance_by_hand() -> None:
    """A table worked out on paper."""
    ours = {"seg": {"miou": 0.44, "pixel_accuracy": 0.76}, "depth": {"abs_error": 0.45}}
    found = relative_performance(ours, SINGLE, DIRECTIONS)
    assert found.by_task == pytest.approx({"seg": 2.5, "depth": 10.0})
    assert found.mean == pytest.approx(6.25)
    assert found.to_json() == pytest.approx({"seg": 2.5, "depth": 10.0, "mean": 6.25})
    assert found.left_out == ()


def test_a_model_equals_itself() -> None:
    """Its Δ against itself is 0."""
    assert relative_performance(SINGLE, SINGLE, DIRECTIONS).by_task == {"seg": 0.0, "depth": 0.0}


def test_meaningless_terms_are_left_out() -> None:
    """And named."""
    ours = {"seg": {"miou": math.nan, "pixel_accuracy": 0.8}, "depth": {"abs_error": 0.45}}
    found = relative_performance(ours, {**SINGLE, "depth": {"abs_error": 0.0}}, DIRECTIONS)
    assert found.left_out == ("seg.miou", "depth.abs_error")
    assert found.by_task == {"seg": 0.0}
    assert found.mean == 0.0


@pytest.mark.abuse
def test_absent_metrics_are_all_named() -> None:
    """At once."""
    with pytest.raises(InvalidConfig) as error:
        relative_performance({"seg": {"miou": 1.0}}, SINGLE, DIRECTIONS)
    assert [problem.place for problem in error.value.problems] == ["metrics.seg", "metrics.depth"]
