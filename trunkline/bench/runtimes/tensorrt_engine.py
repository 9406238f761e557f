"""TensorRT's own API as a bench runtime: an engine that we built, run by its execution context.

An engine holds nothing that TensorRT does not run, so there is nothing to fall back to. torch lends the GPU's memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.runtimes.device_timer import DeviceTimer
from trunkline.bench.runtimes.inputs import Array, FedInput
from trunkline.bench.runtimes.onnx_inputs import open_model
from trunkline.bench.runtimes.start_up import StartUp
from trunkline.bench.runtimes.torch_session import require_device
from trunkline.bench.settings import Settings
from trunkline.errors import WorkFailed, first_line
from trunkline.export.engine.build import Engine, engine_for
from trunkline.export.engine.options import EngineOptions
from trunkline.export.engine.size_range import SizeRange
from trunkline.export.engine.tensorrt_module import Log, require_tensorrt
from trunkline.graph.graph import Graph

if TYPE_CHECKING:
    import torch

_BYTES_PER_MB = 1e6


class EngineSession:
    """An execution context with all inputs and outputs in memory of the GPU."""

    def __init__(
        self,
        trt: Any,
        engine: Engine,
        inputs: tuple[FedInput, ...],
        images: list[dict[str, torch.Tensor]],
        settings: Settings,
        place: str,
    ) -> None:
        import torch  # slow to load

        start_up, log = StartUp(), Log(trt)
        self._torch, self._trt, self._built, self._images, self._place = torch, trt, engine, images, place
        self.inputs = inputs
        self.provider = "cuda"
        self.threads = settings.threads
        self.spinning: bool | None = None
        self.region = "one run of the execution context, inputs and outputs in device memory, until it has finished"
        with start_up.part():
            self._runtime = trt.Runtime(log.logger)
            self._engine = self._runtime.deserialize_cuda_engine(engine.plan)
            if self._engine is None:
                raise WorkFailed(f"TensorRT cannot load the engine: {log.reason('it gives no reason')}", place=place)
            self._context = self._engine.create_execution_context()
            if self._context is None:
                reason = log.reason("the GPU's memory may be full")
                raise WorkFailed(f"TensorRT cannot make a context: {reason}", place=place)
        self._device = images[0][inputs[0].declared.name].device
        self._results = self._bind()
        self._stream = _stream(self._device)
        self._timer = DeviceTimer(self._stream)
        self.feed(0)
        with start_up.part():
            self.run()
        self.start_up_ms = start_up.ms

    @property
    def device_memory_bytes(self) -> int | None:
        """What the context, the weights and the outputs take; drivers and libraries have more."""
        outputs = sum(value.nbytes for value in self._results.values())
        # The property without a suffix was removed in TensorRT 11; its replacement came in 10.1.
        return int(self._engine.device_memory_size_v2) + len(self._built.plan) + outputs

    @property
    def device_ms(self) -> float | None:
        """What the GPU took for the last run, by CUDA events."""
        return self._timer.ms

    def feed(self, index: int) -> None:
        """Choose one of the inputs."""
        for name, value in self._images[index % len(self._images)].items():
            self._context.set_tensor_address(name, value.data_ptr())

    def run(self) -> None:
        """Run once and wait for the device."""
        with self._timer.around():
            has_run = self._context.execute_async_v3(int(self._stream.cuda_stream))
        if not has_run:
            raise WorkFailed("TensorRT's context did not run", place=self._place)
        self._stream.synchronize()

    def outputs(self) -> dict[str, Array]:
        """Return copies of the last outputs by name."""
        return {name: np.array(value.cpu().numpy()) for name, value in self._results.items()}

    def describe(self) -> Mapping[str, str]:
        """Return version and options."""
        key = self._built.key
        return {
            "runtime": f"tensorrt {key.tensorrt}",
            "provider": key.gpu,
            "precision": "the file's, strongly typed",
            "tf32": str(key.options["tf32"]).lower(),
            "batch": str(key.options["batch"]),
            "engine (MB)": f"{len(self._built.plan) / _BYTES_PER_MB:.1f}",
        }

    def close(self) -> None:
        """Let go of the context before the engine, which it needs."""
        self._results = {}
        self._images.clear()
        self._context = self._engine = self._runtime = None

    def _bind(self) -> dict[str, torch.Tensor]:
        """Give the context its sizes, and memory for its outputs."""
        modes = self._trt.TensorIOMode
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        for one in self.inputs:
            if not self._context.set_input_shape(one.declared.name, one.shape):
                text = f'the engine does not take {one.shape} for input "{one.declared.name}"'
                raise WorkFailed(text, place=self._place)
        results = {}
        for name in names:
            if self._engine.get_tensor_mode(name) != modes.OUTPUT:
                continue
            shape = tuple(self._context.get_tensor_shape(name))
            dtype = self._dtype_of(name)
            if min(shape, default=0) < 0:
                text = f'output "{name}" has a size that only a run tells, which the bench does not measure'
                raise WorkFailed(text, place=self._place, advice="measure it with --runtime onnxruntime")
            results[name] = self._torch.from_numpy(np.zeros(shape, dtype)).to(self._device)
            self._context.set_tensor_address(name, results[name].data_ptr())
        return results

    def _dtype_of(self, name: str) -> np.dtype[Any]:
        try:
            dtype: np.dtype[Any] = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        except TypeError as error:
            text = f'output "{name}" has a type that numpy lacks: {first_line(error)}'
            advice = "export it with outputs in float32"
            raise WorkFailed(text, place=self._place, advice=advice) from error
        return dtype


class TensorRtRuntime(Runtime):
    """Runs ONNX files, and Graphs, as TensorRT engines for the sizes that are measured."""

    name = "tensorrt"
    providers = ("cuda",)
    needs = "tensorrt 10.13 or newer, a CUDA build of torch, and an NVIDIA GPU"

    def prepare(self, model: Path | Graph, settings: Settings) -> EngineSession:
        """Build or load the engine of a model; see :class:`~trunkline.bench.runtimes.base.Runtime`.

        Building is no part of starting up: an engine is kept beside its file.
        """
        import torch  # slow to load

        self.require(settings)
        trt = require_tensorrt()
        require_device(settings.provider, has_gpu=torch.cuda.is_available())
        opened = open_model(model, settings)
        with _as_file(model, opened.content) as path:
            engine = engine_for(path, _options(opened.inputs, settings))
        device = _device()
        images = [{name: torch.from_numpy(array).to(device) for name, array in feed.items()} for feed in opened.feeds]
        return EngineSession(trt, engine, opened.inputs, images, settings, opened.place)


def _options(inputs: tuple[FedInput, ...], settings: Settings) -> EngineOptions:
    """Return options for the sizes that are fed, and no others: a range may cost speed."""
    sizes = {
        one.declared.numbered(axis): SizeRange(size, size, size)
        for one in inputs
        for axis, size in enumerate(one.shape)
        if one.declared.sizes[axis] is None and axis > 0
    }
    return EngineOptions(SizeRange(settings.batch, settings.batch, settings.batch), sizes)


@contextmanager
def _as_file(model: Path | Graph, content: bytes) -> Iterator[Path]:
    if isinstance(model, Path):
        yield model
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        yield path


def _device() -> torch.device:
    import torch  # slow to load

    return torch.device("cuda")


def _stream(device: torch.device) -> Any:
    """Return a stream of the engine's own, on a device that has done all that was asked of it before."""
    import torch  # slow to load

    # The inputs were copied on another stream.
    torch.cuda.synchronize(device)
    # On the default stream TensorRT waits for the device once more in every run.
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch has no types here
