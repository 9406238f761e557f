"""Where a number was measured: without it, a latency cannot be compared with anything."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from trunkline.bench.instructions import Instructions, read_instructions
from trunkline.spinning import wait_policy

_PACKAGES = ("trunkline", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "torch")
_GPU_QUERY = ("--query-gpu=name,driver_version", "--format=csv,noheader")


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine and the software of a measurement.

    Attributes:
        cpu: Model name of the processor.
        cores: Logical cores this process may use.
        gpu: Name and driver of each GPU, joined by ``;``; empty where none was found.
        system: Operating system, kernel and architecture.
        wait_policy: What the user's environment variables set for OpenMP threads that wait for each other; ``default``
            where there are none. The bench changes nothing about it.
        load: Mean number of runnable tasks over the last minute, at the start; ``None`` where unknown.
        versions: Installed version by package.
        instructions: What the processor has for numbers of 16 and 8 bits.
    """

    cpu: str = ""
    cores: int = 0
    gpu: str = ""
    system: str = ""
    wait_policy: str = "default"
    load: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    instructions: Instructions = field(default_factory=Instructions)

    def to_json(self) -> dict[str, Any]:
        """Return the environment as plain data."""
        return {**asdict(self), "instructions": self.instructions.to_json()}


def read_environment() -> Environment:
    """Describe this machine as it is now."""
    return Environment(
        cpu=_cpu_model(),
        cores=_usable_cores(),
        gpu=_gpus(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        wait_policy=wait_policy(),
        # Windows has no load average.
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        versions={"python": platform.python_version(), **_versions(_PACKAGES)},
        instructions=read_instructions(),
    )


def _cpu_model(info: Path = Path("/proc/cpuinfo")) -> str:
    # On Linux, platform.processor() is empty or only names the architecture.
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    # A container or taskset may allow fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    try:
        answer = subprocess.run([tool, *_GPU_QUERY], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (subprocess.SubprocessError, OSError):
        # A broken driver is reported by the provider that needs it.
        return ""
    return "; ".join(line.strip() for line in answer.stdout.splitlines() if line.strip())


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
