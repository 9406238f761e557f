"""What ``nvidia-smi`` tells of the GPU that this process uses."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_FIELDS = (
    *("name", "clocks.sm", "clocks.max.sm", "temperature.gpu", "power.draw", "utilization.gpu"),
    "persistence_mode",
)
_LIMITS = {0x4: "power", 0x8: "heat or power", 0x20: "heat", 0x40: "heat", 0x80: "power brake"}
"""Bits of the driver's reasons for a lower clock that are limits: NVML's ``nvmlClocksEventReason…``. The others say
that it is idle, or that a user asked for it."""
_COUNTERS = {
    "clocks_event_reasons_counters.sw_power_cap": "power",
    "clocks_event_reasons_counters.sw_thermal_slowdown": "heat",
    "clocks_event_reasons_counters.hw_thermal_slowdown": "heat",
    "clocks_event_reasons_counters.hw_power_brake_slowdown": "power brake",
}
"""Microseconds that a limit held the clock down, in all; of newer drivers only."""
_QUERIES = (
    ("clocks_event_reasons.active", *_COUNTERS),
    ("clocks_event_reasons.active",),
    ("clocks_throttle_reasons.active",),
)
"""What else is asked, newest names first: of a name that it does not know, a driver answers nothing at all."""
_LONGEST_S = 10


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU at one moment; ``None`` for what it does not tell.

    Attributes:
        name: What it is called.
        clock_mhz: Clock of its multiprocessors.
        max_clock_mhz: The highest that this can be.
        temperature_c: In degrees Celsius.
        power_w: In watts.
        busy_percent: Part of the last second or less in which anyone computed on it.
        persistence: Whether the driver stays loaded while nobody uses it.
        limits: What holds the clock down at this moment: ``power``, ``heat``, …
        limited_us: For how long each of these has done so, in microseconds; empty where the driver does not count.
    """

    name: str = ""
    clock_mhz: float | None = None
    max_clock_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    busy_percent: float | None = None
    persistence: bool | None = None
    limits: tuple[str, ...] | None = None
    limited_us: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, without the counters, of which only differences say something."""
        return {key: value for key, value in asdict(self).items() if key != "limited_us"}


def read_gpu() -> Gpu | None:
    """Return the first GPU that this process sees; ``None`` where there is none, or none that answers."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    # nvidia-smi knows nothing of the variable, by which a process has device 0 of its own.
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    for query in _QUERIES:
        names = (*_FIELDS, *query)
        answer = _asked(tool, first, names)
        if len(answer) == len(names):
            return _gpu(dict(zip(names, answer, strict=True)), query[0])
    return None


def _asked(tool: str, device: str, names: tuple[str, ...]) -> list[str]:
    command = [tool, f"--id={device}", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=True)  # noqa: S603
    except (subprocess.SubprocessError, OSError):
        # A broken driver is reported by the provider that needs it.
        return []
    return [part.strip() for part in answer.stdout.strip().split(",")]


def _gpu(told: Mapping[str, str], reasons: str) -> Gpu:
    limited: dict[str, int] = {}
    for name, limit in _COUNTERS.items():
        count = _number(told.get(name, ""))
        if count is not None:
            limited[limit] = limited.get(limit, 0) + int(count)
    return Gpu(
        name=told["name"],
        clock_mhz=_number(told["clocks.sm"]),
        max_clock_mhz=_number(told["clocks.max.sm"]),
        temperature_c=_number(told["temperature.gpu"]),
        power_w=_number(told["power.draw"]),
        busy_percent=_number(told["utilization.gpu"]),
        persistence={"Enabled": True, "Disabled": False}.get(told["persistence_mode"]),
        limits=_limits(told[reasons]),
        limited_us=limited,
    )


def _number(text: str) -> float | None:
    # What a board has no sensor for is "[N/A]" or "[Not Supported]".
    try:
        return float(text.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        return None


def _limits(text: str) -> tuple[str, ...] | None:
    """Return in words what a bit mask such as ``0x0000000000000004`` says."""
    try:
        bits = int(text, 16)
    except ValueError:
        return None
    return tuple(dict.fromkeys(word for bit, word in _LIMITS.items() if bits & bit))
