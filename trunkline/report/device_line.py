"""A line on what a measurement was made on, and in which state that was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]


def device_lines(bench: Json) -> list[str]:
    """Return a line on the device of a measurement, and its notes; nothing where it does not name it."""
    environment, device = bench.get("environment") or {}, bench.get("device") or {}
    parts = list(_parts(bench, environment, device))
    if not environment or not parts:
        return []
    notes = [f"note: {note}" for note in device.get("notes") or []]
    return [f"device: {', '.join(parts)}", *notes]


def _parts(bench: Json, environment: Json, device: Json) -> Iterator[str]:
    if environment.get("cpu"):
        yield str(environment["cpu"])
    threads = bench["models"][0].get("threads") if bench["models"] else None
    if threads:
        yield f"{threads} thread{'' if threads == 1 else 's'}"
    after = device.get("after") or {}
    yield from _processor(after)
    yield from _gpu(after.get("gpu") or {})
    if device.get("power_w") is not None:
        yield f"{device['power_w']:.1f} W ({device['power_from']})"
    if "throttled" in device:
        yield _throttled(device["throttled"], device.get("watched") or [])


def _processor(after: Json) -> Iterator[str]:
    if after.get("clock_mhz"):
        most = f" of {after['max_clock_mhz']:.0f}" if after.get("max_clock_mhz") else ""
        yield f"{after['clock_mhz']:.0f}{most} MHz"
    if after.get("governor"):
        yield f"governor {after['governor']}"
    if after.get("temperature_c") is not None:
        yield f"{after['temperature_c']:.0f} °C"


def _gpu(gpu: Json) -> Iterator[str]:
    if not gpu:
        return
    yield str(gpu.get("name") or "GPU")
    if gpu.get("clock_mhz"):
        most = f" of {gpu['max_clock_mhz']:.0f}" if gpu.get("max_clock_mhz") else ""
        yield f"{gpu['clock_mhz']:.0f}{most} MHz"
    if gpu.get("temperature_c") is not None:
        yield f"{gpu['temperature_c']:.0f} °C"
    if gpu.get("power_w") is not None:
        yield f"{gpu['power_w']:.0f} W"


def _throttled(reasons: Sequence[str], watched: Sequence[str]) -> str:
    if reasons:
        return f"THROTTLED: {'; '.join(reasons)}"
    # A device that tells of nothing may well have been slowed down.
    return f"not throttled ({', '.join(watched)})" if watched else "does not tell whether it was throttled"
