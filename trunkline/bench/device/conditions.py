"""What the device went through during a measurement, from its states before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from trunkline.bench.device.power import mean_watts
from trunkline.bench.device.state import DeviceState

NOTED_STEAL_PERCENT = 2.0
"""Part of the processor's time that other virtual machines may take without a note."""
_US_PER_MS = 1000


@dataclass(frozen=True, slots=True)
class Conditions:
    """The device before and after a measurement.

    Attributes:
        before: Its state before the warm-up.
        after: Its state after the last round.
    """

    before: DeviceState = field(default_factory=DeviceState)
    after: DeviceState = field(default_factory=DeviceState)

    @property
    def throttled(self) -> tuple[str, ...]:
        """What held the device back during the measurement, in words; empty where nothing is known to have."""
        return (*self._processor_held_back(), *self._gpu_held_back())

    @property
    def watched(self) -> tuple[str, ...]:
        """What of all that may hold a device back this one tells of."""
        then, now, gpu = self.before.throttling, self.after.throttling, self.after.gpu
        told = {
            "heat": now.heat is not None or now.cooling is not None,
            "power limit": now.power_limit is not None,
            "CPU quota": _grown(then.quota_periods, now.quota_periods) is not None,
            "GPU": gpu is not None and (gpu.limits is not None or bool(gpu.limited_us)),
        }
        return tuple(name for name, is_told in told.items() if is_told)

    @property
    def steal_percent(self) -> float | None:
        """Part of the processor's time that other virtual machines took."""
        then, now = self.before.throttling, self.after.throttling
        stolen, ticks = _grown(then.stolen, now.stolen), _grown(then.ticks, now.ticks)
        return 100 * stolen / ticks if stolen is not None and ticks else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What may make another measurement on this device come out otherwise; no fault of this one."""
        return tuple(self._noted())

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        watts, source = mean_watts(self.before.power, self.after.power, self.after.seconds - self.before.seconds)
        return {
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "power_w": watts,
            "power_from": source,
            "steal_percent": self.steal_percent,
            "throttled": list(self.throttled),
            "watched": list(self.watched),
            "notes": list(self.notes),
        }

    def _processor_held_back(self) -> Iterator[str]:
        then, now = self.before.throttling, self.after.throttling
        if _grown(then.heat, now.heat) or then.cooling or now.cooling:
            yield "heat slowed the processor down"
        if _grown(then.power_limit, now.power_limit):
            yield "its power limit slowed the processor down"
        periods = _grown(then.quota_periods, now.quota_periods)
        if periods:
            stopped_ms = (_grown(then.quota_us, now.quota_us) or 0) / _US_PER_MS
            times = {1: "once", 2: "twice"}.get(periods, f"{periods} times")
            yield f"a CPU quota stopped the process {times}, for {stopped_ms:.0f} ms in all"

    def _gpu_held_back(self) -> Iterator[str]:
        if self.after.gpu is None:
            return
        counted_before = self.before.gpu.limited_us if self.before.gpu else {}
        for limit, count in self.after.gpu.limited_us.items():
            held_us = count - counted_before.get(limit, count)
            if held_us > 0:
                yield f"{limit} held the GPU's clock down for {held_us / _US_PER_MS:.0f} ms"
        # Without counters only the moment is known, and that is after the last run.
        if not self.after.gpu.limited_us:
            for limit in self.after.gpu.limits or ():
                yield f"{limit} held the GPU's clock down at the end"

    def _noted(self) -> Iterator[str]:
        clock, steal = self.after.clock, self.steal_percent
        if clock.governor not in (None, "performance"):
            yield f"the clock follows the load (governor {clock.governor})"
        if clock.turbo:
            base = f" {clock.base_mhz:.0f} MHz" if clock.base_mhz else ""
            yield f"turbo is on: the clock goes above its base{base} only while the device is cool enough"
        if steal is not None and steal > NOTED_STEAL_PERCENT:
            yield f"other virtual machines took {steal:.1f} % of the processor's time"
        if self.after.power.source == "battery":
            yield "the device ran on its battery"


def _grown(before: int | None, after: int | None) -> int | None:
    """Return by how much a counter grew; ``None`` where one of its readings is missing."""
    return None if before is None or after is None else after - before
