"""Sees whether the waiting of torch's threads is watched over."""

from __future__ import annotations

import threading


def is_watching() -> bool:
    """Whether a watch of :mod:`trunkline.spinning` is on, so that the way threads wait may change at any time."""
    return any(thread.name == "trunkline-spinning" for thread in threading.enumerate())
