"""Eager torch as a bench runtime: the trainable twin of a Graph, before any deployment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trunkline.bench.runtimes.fill import fill
from trunkline.bench.runtimes.inputs import Array, Declared, FedInput, make_feeds
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.graph.input_size import InputSize
from trunkline.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    import torch


class TorchSession:
    """A Twin in evaluation mode with its inputs on the device."""

    def __init__(
        self, twin: torch.nn.Module, inputs: tuple[FedInput, ...], images: list[torch.Tensor], settings: Settings
    ) -> None:
        import torch  # slow to load

        self._torch, self._twin, self._images = torch, twin, images
        self.inputs = inputs
        self._image = images[0]
        self._results: Mapping[str, torch.Tensor] = {}
        self._threads_before = torch.get_num_threads()
        self.provider = settings.provider
        self.threads = settings.threads
        self.spinning: bool | None = None
        where = "host memory" if self.provider == "cpu" else "device memory, until the device has finished"
        self.region = f"one eager forward of the twin in inference mode, inputs and outputs in {where}"

    def feed(self, index: int) -> None:
        """Choose an input; the thread count is torch's own and process-wide, so it is set again each time."""
        # Another candidate's session may have changed it in between.
        self._torch.set_num_threads(self.threads)
        self._image = self._images[index % len(self._images)]

    def run(self) -> None:
        """Run once and wait for the device."""
        with self._torch.inference_mode():
            self._results = self._twin(self._image)
        # CUDA kernels are only queued when the call returns.
        if self.provider != "cpu":
            self._torch.cuda.synchronize()

    def outputs(self) -> dict[str, Array]:
        """Return copies of the last outputs by name."""
        return {name: np.array(value.cpu().numpy()) for name, value in self._results.items()}

    def describe(self) -> Mapping[str, str]:
        """Return version and options."""
        return {"runtime": f"torch {self._torch.__version__}", "execution": "eager", "precision": "float32"}

    def close(self) -> None:
        """Let go of results and restore torch's thread count."""
        self._results = {}
        self._torch.set_num_threads(self._threads_before)


class TorchRuntime:
    """Runs Graphs as twins, on ``cpu`` or ``cuda``; ``limits`` hold for the files it reads."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits

    def prepare(self, model: Path | Graph, settings: Settings) -> TorchSession:
        """Build the twin of a Graph; see :class:`~trunkline.bench.runtimes.base.Runtime`.

        Raises:
            InvalidConfig: The provider is ``tensorrt``, or axes are given: Trunkline reads the file, and reads images.
            WorkFailed: torch finds no GPU.
        """
        import torch  # slow to load

        _require_device(torch.cuda.is_available(), settings.provider)
        _require_no_axes(settings)
        graph = model if isinstance(model, Graph) else _read(model, self._limits, settings.input_size)
        device = torch.device(settings.provider)
        declared = Declared(name_of(graph.input), shape_of(graph.input), np.dtype(np.float32))
        inputs = fill([declared], settings, place=graph.name)
        feeds = make_feeds(inputs, settings, place=graph.name)
        images = [torch.from_numpy(feed[declared.name]).to(device) for feed in feeds]
        session = TorchSession(_twin(graph).eval().to(device), inputs, images, settings)
        # A first run, so that a model that cannot run is reported now and by name.
        session.feed(0)
        session.run()
        return session


def _require_device(has_gpu: bool, provider: str) -> None:
    if provider == "tensorrt":
        raise InvalidConfig("eager torch runs on cpu or cuda, not on tensorrt", place="bench.provider")
    if provider == "cuda" and not has_gpu:
        raise WorkFailed(
            'provider "cuda" was asked for, and torch finds no GPU',
            advice="measure with provider cpu, or install a CUDA build of torch and its driver",
        )


def _require_no_axes(settings: Settings) -> None:
    if settings.axes:
        raise InvalidConfig(
            "eager torch runs what Trunkline reads, and that has one image",
            place="--axis",
            advice="give --input-size H,W instead, or measure with --runtime onnxruntime",
        )


def _read(path: Path, limits: Limits, input_size: InputSize | None) -> Graph:
    from trunkline.ingest.read import read

    return read(path, limits=limits, input_size=input_size)


def _twin(graph: Graph) -> torch.nn.Module:
    from trunkline.twins.twin import Twin  # loads torch

    return Twin(graph)
