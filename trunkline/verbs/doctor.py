"""``doctor``: what is installed, what is missing, and how to get it. Nothing here imports a heavy package."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal

from trunkline.bench.instructions import read_instructions
from trunkline.report.int8_note import int8_note

Status = Literal["ok", "missing", "optional"]

_NEEDED = ("torch", "onnx", "onnx-ir", "numpy", "protobuf", "safetensors", "pydantic", "matplotlib")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: Package or device that was looked for.
        status: ``ok``, ``missing`` (something will not work) or ``optional`` (missing, needed by few).
        found: Version, or what else is known of it; empty if there is none.
        advice: How to install it.
    """

    name: str
    status: Status
    found: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was looked for.

    Attributes:
        findings: One for each package and device.
    """

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing needed is missing."""
        return all(finding.status != "missing" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return ``{"healthy": …, "findings": […]}``."""
        return {"healthy": self.healthy, "findings": [asdict(finding) for finding in self.findings]}


def doctor() -> Diagnosis:
    """Look for everything that Trunkline can use."""
    findings = [
        Finding("python", "ok", f"{platform.python_version()} ({sys.executable})"),
        Finding("machine", "ok", f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"),
        _int8(),
        *(_package(name, f"pip install {name}") for name in _NEEDED),
        _onnxruntime(),
        _gpu(),
        _optional("tensorrt", "pip install 'trunkline[gpu]' (NVIDIA's index serves the libraries)"),
        _optional("tensorrt-rtx", "pip install 'trunkline[rtx]', to check without a GPU that TensorRT takes a file"),
        _optional("openvino", "pip install 'trunkline[openvino]', for `bench --runtime openvino`"),
        _optional("onnx2torch", "pip install 'trunkline[onnx2torch]', for operators without a twin of ours"),
    ]
    return Diagnosis(tuple(findings))


def _int8() -> Finding:
    """Look for the instructions that make 8-bit models fast on this processor."""
    instructions = read_instructions()
    found = ", ".join(instructions.has)
    if instructions.int8_dot:
        return Finding("int8 instructions", "ok", found)
    return Finding(
        "int8 instructions", "optional", found, int8_note(instructions.to_json()) or "the system does not tell"
    )


def _version(package: str) -> str:
    """Return the version of an installed package; empty if it is not installed."""
    # From the package's metadata. Importing it would take seconds, and fail where a library of it is missing.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _package(name: str, advice: str) -> Finding:
    return _package_or(name, "missing", advice)


def _optional(name: str, advice: str) -> Finding:
    return _package_or(name, "optional", advice)


def _package_or(name: str, absent: Status, advice: str) -> Finding:
    version = _version(name)
    if version:
        return Finding(name, "ok", version)
    return Finding(name, absent, advice=advice)


def _onnxruntime() -> Finding:
    """Look for onnxruntime, whose CPU and GPU packages install the same folder: having both is a fault of its own."""
    cpu, gpu = _version("onnxruntime"), _version("onnxruntime-gpu")
    if cpu and gpu:
        advice = "uninstall both, then install one: they overwrite each other's files"
        return Finding("onnxruntime", "missing", f"onnxruntime {cpu} and onnxruntime-gpu {gpu}", advice)
    if cpu or gpu:
        return Finding("onnxruntime", "ok", cpu or f"{gpu} (gpu)")
    advice = "pip install 'trunkline[cpu]' or 'trunkline[gpu]'; needed to prove and measure exports"
    return Finding("onnxruntime", "missing", advice=advice)


def _gpu() -> Finding:
    """Look for an NVIDIA driver, and for a torch that can use it."""
    # A container may have the driver without the tool, so either of them counts.
    if shutil.which("nvidia-smi") is None and not os.path.exists("/proc/driver/nvidia"):  # noqa: PTH110
        return Finding("nvidia gpu", "optional", advice="none found; training and measuring run on the CPU")
    # Wheels of torch's CPU index carry this local version; asking torch itself would mean importing it.
    if "+cpu" in _version("torch"):
        advice = "this torch is a CPU build: install a CUDA build of torch to use the GPU"
        return Finding("nvidia gpu", "optional", "driver present", advice)
    return Finding("nvidia gpu", "ok", "driver present")
