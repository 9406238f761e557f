"""What an engine depends on. It fits one GPU model, driver and version of TensorRT, unless it was built to fit more."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trunkline.errors import WorkFailed
from trunkline.export.engine.options import EngineOptions
from trunkline.ingest.onnx_file.data_files import data_files

_QUERY = ("nvidia-smi", "--id=0", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """The first GPU of this machine, and its driver.

    Attributes:
        name: Model.
        driver: Version of the driver.
        capability: Compute capability, such as ``9.0``.
    """

    name: str
    driver: str
    capability: str


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything an engine depends on.

    Attributes:
        model_sha256: SHA-256 of the ONNX file and of the external data beside it.
        tensorrt: Version of TensorRT.
        gpu: Model of the GPU.
        driver: Version of its driver.
        capability: Its compute capability.
        options: How it was built, as :meth:`EngineOptions.to_json` says.
    """

    model_sha256: str
    tensorrt: str
    gpu: str
    driver: str
    capability: str
    options: Mapping[str, Any] = field(default_factory=lambda: EngineOptions().to_json())

    @classmethod
    def of(cls, model: Path, tensorrt: str, gpu: GpuFacts, options: EngineOptions) -> EngineKey:
        """Return the key of an engine that is built here and now."""
        return cls(hash_model(model), tensorrt, gpu.name, gpu.driver, gpu.capability, options.to_json())

    @property
    def digest(self) -> str:
        """SHA-256 of the key, in hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def timing_name(self) -> str:
        """Name of the timing cache: measured times hold for a version, a GPU and a driver, whatever the model."""
        text = json.dumps([self.tensorrt, self.gpu, self.driver])
        return f"timing.{hashlib.sha256(text.encode()).hexdigest()[:12]}.cache"

    def engine_name(self, model: str) -> str:
        """Return the name of the engine of a model file; it lies beside that."""
        return Path(model).with_suffix(f".{self.digest[:12]}.engine").name

    def differences(self, built: EngineKey) -> list[str]:
        """Return in words why an engine that was ``built`` under another key does not stand for this one.

        >>> here = EngineKey("a", "11.4.0", "H200", "600.1", "9.0")
        >>> here.differences(EngineKey("a", "11.4.0", "A100", "600.1", "8.0"))
        ['gpu A100 instead of H200', 'capability 8.0 instead of 9.0']
        """
        mine, theirs = asdict(self), asdict(built)
        pairs = [(key, theirs[key], mine[key]) for key in mine if key != "options"]
        pairs += [(f"options.{key}", built.options.get(key), value) for key, value in self.options.items()]
        return [f"{key} {theirs} instead of {mine}" for key, theirs, mine in pairs if theirs != mine]


def hash_model(path: Path) -> str:
    """Return the SHA-256 of a model and of the weights beside it.

    Raises:
        InvalidModel: It is no ONNX file, or its weights lie elsewhere.
    """
    digest = hashlib.sha256()
    for file in (path, *data_files(path)):
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def gpu_here() -> GpuFacts:
    """Return the first GPU.

    Raises:
        WorkFailed: There is none, or its driver does not answer.
    """
    try:
        answer = subprocess.run(_QUERY, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkFailed(
            f"no NVIDIA GPU was found ({error}); an engine is built on the GPU it will run on",
            advice="run this on a machine with an NVIDIA GPU and driver; `trunkline engine --check` needs none",
        ) from error
    parts = [part.strip() for part in answer.stdout.strip().split(",")]
    if len(parts) != 3:
        raise WorkFailed(f"nvidia-smi answers {answer.stdout.strip()!r}", advice="update the driver")
    return GpuFacts(*parts)
