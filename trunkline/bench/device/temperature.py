"""The processor's temperature, by whatever sensor the system has for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trunkline.bench.device.system_files import number_of, text_of

_ZONES = ("x86_pkg_temp", "cpu", "soc")
"""How the names of zones begin that are the processor's; others are of batteries, disks, radios."""
_CHIPS = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal"})
_PER_DEGREE = 1000


def read_temperature(root: Path) -> float | None:
    """Return the processor's temperature in degrees Celsius, its hottest sensor's; ``None`` where none tells."""
    return max((value / _PER_DEGREE for value in _readings(root)), default=None)


def _readings(root: Path) -> Iterator[int]:
    for zone in (root / "sys/class/thermal").glob("thermal_zone*"):
        name = (text_of(zone / "type") or "").lower()
        value = number_of(zone / "temp")
        if name.startswith(_ZONES) and value is not None:
            yield value
    for chip in (root / "sys/class/hwmon").glob("hwmon*"):
        if text_of(chip / "name") in _CHIPS:
            values = [number_of(sensor) for sensor in chip.glob("temp*_input")]
            yield from (value for value in values if value is not None)
