"""Let the process keep memory that it frees.

A training step frees its gradients and asks for as much again at once. By default glibc gives large pieces back to the
system in between, and getting them again costs 3 to 8 % of a step where kernels are large.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed, for the whole process; return whether it does. The peak stays the same.

    A command that trains calls it, never a library function: the process may be somebody else's.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library: musl has no mallopt, Windows takes no None
        return False
    return all(mallopt(option, _NEVER) == 1 for option in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD))
