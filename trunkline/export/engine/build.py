"""Build a TensorRT engine from an exported ONNX file, or take the one that was built before.

Networks are strongly typed, the only kind TensorRT 11 has: the precision is that of the file.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidModel, WorkFailed
from trunkline.export.engine.key import EngineKey, gpu_here
from trunkline.export.engine.manifest import manifest_of, manifest_text, trusted_plan
from trunkline.export.engine.network import parsed, profile_of
from trunkline.export.engine.options import HARDWARE_LEVELS, EngineOptions
from trunkline.export.engine.tensorrt_module import Log, require_tensorrt
from trunkline.files.staging import staged


@dataclass(frozen=True, slots=True)
class Engine:
    """A built engine.

    Attributes:
        path: The engine; a JSON file of the same name with ``.json`` vouches for it.
        key: What it was built for.
        plan: Its bytes, which were compared with the manifest.
        built_s: What building it took; ``None`` for one that was there.
    """

    path: Path
    key: EngineKey
    plan: bytes
    built_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data; see ``docs/json.md``."""
        return {
            "path": str(self.path),
            "bytes": len(self.plan),
            "sha256": hashlib.sha256(self.plan).hexdigest(),
            "built_s": self.built_s,
            "key": asdict(self.key),
        }


def engine_for(model: str | Path, options: EngineOptions | None = None) -> Engine:
    """Return the engine of a model for this GPU, beside it under a name that ends with its key.

    One that is there is taken if its manifest vouches for it, and refused, not replaced, if it does not.

    Args:
        model: An exported ONNX file.
        options: What it is built for.

    Raises:
        InvalidConfig: A free axis has no range, or a range is for none.
        InvalidModel: There is no such file, or an engine of this name is not ours.
        WorkFailed: TensorRT or a GPU is missing, or TensorRT refuses the model; the message names the reason.
    """
    options, path = options or EngineOptions(), Path(model).absolute()
    if not path.is_file():
        raise InvalidModel("there is no such file", place=str(model))
    trt = require_tensorrt()
    key = EngineKey.of(path, str(trt.__version__), gpu_here(), options)
    place = path.with_name(key.engine_name(path.name))
    if place.exists():
        return Engine(place, key, trusted_plan(place, key))
    start = time.perf_counter()
    plan = build_plan(trt, path, options, path.with_name(key.timing_name))
    built_s = time.perf_counter() - start
    with staged(place) as target:
        target.write_bytes(plan)
        manifest_of(target).write_text(manifest_text(plan, key), encoding="utf-8")
    return Engine(place, key, plan, built_s)


def build_plan(trt: Any, path: Path, options: EngineOptions, timing: Path) -> bytes:
    """Return the bytes of an engine.

    Args:
        trt: TensorRT's package.
        path: The model.
        options: What it is built for.
        timing: File of the timing cache, which is read if it is there and written.

    Raises:
        InvalidConfig: A free axis has no range, or a range is for none.
        WorkFailed: TensorRT refuses the model.
    """
    log = Log(trt)
    builder = trt.Builder(log.logger)
    network = parsed(trt, builder, path, log)
    config = builder.create_builder_config()
    _configure(trt, config, options)
    # TensorRT takes a profile only where an axis is free, and has nothing against one that is not needed.
    if config.add_optimization_profile(profile_of(builder, network, options)) < 0:
        raise WorkFailed(log.reason("TensorRT refuses the ranges of the free axes"), place=str(path))
    cache = _with_timings(config, timing)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise WorkFailed(f"TensorRT built no engine: {log.reason('it gives no reason')}", place=str(path))
    with staged(timing) as target:
        target.write_bytes(bytes(cache.serialize()))
    return bytes(plan)


def _configure(trt: Any, config: Any, options: EngineOptions) -> None:
    # TensorRT allows TF32 by default; its 10 bits of mantissa would not pass parity.
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware in HARDWARE_LEVELS:
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, HARDWARE_LEVELS[options.hardware])
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.level is not None:
        config.builder_optimization_level = options.level


def _with_timings(config: Any, timing: Path) -> Any:
    """Give the builder the times that an earlier build has measured; begin anew where they are not usable."""
    for content in (timing.read_bytes() if timing.exists() else b"", b""):
        cache = config.create_timing_cache(content)
        # One of another device or version is refused, not adapted: its times do not hold here.
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
    raise WorkFailed("TensorRT takes no timing cache", place=str(timing), advice="delete the file")
