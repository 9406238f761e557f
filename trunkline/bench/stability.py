"""Whether a series of latencies is one number with noise, or a machine that changes under the measurement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trunkline.bench.statistics import Estimate, minimum_samples, percentile_with_interval

WINDOW = 8
FLAT_TOLERANCE = 0.03
DRIFT_TOLERANCE = 0.05
SPREAD_TOLERANCE = 0.10


def is_flat(samples: Sequence[float], *, window: int = WINDOW, tolerance: float = FLAT_TOLERANCE) -> bool:
    """Whether the median of the last ``window`` samples agrees with that of the ``window`` before.

    Args:
        samples: In the order they were taken.
        window: Samples per median.
        tolerance: Largest relative difference that counts as flat.
    """
    if len(samples) < 2 * window:
        return False
    earlier = float(np.median(samples[-2 * window : -window]))
    later = float(np.median(samples[-window:]))
    return abs(later - earlier) <= tolerance * earlier


def instability(
    samples: Sequence[float], *, drift: float = DRIFT_TOLERANCE, spread: float = SPREAD_TOLERANCE, unit: str = "ms"
) -> str:
    """Return why the samples do not describe one steady latency, or an empty string where they do.

    >>> instability([1.0] * 50)
    ''
    >>> instability([1.0] * 25 + [2.0] * 25)
    'slowed down during the measurement: p50 of part 1 of 4 was 1 ms, of part 3 2 ms'

    Two signs are looked for: blocks of the series whose medians differ beyond both chance and ``drift``
    (throttling, a neighbour that came or went), and an interval of the median wider than ``spread``.

    Args:
        samples: In the order they were taken, in ``unit``.
        drift: Smallest relative change between blocks that matters.
        spread: Largest relative width of the median's interval.
        unit: Unit of the samples, for the text.
    """
    median = percentile_with_interval(samples, 0.5)
    if median is None:
        return f"{len(samples)} samples are fewer than the {minimum_samples(0.5)} that a median needs"
    # Drift is the better explanation where both are seen: it also widens the interval.
    moved = _drift(samples, drift, unit)
    if moved:
        return moved
    if median.relative_width > spread:
        return f"too noisy: p50 is only known to within {median.low:.4g} to {median.high:.4g} {unit}"
    return ""


def _drift(samples: Sequence[float], tolerance: float, unit: str) -> str:
    """Return how the fastest and the slowest block differ, or an empty string where that may be chance."""
    blocks = _blocks(samples)
    if not blocks:
        return ""
    fast = min(range(len(blocks)), key=lambda index: blocks[index].value)
    slow = max(range(len(blocks)), key=lambda index: blocks[index].value)
    beyond_chance = blocks[slow].low > blocks[fast].high
    # With many samples even a change too small to matter is beyond chance.
    if not beyond_chance or blocks[slow].value <= blocks[fast].value * (1 + tolerance):
        return ""
    start, end = sorted((fast, slow))
    word = "slowed down" if slow > fast else "sped up"
    return (
        f"{word} during the measurement: p50 of part {start + 1} of {len(blocks)} was "
        f"{blocks[start].value:.4g} {unit}, of part {end + 1} {blocks[end].value:.4g} {unit}"
    )


def _blocks(samples: Sequence[float]) -> list[Estimate]:
    """Cut the series into four parts, or two where it is short; none where a part could have no interval."""
    needed = minimum_samples(0.5)
    parts = 4 if len(samples) >= 4 * needed else 2
    if len(samples) < parts * needed:
        return []
    estimates = (percentile_with_interval(block, 0.5) for block in np.array_split(np.asarray(samples), parts))
    return [estimate for estimate in estimates if estimate is not None]
