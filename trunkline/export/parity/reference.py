"""What an exported model must compute: its trained twin, in float32 and in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from trunkline.export.weights import Weights, completed
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, array_of
from trunkline.twins.twin import Twin

Array = np.ndarray[Any, np.dtype[Any]]
Watch = Callable[[str, Array], Array]
"""Called with a value's name and content; returns what later nodes read in its place."""


class Reference:
    """A twin in evaluation mode on the CPU, run in both precisions; a twin that is given is left as it is.

    Both runs use one copy of the weights, in float32; the float64 run casts them as it reads them.

    Args:
        source: A Graph, or a twin that may have been trained.
        weights: Weights by ONNX name for a Graph; its own where absent.
    """

    def __init__(self, source: Graph | Twin, weights: Weights | None = None) -> None:
        if isinstance(source, Graph):
            twin = Twin(source, weights=_settled(source, weights))
        else:
            # The caller goes on training its twin, on its own device and in its own mode.
            twin = copy.deepcopy(source).cpu().float()
        self._twin: Twin = twin.eval()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return self._twin.output_names

    def single(self, image: Array) -> dict[str, Array]:
        """Return every output by name in float32, for ``[N, C, H, W]``."""
        return self._outputs(torch.from_numpy(image))

    def double(self, image: Array) -> dict[str, Array]:
        """Return every output by name in float64. Images are computed one by one, which halves the memory of maps."""
        each = [self._outputs(pixels[None].double()) for pixels in torch.from_numpy(image)]
        return {name: np.concatenate([outputs[name] for outputs in each]) for name in self.outputs}

    def values(self, image: Array, watch: Watch | None = None, *, double: bool = True) -> dict[str, Array]:
        """Return every value of the Graph by name; see :meth:`trunkline.twins.twin.Twin.run_values`."""

        def shown(name: str, value: torch.Tensor) -> torch.Tensor:
            return value if watch is None else torch.from_numpy(watch(name, value.numpy()))

        pixels = torch.from_numpy(image)
        with torch.no_grad():
            return _arrays(self._twin.run_values(pixels.double() if double else pixels, shown))

    def _outputs(self, pixels: torch.Tensor) -> dict[str, Array]:
        with torch.no_grad():
            return _arrays(self._twin(pixels))


def _settled(graph: Graph, weights: Weights | None) -> Weights:
    """Return the weights that a new twin would not start with by itself: given ones, and those still to be drawn.

    What lies in a file is left to the twin, which reads one weight at a time.
    """
    if weights is not None:
        return completed(graph, weights)
    return {name: array_of(value) for name, value in graph.initializers.items() if Filler.of(value) is not None}


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
