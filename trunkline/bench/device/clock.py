"""The processor's clock: what it is, what it may become, and who decides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trunkline.bench.device.system_files import known, number_of, text_of

_CORES = "sys/devices/system/cpu"
_KHZ_PER_MHZ = 1000
_MHZ = re.compile(r"[0-9]{1,7}(\.[0-9]{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of a processor; ``None`` for what the system does not tell.

    Attributes:
        mhz: That of the fastest core, now.
        max_mhz: The highest that a core may reach.
        base_mhz: The highest that all cores can keep up.
        governor: What decides between them; several are joined by ``/``.
        turbo: Whether cores may go above the base for a while.
    """

    mhz: float | None = None
    max_mhz: float | None = None
    base_mhz: float | None = None
    governor: str | None = None
    turbo: bool | None = None


def read_clock(root: Path) -> Clock:
    """Return the clock of the processor of the system whose ``sys`` and ``proc`` are in ``root``."""
    cores = sorted((root / _CORES).glob("cpu[0-9]*/cpufreq"))
    governors = [text_of(core / "scaling_governor") for core in cores]
    return Clock(
        # A virtual machine has no cpufreq; what it then tells is the clock that its processor was sold with.
        mhz=_highest(cores, "scaling_cur_freq") or _told_mhz(root / "proc/cpuinfo"),
        max_mhz=_highest(cores, "cpuinfo_max_freq"),
        base_mhz=_highest(cores, "base_frequency"),
        governor="/".join(sorted({governor for governor in governors if governor})) or None,
        turbo=_turbo(root / _CORES),
    )


def _highest(cores: list[Path], name: str) -> float | None:
    found = known([number_of(core / name) for core in cores])
    return max(found) / _KHZ_PER_MHZ if found else None


def _told_mhz(cpuinfo: Path) -> float | None:
    lines = [line.partition(":") for line in (text_of(cpuinfo) or "").splitlines()]
    told = [value.strip() for key, _, value in lines if key.strip() == "cpu MHz"]
    return max((float(value) for value in told if _MHZ.fullmatch(value)), default=None)


def _turbo(cores: Path) -> bool | None:
    # Intel's driver says whether it is off, all others whether it is on.
    off, on = number_of(cores / "intel_pstate/no_turbo"), number_of(cores / "cpufreq/boost")
    if off is not None:
        return off == 0
    return None if on is None else on == 1
