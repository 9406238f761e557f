"""A stand-in for the ``tensorrt`` package: it notes how it is called, and its engines run in onnxruntime.

What TensorRT itself does is not tested with it; that its functions are called as they are meant to be is, also by
running the same code with TensorRT-RTX, whose functions are the same (``tests/export/test_engine_rtx.py``).
"""

from __future__ import annotations

import ctypes
import enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

MAGIC = b"fake engine "
FREE = -1


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class FakeLogger:
    Severity = Severity

    def __init__(self) -> None:
        pass


class Names(SimpleNamespace):
    """Members by name, as pybind11's enumerations are."""

    def __init__(self, *names: str) -> None:
        super().__init__(**{name: name for name in names})


class FakeTensorRT:
    """A module.

    Attributes:
        calls: What was called and set, in order.
        refuses: A message with which the parser refuses every model.
        builds: Whether building succeeds.
        loads: Whether an engine can be loaded.
        takes_cache: Whether a timing cache with content fits.
    """

    ILogger = FakeLogger
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    BuilderFlag = Names("TF32", "VERSION_COMPATIBLE")
    HardwareCompatibilityLevel = Names("NONE", "AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY")
    MemoryPoolType = Names("WORKSPACE")
    TensorIOMode = Names("INPUT", "OUTPUT")

    def __init__(self, version: str = "11.4.0.106") -> None:
        self.__version__ = version
        self.calls: list[tuple[Any, ...]] = []
        self.refuses = ""
        self.builds = self.loads = self.takes_cache = True

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def Builder(self, logger: FakeLogger) -> FakeBuilder:
        return FakeBuilder(self, logger)

    def OnnxParser(self, network: FakeNetwork, logger: FakeLogger) -> FakeParser:
        return FakeParser(self, network)

    def Runtime(self, logger: FakeLogger) -> FakeRuntime:
        return FakeRuntime(self)

    @staticmethod
    def nptype(dtype: np.dtype) -> type:
        return dtype.type


class FakeNetwork:
    def __init__(self) -> None:
        self.model = onnx.ModelProto()
        self.num_layers = 0

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    def get_input(self, number: int) -> SimpleNamespace:
        value = self.model.graph.input[number]
        axes = value.type.tensor_type.shape.dim
        shape = tuple(axis.dim_value if axis.HasField("dim_value") else FREE for axis in axes)
        return SimpleNamespace(name=value.name, shape=shape, get_dimension_name=lambda axis: axes[axis].dim_param)


class FakeParser:
    def __init__(self, trt: FakeTensorRT, network: FakeNetwork) -> None:
        self.trt, self.network = trt, network
        self.num_errors = 0

    def parse_from_file(self, path: str) -> bool:
        self.trt.calls.append(("parse", Path(path).name))
        self.network.model = onnx.load(path)
        self.num_errors = bool(self.trt.refuses)
        return not self.trt.refuses

    def get_error(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(
            desc=lambda: self.trt.refuses, node_name=lambda: "conv7", node_operator=lambda: "DeformConv"
        )


class FakeConfig:
    def __init__(self, trt: FakeTensorRT) -> None:
        super().__setattr__("trt", trt)

    def __setattr__(self, name: str, value: object) -> None:
        self.trt.calls.append((name, value))

    def clear_flag(self, flag: str) -> None:
        self.trt.calls.append(("clear_flag", flag))

    def set_flag(self, flag: str) -> None:
        self.trt.calls.append(("set_flag", flag))

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.trt.calls.append(("set_memory_pool_limit", pool, size))

    def add_optimization_profile(self, profile: dict) -> int:
        self.trt.calls.append(("profile", dict(profile.shapes)))
        return 0

    def create_timing_cache(self, content: bytes) -> SimpleNamespace:
        self.trt.calls.append(("create_timing_cache", content))
        return SimpleNamespace(content=content, serialize=lambda: b"times")

    def set_timing_cache(self, cache: SimpleNamespace, *, ignore_mismatch: bool) -> bool:
        self.trt.calls.append(("set_timing_cache", ignore_mismatch))
        return self.trt.takes_cache or not cache.content


class FakeProfile(SimpleNamespace):
    def set_shape(self, name: str, least: tuple, best: tuple, most: tuple) -> None:
        self.shapes[name] = (least, best, most)


class FakeBuilder:
    def __init__(self, trt: FakeTensorRT, logger: FakeLogger) -> None:
        self.trt, self.logger = trt, logger

    def create_network(self, flags: int) -> FakeNetwork:
        self.trt.calls.append(("create_network", flags))
        return FakeNetwork()

    def create_builder_config(self) -> FakeConfig:
        return FakeConfig(self.trt)

    def create_optimization_profile(self) -> FakeProfile:
        return FakeProfile(shapes={})

    def build_serialized_network(self, network: FakeNetwork, config: FakeConfig) -> bytes | None:
        self.trt.calls.append(("build",))
        if not self.trt.builds:
            self.logger.log(Severity.WARNING, "a warning")
            self.logger.log(Severity.ERROR, "no kernel for conv7")
            return None
        return MAGIC + network.model.SerializeToString()


class FakeRuntime:
    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt = trt

    def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
        self.trt.calls.append(("deserialise", len(plan)))
        return FakeEngine(plan.removeprefix(MAGIC)) if self.trt.loads else None


class FakeEngine:
    device_memory_size_v2 = 1000

    def __init__(self, model: bytes) -> None:
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.names = [*self.inputs, *(value.name for value in self.session.get_outputs())]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, number: int) -> str:
        return self.names[number]

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name in self.inputs else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> np.dtype:
        return np.dtype(np.float32)

    def create_execution_context(self) -> FakeContext:
        return FakeContext(self)


class FakeContext:
    """Reads and writes memory at the addresses that it is given."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.runs = True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        zeros = {name: np.zeros(shape, np.float32) for name, shape in self.shapes.items()}
        return self.engine.session.run([name], zeros)[0].shape

    def execute_async_v3(self, stream: int) -> bool:
        feeds = {name: self.at(name, self.shapes[name]) for name in self.engine.inputs}
        outputs = self.engine.names[len(self.engine.inputs) :]
        for name, value in zip(outputs, self.engine.session.run(outputs, feeds), strict=True):
            self.at(name, value.shape)[...] = value
        return self.runs

    def at(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        numbers = ctypes.c_float * int(np.prod(shape))
        return np.ctypeslib.as_array(numbers.from_address(self.addresses[name])).reshape(shape)
