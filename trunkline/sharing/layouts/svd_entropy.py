"""How irregular a series is: entropy of singular values (Li et al. 2008), as TreeMTL weighs tasks by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ORDER = 3
"""Length of the windows of a series, as in TreeMTL's release; their distance is 1."""


def svd_entropy(series: Sequence[float], order: int = ORDER) -> float | None:
    """Return the normalised entropy of a series' singular values, between 0 and 1; ``None`` where it is too short.

    The windows (x_i, …, x_{i+order-1}) are the rows of a matrix. With its singular values s divided by their sum, it is
    −Σ s log2 s / log2(order). A series that never changes has one window, and entropy 0; so has one of zeros, for which
    there are no shares to divide. A scale that all values have in common changes nothing.

    >>> svd_entropy([1.0, 2.0, 4.0, 8.0, 16.0]) < 1e-6
    True
    >>> round(svd_entropy([0.0, 0.0, 1.0, 0.0, 0.0]), 9)
    1.0
    >>> svd_entropy([1.0, 2.0]) is None
    True
    """
    values = np.asarray(series, dtype=np.float64)
    if len(values) < order:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(values, order)
    singular = np.linalg.svd(windows, compute_uv=False)
    total = singular.sum()
    if total == 0:
        return 0.0
    shares = singular / total
    # 0 · log 0 counts as 0, and what rounding leaves of a zero is nothing.
    shares = shares[shares > np.finfo(np.float64).eps]
    return float(-(shares * np.log2(shares)).sum() / np.log2(order)) + 0.0
