"""What the device takes: counted by the processor, or told by the board or its battery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trunkline.bench.device.system_files import number_of, text_of

_MICRO = 1e6
_MILLI = 1e3


@dataclass(frozen=True, slots=True)
class Power:
    """What a device tells of its power.

    Attributes:
        energy_uj: Energy that each processor package has taken, in microjoules; counts up.
        range_uj: Where the counter of a package begins anew.
        watts: What the board or the battery says that all of it takes now.
        source: Who says that: ``board`` or ``battery``; empty where nobody does.
    """

    energy_uj: Mapping[str, int] = field(default_factory=dict)
    range_uj: Mapping[str, int] = field(default_factory=dict)
    watts: float | None = None
    source: str = ""


def read_power(root: Path) -> Power:
    """Return what the device whose ``sys`` is in ``root`` tells. Linux lets only root read the processor's counter."""
    energy, ranges = {}, {}
    # Packages have one number, as intel-rapl:0; what lies in a package has two, and is counted in it.
    for package in sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]*")):
        counted, most = number_of(package / "energy_uj"), number_of(package / "max_energy_range_uj")
        if package.name.count(":") == 1 and counted is not None:
            energy[package.name] = counted
            ranges[package.name] = most or 0
    for source, watts in (("board", _board_watts(root)), ("battery", _battery_watts(root))):
        if watts is not None:
            return Power(energy, ranges, watts, source)
    return Power(energy, ranges)


def mean_watts(before: Power, after: Power, seconds: float) -> tuple[float | None, str]:
    """Return the mean power between two readings, and who told: ``processor``, ``board`` or ``battery``.

    The processor's counter is the mean of all that lies between. A board or a battery tells of a moment: then it is the
    mean of two moments.
    """
    common = before.energy_uj.keys() & after.energy_uj.keys()
    if common and seconds > 0:
        return sum(_taken_uj(name, before, after) for name in common) / _MICRO / seconds, "processor"
    if before.watts is not None and after.watts is not None and before.source == after.source:
        return (before.watts + after.watts) / 2, after.source
    return None, ""


def _taken_uj(name: str, before: Power, after: Power) -> int:
    taken = after.energy_uj[name] - before.energy_uj[name]
    return taken if taken >= 0 else taken + after.range_uj[name]


def _board_watts(root: Path) -> float | None:
    """Return what an INA3221 says that the whole board takes, as on NVIDIA's Jetson boards."""
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if text_of(chip / "name") != "ina3221":
            continue
        for label in sorted(chip.glob("in*_label")):
            # Its other rails (VDD_CPU_GPU_CV, VDD_SOC) are parts of this one.
            if not (text_of(label) or "").endswith("_IN"):
                continue
            number = label.name.removeprefix("in").removesuffix("_label")
            millivolts, milliamperes = number_of(chip / f"in{number}_input"), number_of(chip / f"curr{number}_input")
            if millivolts is not None and milliamperes is not None:
                return millivolts / _MILLI * milliamperes / _MILLI
    return None


def _battery_watts(root: Path) -> float | None:
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        microwatts = number_of(supply / "power_now")
        # While it is charged, the number is what goes into it.
        if text_of(supply / "status") == "Discharging" and microwatts is not None:
            return abs(microwatts) / _MICRO
    return None
