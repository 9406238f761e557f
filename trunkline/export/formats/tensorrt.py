"""Build a TensorRT engine from an exported ONNX file.

Networks are strongly typed, the only kind TensorRT 11 has: the precision is that of the file. An engine fits one
GPU model, driver and TensorRT version, so all of them are part of its key, and the key is part of its name.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, Problem, WorkFailed
from trunkline.files.staging import staged
from trunkline.text import escaped


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything an engine depends on; one that was built under another key must not be loaded.

    Attributes:
        model_sha256: SHA-256 of the ONNX file and of the external data beside it.
        tensorrt: Version of TensorRT.
        gpu: Name of the GPU.
        driver: Version of its driver.
        max_batch: Largest batch it accepts.
        tf32: Whether float32 convolutions may round their inputs to 10 bits of mantissa.
    """

    model_sha256: str
    tensorrt: str
    gpu: str
    driver: str
    max_batch: int
    tf32: bool

    @property
    def digest(self) -> str:
        """SHA-256 of the key, in hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def timing_name(self) -> str:
        """Name of the timing cache: measured times hold for a version, a GPU and a driver, whatever the model."""
        text = json.dumps([self.tensorrt, self.gpu, self.driver])
        return f"timing.{hashlib.sha256(text.encode()).hexdigest()[:12]}.cache"


@dataclass(frozen=True, slots=True)
class Engine:
    """A built engine.

    Attributes:
        path: The engine; a JSON file of the same name with ``.json`` holds its key and hash.
        key: What it was built for.
        sha256: SHA-256 of its bytes, to be compared before it is loaded.
    """

    path: Path
    key: EngineKey
    sha256: str


def build_engine(model: str | Path, *, max_batch: int = 1, tf32: bool = False) -> Engine:
    """Build an engine beside ``model``, under a name that ends with its key.

    Args:
        model: An exported ONNX file with one image input and a free batch axis.
        max_batch: Largest batch it must accept; it is tuned for this size.
        tf32: Allow TF32, which is faster and outside the parity tolerance.

    Raises:
        WorkFailed: TensorRT or a GPU is missing, or TensorRT refuses the model; the message names the reason.
    """
    if max_batch < 1:
        raise InvalidConfig(f"max_batch must be at least 1, not {max_batch}", place="max_batch")
    path = Path(model).absolute()
    trt = require_tensorrt()
    gpu, driver = _device()
    key = EngineKey(_hash_model(path), str(trt.__version__), gpu, driver, max_batch, tf32)
    plan = _build(trt, path, key)
    engine = Engine(path.with_suffix(f".{key.digest[:12]}.engine"), key, hashlib.sha256(plan).hexdigest())
    with staged(engine.path) as target:
        target.write_bytes(plan)
        manifest = {"key": asdict(key), "sha256": engine.sha256}
        Path(f"{target}.json").write_text(json.dumps(manifest, indent=2, sort_keys=True), encoding="utf-8")
    return engine


def require_tensorrt() -> Any:
    """Import TensorRT's Python bindings and return them.

    Raises:
        WorkFailed: The package is missing, or one of its libraries is.
    """
    try:
        import tensorrt
    except ModuleNotFoundError as error:
        raise WorkFailed(
            "TensorRT is not installed: there is no Python package called tensorrt",
            advice="pip install tensorrt   (10.13 or newer; its libraries come from NVIDIA's own package index)",
        ) from error
    except (ImportError, OSError) as error:
        raise WorkFailed(
            f"TensorRT's Python package is installed, but a library it needs is not: {error}",
            advice="install the tensorrt libraries of the same version, and put their folder on LD_LIBRARY_PATH",
        ) from error
    return tensorrt


def _device() -> tuple[str, str]:
    """Return name and driver version of the first GPU."""
    query = ["nvidia-smi", "--id=0", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkFailed(
            f"no NVIDIA GPU was found ({error}); an engine is built on the GPU it will run on",
            advice="run this on a machine with an NVIDIA GPU and driver",
        ) from error
    name, _, driver = answer.stdout.strip().partition(", ")
    return name, driver


def _hash_model(path: Path) -> str:
    digest = hashlib.sha256()
    # Large weights lie in a second file (see formats/onnx_model.py); a missing model still raises here.
    for file in (path, Path(f"{path}.data")):
        if file == path or file.exists():
            with file.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def _build(trt: Any, path: Path, key: EngineKey) -> bytes:
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        found = [parser.get_error(index) for index in range(parser.num_errors)]
        raise WorkFailed([Problem(f"TensorRT cannot read the model: {escaped(error.desc(), 400)}") for error in found])
    config = builder.create_builder_config()
    # TensorRT allows TF32 by default; its 10 bits of mantissa would not pass parity.
    if not key.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    config.add_optimization_profile(_profile(builder, network, key.max_batch))
    timing = path.with_name(key.timing_name)
    # Kernels that an earlier build has timed need not be timed again.
    cache = config.create_timing_cache(timing.read_bytes() if timing.exists() else b"")
    # A cache of another device or version is refused, not adapted: its times do not hold here.
    config.set_timing_cache(cache, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise WorkFailed(
            "TensorRT built no engine", place=path.name, advice="its reason is in the lines it logged above"
        )
    with staged(timing) as target:
        target.write_bytes(cache.serialize())
    return bytes(plan)


def _profile(builder: Any, network: Any, max_batch: int) -> Any:
    """Return a profile that accepts batches from 1 to ``max_batch`` and is tuned for the largest."""
    image = network.get_input(0)
    rest = tuple(image.shape)[1:]
    profile = builder.create_optimization_profile()
    profile.set_shape(image.name, (1, *rest), (max_batch, *rest), (max_batch, *rest))
    return profile
