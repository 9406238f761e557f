"""The memory of this process, as Linux counts it."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""What proc(5) says to write, so that the peak begins again from what is resident now."""
_BYTES_PER_KB = 1024


def forget_peak() -> bool:
    """Begin to count the peak anew; returns whether the system can."""
    try:
        _RESET.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def resident_bytes() -> int | None:
    """Return what this process holds now; ``None`` where the system does not say."""
    return _entry("VmRSS")


def peak_bytes() -> int | None:
    """Return what it held at most since :func:`forget_peak`; ``None`` where the system does not say."""
    # Not getrusage: its peak is inherited from the process that started this one.
    return _entry("VmHWM")


def _entry(name: str) -> int | None:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * _BYTES_PER_KB
    return None
