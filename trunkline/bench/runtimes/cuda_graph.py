"""CUDA graphs as a bench runtime: the twin's kernels, recorded once and launched together.

At batch 1 a small network's kernels take less time than starting them one by one does; a graph starts them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.runtimes.torch_session import OpenedTwin, TorchSession, open_twin
from trunkline.bench.settings import Settings
from trunkline.errors import WorkFailed
from trunkline.graph.graph import Graph

if TYPE_CHECKING:
    import torch

    from trunkline.bench.runtimes.torch_session import Forward

_WARM_UPS = 3
"""Runs before recording, in which libraries choose their kernels and take their memory."""
_TOLERANCE = 1e-3
"""Difference from the plain module, relative to the largest value, up to which the graph computes the same."""


@dataclass(frozen=True)
class Recorded:
    """A recorded forward pass.

    Attributes:
        image: The memory that it reads, ``[N, C, H, W]``.
        results: The memory that it writes, by output.
        replay: Launches it.
    """

    image: torch.Tensor
    results: Mapping[str, torch.Tensor]
    replay: Callable[[], None]


class GraphSession(TorchSession):
    """A recorded Twin: an input is copied to where the graph reads, which is not timed.

    It is compared with the plain module when it is opened: a graph that was recorded wrongly replays old results.
    """

    def __init__(self, forward: Forward, recorded: Recorded, opened: OpenedTwin, settings: Settings) -> None:
        self._recorded = recorded
        super().__init__(self._replay, opened, settings, "graph of one")
        self._compare(forward)

    def feed(self, index: int) -> None:
        """Copy an input to where the graph reads."""
        super().feed(index)
        self._recorded.image.copy_(self._image)

    def _replay(self, image: torch.Tensor) -> Mapping[str, torch.Tensor]:
        self._recorded.replay()
        return self._recorded.results

    def _compare(self, forward: Forward) -> None:
        # The last input first: the first one was there while it was recorded.
        for index in (len(self._images) - 1, 0):
            self.feed(index)
            self.run()
            with self._torch.inference_mode():
                plain = forward(self._image)
            for name, value in plain.items():
                scale = float(value.abs().max())
                if float((self._results[name] - value).abs().max()) > _TOLERANCE * scale:
                    raise WorkFailed(
                        "the recorded graph computes something else than the module",
                        place=f"output {name}",
                        advice="measure with --runtime torch",
                    )


class CudaGraphRuntime(Runtime):
    """Runs Graphs as twins that were recorded as CUDA graphs."""

    name = "cuda-graph"
    providers = ("cuda",)
    needs = "a CUDA build of torch, and an NVIDIA GPU"
    one_allocator = True

    def prepare(self, model: Path | Graph, settings: Settings) -> GraphSession:
        """Record the twin of a Graph; see :class:`~trunkline.bench.runtimes.base.Runtime`."""
        self.require(settings)
        opened = open_twin(model, settings, self._limits)
        with opened.start_up.part():
            recorded = _record(opened.twin, opened.images[0])
        return GraphSession(opened.twin, recorded, opened, settings)


def _record(forward: Forward, image: torch.Tensor) -> Recorded:
    """Record a forward pass of ``image`` ``[N, C, H, W]``, as torch's notes on CUDA semantics say it is done."""
    import torch  # slow to load

    place = image.clone()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch has no types here
    stream.wait_stream(torch.cuda.current_stream())
    # Warming up on another stream keeps what it allocates out of the graph.
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            forward(place)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        results = forward(place)
    return Recorded(place, results, graph.replay)
