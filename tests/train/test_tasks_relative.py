"""Relative performance, against numbers worked out by hand."""

import math

import pytest

from trunkline.errors import InvalidConfig
from trunkline.train.tasks.relative import relative_performance

DIRECTIONS = {"seg": {"miou": True, "pixel_accuracy": True}, "depth": {"abs_error": False}}
SINGLE = {"seg": {"miou": 0.40, "pixel_accuracy": 0.80, "miou_paper": 0.5}, "depth": {"abs_error": 0.5}}


def test_golden_by_hand():
    ours = {"seg": {"miou": 0.44, "pixel_accuracy": 0.76}, "depth": {"abs_error": 0.45}}
    found = relative_performance(ours, SINGLE, DIRECTIONS)
    assert found.by_task == pytest.approx({"seg": 2.5, "depth": 10.0})
    assert found.mean == pytest.approx(6.25)
    assert found.to_json() == pytest.approx({"seg": 2.5, "depth": 10.0, "mean": 6.25})
    assert found.left_out == ()


def test_property_a_model_equals_itself():
    assert relative_performance(SINGLE, SINGLE, DIRECTIONS).by_task == {"seg": 0.0, "depth": 0.0}


def test_terms_without_a_meaning_are_left_out_by_name():
    ours = {"seg": {"miou": math.nan, "pixel_accuracy": 0.8}, "depth": {"abs_error": 0.45}}
    found = relative_performance(ours, {**SINGLE, "depth": {"abs_error": 0.0}}, DIRECTIONS)
    assert found.left_out == ("seg.miou", "depth.abs_error")
    assert found.by_task == {"seg": 0.0}
    assert found.mean == 0.0


def test_abuse_absent_metrics_are_all_named():
    with pytest.raises(InvalidConfig) as error:
        relative_performance({"seg": {"miou": 1.0}}, SINGLE, DIRECTIONS)
    assert [problem.place for problem in error.value.problems] == ["metrics.seg", "metrics.depth"]
