"""Whether a compiler of TensorRT's family takes a file, asked of TensorRT-RTX, which compiles without a GPU."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidModel, WorkFailed, first_line
from trunkline.export.engine.network import parsed, profile_of
from trunkline.export.engine.options import EngineOptions
from trunkline.export.engine.tensorrt_module import Log
from trunkline.ingest.onnx_file.data_files import data_files


@dataclass(frozen=True, slots=True)
class CompileCheck:
    """What TensorRT-RTX says of a file.

    Attributes:
        accepted: Whether it parsed and compiled it.
        problems: What it refused, in its own words, with the nodes; empty if it took all.
        version: Version of TensorRT-RTX.
        layers: Layers of the parsed network.
        engine_bytes: Size of the engine that it compiled, which is not kept.
    """

    accepted: bool
    problems: tuple[str, ...]
    version: str
    layers: int = 0
    engine_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data; see ``docs/json.md``."""
        return {**asdict(self), "problems": list(self.problems)}


def compile_check(model: str | Path, options: EngineOptions | None = None) -> CompileCheck:
    """Parse and compile a file as TensorRT would, for any GPU that TensorRT-RTX knows.

    That it compiles does not say how fast it is, nor that another version of TensorRT has the same kernels.

    Args:
        model: An exported ONNX file.
        options: Ranges of its free axes; what is not for TensorRT-RTX is ignored.

    Raises:
        InvalidConfig: A free axis has no range, or a range is for none.
        InvalidModel: There is no such file, it is no ONNX file, or its weights lie elsewhere.
        WorkFailed: TensorRT-RTX is not installed.
    """
    path = Path(model).absolute()
    if not path.is_file():
        raise InvalidModel("there is no such file", place=str(model))
    trt = require_rtx()
    # Its parser would follow a link to any file.
    data_files(path)
    log, version = Log(trt), str(trt.__version__)
    builder = trt.Builder(log.logger)
    try:
        network = parsed(trt, builder, path, log)
    except WorkFailed as refused:
        return CompileCheck(False, tuple(f"{each.place}: {each.message}" for each in refused.problems), version)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.add_optimization_profile(profile_of(builder, network, options or EngineOptions()))
    plan = builder.build_serialized_network(network, config)
    layers = int(network.num_layers)
    if plan is None:
        return CompileCheck(False, (f"{path}: {log.reason('it gives no reason')}",), version, layers)
    return CompileCheck(True, (), version, layers, len(bytes(plan)))


def require_rtx() -> Any:
    """Import TensorRT-RTX and return it.

    Raises:
        WorkFailed: It is not installed, or a library of it is missing.
    """
    try:
        # Its parser warns of functions that it has itself deprecated.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorrt_rtx
    except (ImportError, OSError) as error:
        raise WorkFailed(
            f"TensorRT-RTX cannot be imported: {first_line(error)}",
            advice="pip install 'trunkline[rtx]'   (95 MB, Linux and Windows, NVIDIA's licence; it needs no GPU)",
        ) from error
    return tensorrt_rtx
