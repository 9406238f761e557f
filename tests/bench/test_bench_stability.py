"""Synthetic series: steady, drifting, throttled, noisy."""

from __future__ import annotations

import numpy as np
import pytest

from trunkline.bench.stability import instability, is_flat


def _steady(count: int, *, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    return 5.0 * np.random.default_rng(seed).lognormal(0, noise, count)


def test_golden_flat_needs_two_windows_that_agree() -> None:
    assert not is_flat([1.0] * 15)
    assert is_flat([1.0] * 16)
    assert not is_flat([2.0] * 8 + [1.0] * 8)
    assert is_flat([9.0] * 3 + [1.0] * 16)


@pytest.mark.parametrize("count", [11, 22, 44, 700])
def test_golden_a_steady_series_is_stable(count: int) -> None:
    assert instability(_steady(count)) == ""


def test_properties_steady_series_are_almost_never_called_unstable() -> None:
    assert sum(bool(instability(_steady(64, seed=seed))) for seed in range(500)) <= 2


def test_golden_throttling_is_named_with_both_medians() -> None:
    series = np.concatenate([_steady(60), 1.3 * _steady(60, seed=1)])
    assert instability(series).startswith("slowed down during the measurement: p50 of part ")
    assert instability(series[::-1]).startswith("sped up")


def test_golden_a_disturbance_in_the_middle_is_seen() -> None:
    series = np.concatenate([_steady(40), 1.3 * _steady(40, seed=1), _steady(80, seed=2)])
    assert "during the measurement" in instability(series)


def test_golden_noise_is_not_taken_for_drift() -> None:
    assert instability(_steady(30, noise=0.5)).startswith("too noisy: p50 is only known to within")


def test_golden_rare_outliers_do_not_matter() -> None:
    series = _steady(200)
    series[::20] *= 30
    assert instability(series) == ""


def test_abuse_too_few_samples_are_not_stable() -> None:
    assert instability([1.0] * 10) == "10 samples are fewer than the 11 that a median needs"
