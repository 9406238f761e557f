"""What every runtime made of torch has alike: a Twin with its inputs on the device, and torch's thread count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.bench.runtimes.device_timer import DeviceTimer
from trunkline.bench.runtimes.fill import fill
from trunkline.bench.runtimes.inputs import Array, Declared, FedInput, make_feeds
from trunkline.bench.runtimes.start_up import StartUp
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.limits import Limits

if TYPE_CHECKING:
    import torch

    Forward = Callable[[torch.Tensor], Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class OpenedTwin:
    """A Twin in evaluation mode, on its device.

    Attributes:
        twin: The module.
        inputs: What it is fed with.
        images: Its inputs ``[N, C, H, W]``, on the device.
        start_up: What reading it took so far.
        restore: Gives torch back the settings that it had.
    """

    twin: torch.nn.Module
    inputs: tuple[FedInput, ...]
    images: list[torch.Tensor]
    start_up: StartUp
    restore: Callable[[], None]


def open_twin(model: Path | Graph, settings: Settings, limits: Limits) -> OpenedTwin:
    """Make the Twin of a Graph, or of a file that Trunkline reads, on ``settings.provider``.

    Raises:
        InvalidConfig: Axes are given: Trunkline reads the file, and reads images.
        InvalidModel: The file cannot be read.
        WorkFailed: torch finds no GPU.
    """
    import torch  # slow to load

    require_device(settings.provider, has_gpu=torch.cuda.is_available())
    if settings.axes:
        raise InvalidConfig(
            "torch runs what Trunkline reads, and that has one image",
            place="--axis",
            advice="give --input-size H,W instead, or measure with --runtime onnxruntime",
        )
    start_up, device = StartUp(), torch.device(settings.provider)
    # Before anything is compiled or recorded for the GPU.
    restore = float32_only()
    with start_up.part():
        graph = model if isinstance(model, Graph) else _read(model, settings, limits)
        twin = _twin(graph).eval().to(device)
    declared = Declared(name_of(graph.input), shape_of(graph.input), np.dtype(np.float32))
    inputs = fill([declared], settings, place=graph.name)
    feeds = make_feeds(inputs, settings, place=graph.name)
    images = [torch.from_numpy(feed[declared.name]).to(device) for feed in feeds]
    return OpenedTwin(twin, inputs, images, start_up, restore)


def float32_only() -> Callable[[], None]:
    """Switch TF32 off on a GPU, and return what restores what was there.

    By default torch's convolutions round float32 to 10 bits of mantissa there, and no other runtime is measured so.
    """
    import torch  # slow to load

    places: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [place.allow_tf32 for place in places]

    def set_to(values: Sequence[bool]) -> None:
        for place, value in zip(places, values, strict=True):
            place.allow_tf32 = value

    set_to([False, False])
    return lambda: set_to(before)


def require_device(provider: str, *, has_gpu: bool) -> None:
    """Refuse a GPU that is not there.

    Raises:
        WorkFailed: The provider is ``cuda``, and torch finds no GPU.
    """
    if provider == "cuda" and not has_gpu:
        raise WorkFailed(
            'provider "cuda" was asked for, and torch finds no GPU',
            advice="measure with provider cpu, or install a CUDA build of torch and its driver",
        )


class TorchSession:
    """A module with its inputs on the device.

    Args:
        forward: What is run; returns values ``[N, ...]`` by output.
        opened: The Twin behind it, and its inputs.
        settings: Provider and threads.
        execution: How it is run, in a word.
    """

    def __init__(self, forward: Forward, opened: OpenedTwin, settings: Settings, execution: str) -> None:
        import torch  # slow to load

        self._torch, self._forward, self._images, self._restore = torch, forward, opened.images, opened.restore
        self._execution = execution
        self.inputs = opened.inputs
        self._image = opened.images[0]
        self._results: Mapping[str, torch.Tensor] = {}
        self._threads_before = torch.get_num_threads()
        self.provider = settings.provider
        self.threads = settings.threads
        self.spinning: bool | None = None
        where = "host memory" if self.provider == "cpu" else "device memory, until the device has finished"
        self.region = f"one {execution} forward of the twin in inference mode, inputs and outputs in {where}"
        self._timer = None if self.provider == "cpu" else DeviceTimer()
        # A first run, so that a model that cannot run is reported now and by name.
        self.feed(0)
        with opened.start_up.part():
            self.run()
        self.start_up_ms = opened.start_up.ms

    @property
    def device_memory_bytes(self) -> int | None:
        """What torch has allocated on the GPU at most, over all models of this process."""
        return None if self.provider == "cpu" else int(self._torch.cuda.max_memory_allocated())

    @property
    def device_ms(self) -> float | None:
        """What the GPU took for the last run, by CUDA events."""
        return None if self._timer is None else self._timer.ms

    def feed(self, index: int) -> None:
        """Choose an input; the thread count is torch's own and process-wide, so it is set again each time."""
        # Another candidate's session may have changed it in between.
        self._torch.set_num_threads(self.threads)
        self._image = self._images[index % len(self._images)]

    def run(self) -> None:
        """Run once and wait for the device."""
        with self._torch.inference_mode(), self._timer.around() if self._timer else nullcontext():
            self._results = self._forward(self._image)
        # CUDA kernels are only queued when the call returns.
        if self.provider != "cpu":
            self._torch.cuda.synchronize()

    def outputs(self) -> dict[str, Array]:
        """Return copies of the last outputs by name."""
        return {name: np.array(value.cpu().numpy()) for name, value in self._results.items()}

    def describe(self) -> Mapping[str, str]:
        """Return version and options."""
        return {
            "runtime": f"torch {self._torch.__version__}",
            "provider": self.provider,
            "execution": self._execution,
            "precision": "float32",
        }

    def close(self) -> None:
        """Let go of results and restore torch's settings and thread count."""
        self._results = {}
        self._restore()
        self._torch.set_num_threads(self._threads_before)


def _read(path: Path, settings: Settings, limits: Limits) -> Graph:
    from trunkline.ingest.read import read

    return read(path, limits=limits, input_size=settings.input_size)


def _twin(graph: Graph) -> torch.nn.Module:
    from trunkline.twins.twin import Twin  # loads torch

    return Twin(graph)
