"""The state of the device at one moment, as far as it tells."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trunkline.bench.device.clock import Clock, read_clock
from trunkline.bench.device.gpu import Gpu, read_gpu
from trunkline.bench.device.power import Power, read_power
from trunkline.bench.device.temperature import read_temperature
from trunkline.bench.device.throttling import Throttling, read_throttling


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What a device tells of itself.

    Attributes:
        seconds: When it was read, on a clock that only goes on.
        clock: The processor's clock.
        temperature_c: The processor's temperature; ``None`` where no sensor tells.
        power: What the device takes.
        throttling: Counters of what holds the processor back.
        gpu: The GPU, where it was asked for and answers.
    """

    seconds: float = 0.0
    clock: Clock = field(default_factory=Clock)
    temperature_c: float | None = None
    power: Power = field(default_factory=Power)
    throttling: Throttling = field(default_factory=Throttling)
    gpu: Gpu | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data, without the counters, of which only differences say something."""
        return {
            "clock_mhz": self.clock.mhz,
            "max_clock_mhz": self.clock.max_mhz,
            "base_clock_mhz": self.clock.base_mhz,
            "governor": self.clock.governor,
            "turbo": self.clock.turbo,
            "temperature_c": self.temperature_c,
            "gpu": self.gpu.to_json() if self.gpu else None,
        }


def read_device(*, gpu: bool = False, root: Path = Path("/")) -> DeviceState:
    """Return the state of this device now.

    Args:
        gpu: Ask the GPU too, which takes a moment.
        root: Folder that Linux' ``sys`` and ``proc`` are in.
    """
    return DeviceState(
        seconds=time.monotonic(),
        clock=read_clock(root),
        temperature_c=read_temperature(root),
        power=read_power(root),
        throttling=read_throttling(root),
        gpu=read_gpu() if gpu else None,
    )
