"""Which of a module's mutants are tried: a fixed choice that depends on their names and a seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def sample(names: Sequence[str], size: int, seed: int) -> list[str]:
    """Return ``size`` of ``names``, or all if there are fewer.

    A larger sample holds every smaller one of the same seed, so that nothing is tried twice.
    """
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())[:size]
