"""Eager torch as a bench runtime: the trainable twin of a Graph, before any deployment."""

from __future__ import annotations

from pathlib import Path

from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.runtimes.torch_session import TorchSession, open_twin
from trunkline.bench.settings import Settings
from trunkline.graph.graph import Graph


class TorchRuntime(Runtime):
    """Runs Graphs as twins, node by node."""

    name = "torch"
    providers = ("cpu", "cuda")
    needs = "nothing more; a CUDA build of torch for cuda"
    one_allocator = True

    def prepare(self, model: Path | Graph, settings: Settings) -> TorchSession:
        """Build the twin of a Graph; see :class:`~trunkline.bench.runtimes.base.Runtime`.

        Raises:
            InvalidConfig: The provider is ``tensorrt``, or axes are given: Trunkline reads the file, and reads images.
            WorkFailed: torch finds no GPU.
        """
        self.require(settings)
        opened = open_twin(model, settings, self._limits)
        return TorchSession(opened.twin, opened, settings, "eager")
