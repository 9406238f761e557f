"""Counters of what holds a processor back: heat, power limits, the quota of a container, other virtual machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trunkline.bench.device.system_files import known, number_of, numbers_in, text_of

_NS_PER_US = 1000
_STEAL = 7
"""Which number of the first line of ``/proc/stat`` counts stolen time; those behind it are parts of the first two."""


@dataclass(frozen=True, slots=True)
class Throttling:
    """Counters, which only grow; ``None`` where the system has none.

    Attributes:
        heat: How often the processor was slowed down by heat, over all cores.
        power_limit: How often by its power limit.
        cooling: Whether the system holds the clock down now, so that it cools.
        quota_periods: Periods in which a quota of its control groups stopped this process and those beside it.
        quota_us: For how long in all, in microseconds.
        stolen: Time that others had the processor though this machine, a virtual one, wanted it; in ticks.
        ticks: All time of all cores.
    """

    heat: int | None = None
    power_limit: int | None = None
    cooling: bool | None = None
    quota_periods: int | None = None
    quota_us: int | None = None
    stolen: int | None = None
    ticks: int | None = None


def read_throttling(root: Path) -> Throttling:
    """Return the counters of the system whose ``sys`` and ``proc`` are in ``root``."""
    quotas = list(_quotas(root))
    stolen, ticks = _stolen(root)
    return Throttling(
        heat=_events(root, ("core_throttle_count", "package_throttle_count")),
        power_limit=_events(root, ("core_power_limit_count", "package_power_limit_count")),
        cooling=_cooling(root),
        quota_periods=sum(quota["nr_throttled"] for quota in quotas) if quotas else None,
        quota_us=sum(_stopped_us(quota) for quota in quotas) if quotas else None,
        stolen=stolen,
        ticks=ticks,
    )


def _events(root: Path, names: tuple[str, ...]) -> int | None:
    cores = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle"))
    found = known([number_of(core / name) for core in cores for name in names])
    return sum(found) if found else None


def _cooling(root: Path) -> bool | None:
    """Tell whether the system cools by slowing the processor down; all that boards without counters have."""
    states = []
    for device in (root / "sys/class/thermal").glob("cooling_device*"):
        kind = (text_of(device / "type") or "").lower()
        # Others are fans, displays and radios.
        if "cpufreq" in kind or kind == "processor":
            states.append(number_of(device / "cur_state"))
    found = known(states)
    return any(state > 0 for state in found) if found else None


def _quotas(root: Path) -> Iterator[dict[str, int]]:
    """Yield the statistics of this process' control group and of all above it, each of which may have a quota."""
    for folder, path in _groups(root):
        # A container sees its own group as the topmost one, whatever the path from outside says.
        for part in (path, *path.parents):
            counted = numbers_in(folder / part.relative_to("/") / "cpu.stat")
            if "nr_throttled" in counted:
                yield counted


def _groups(root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield where the statistics of processor time are, and this process' path in there."""
    mounted = root / "sys/fs/cgroup"
    for line in (text_of(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not path.startswith("/") or ".." in Path(path).parts:
            continue
        if number == "0" and not controllers:
            yield mounted, Path(path)
        elif "cpu" in controllers.split(","):
            yield mounted / controllers, Path(path)


def _stopped_us(quota: dict[str, int]) -> int:
    # The older control groups count in nanoseconds.
    return quota.get("throttled_usec", quota.get("throttled_time", 0) // _NS_PER_US)


def _stolen(root: Path) -> tuple[int | None, int | None]:
    first = (text_of(root / "proc/stat") or "").partition("\n")[0].split()
    if len(first) <= _STEAL + 1 or first[0] != "cpu" or not all(part.isdecimal() for part in first[1:]):
        return None, None
    times = [int(part) for part in first[1 : _STEAL + 2]]
    return times[_STEAL], sum(times)
