"""Synthetic series: steady, drifting, throttled, noisy."""

from __future__ import annotations

import numpy as np
import pytest

from trunkline.bench.stability import instability, is_flat


def _steady(count: int, *, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    return 5.0 * np.random.default_rng(seed).lognormal(0, noise, count)


@pytest.mark.golden
def test_flat_needs_two_windows_that_agree() -> None:
    assert not is_flat([1.0] * 15)
    assert is_flat([1.0] * 16)
    assert not is_flat([2.0] * 8 + [1.0] * 8)
    assert is_flat([9.0] * 3 + [1.0] * 16)


@pytest.mark.golden
@pytest.mark.parametrize("count", [11, 22, 44, 700])
def test_steady_series_is_stable(count: int) -> None:
    assert instability(_steady(count)) == ""


@pytest.mark.properties
def test_steady_series_are_rarely_called_unstable() -> None:
    assert sum(bool(instability(_steady(64, seed=seed))) for seed in range(500)) <= 2


@pytest.mark.golden
def test_throttling_is_named_with_both_medians() -> None:
    series = np.concatenate([_steady(60), 1.3 * _steady(60, seed=1)])
    assert instability(series).startswith("slowed down during the measurement: p50 of part ")
    assert instability(series[::-1]).startswith("sped up")


@pytest.mark.golden
def test_disturbance_in_the_middle_is_seen() -> None:
    series = np.concatenate([_steady(40), 1.3 * _steady(40, seed=1), _steady(80, seed=2)])
    assert "during the measurement" in instability(series)


@pytest.mark.golden
def test_noise_is_not_taken_for_drift() -> None:
    assert instability(_steady(30, noise=0.5)).startswith("too noisy: p50 is only known to within")


@pytest.mark.golden
def test_rare_outliers_do_not_matter() -> None:
    series = _steady(200)
    series[::20] *= 30
    assert instability(series) == ""


@pytest.mark.abuse
def test_too_few_samples_are_not_stable() -> None:
    assert instability([1.0] * 10) == "10 samples are fewer than the 11 that a median needs"


@pytest.mark.golden
def test_flatness_compares_two_windows() -> None:
    """What came before the two windows is over; 3 % of the earlier median is still flat."""
    assert is_flat([100.0] * 8 + [1.0] * 16)
    assert is_flat([100.0] * 8 + [103.0] * 8)
    assert not is_flat([100.0] * 8 + [103.1] * 8)
    assert is_flat([5.0] * 8 + [5.1] * 8)
    assert not is_flat([5.0] * 8 + [4.8] * 8)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("series", "way", "parts"),
    [
        ([5.0] * 11 + [6.0] * 11 + [7.0] * 11 + [8.0] * 11, "slowed down", "part 1 of 4 was 5 ms, of part 4 8 ms"),
        ([8.0] * 11 + [5.0] * 33, "sped up", "part 1 of 4 was 8 ms, of part 2 5 ms"),
        ([6.0] * 11 + [8.0] * 11 + [5.0] * 22, "sped up", "part 2 of 4 was 8 ms, of part 3 5 ms"),
        ([5.0] * 21 + [8.0] * 22, "slowed down", "part 1 of 2 was 5 ms, of part 2 8 ms"),
        ([5.0] * 11 + [8.0] * 11, "slowed down", "part 1 of 2 was 5 ms, of part 2 8 ms"),
    ],
)
def test_drift_names_its_parts(series: list[float], way: str, parts: str) -> None:
    """Four parts, or two below 44 samples; the earlier one is told first."""
    assert instability(series) == f"{way} during the measurement: p50 of {parts}"


@pytest.mark.golden
def test_too_few_for_parts_cannot_drift() -> None:
    assert instability([5.0] * 10 + [8.0] * 11).startswith("too noisy: p50 is only known to within 5 to 8 ms")


@pytest.mark.golden
def test_tolerances_are_still_steady() -> None:
    """5 % between parts and an interval of 10 % pass; anything beyond does not."""
    assert instability([100.0] * 22 + [105.0] * 22) == ""
    assert instability([100.0] * 22 + [105.1] * 22).startswith("slowed down")
    assert instability([9.5, *[10.0] * 9, 10.5]) == ""
    assert instability([9.5, *[10.0] * 9, 10.51]).startswith("too noisy")
