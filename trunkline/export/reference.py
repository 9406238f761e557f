"""What an exported model must compute: its trained twin, in float32 and in float64."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from trunkline.export.weights import Weights, completed
from trunkline.ingest.graph import Graph
from trunkline.supermodel.twins.module import Twin

Array = np.ndarray[Any, np.dtype[Any]]
Truth = tuple[Array, Array]
"""One value as the float32 and as the float64 twin compute it."""


class Reference:
    """Two copies of a twin in evaluation mode on the CPU; the twin itself is left as it is.

    Args:
        source: A Graph, or a twin that may have been trained.
        weights: Weights by ONNX name for a Graph; its own where absent.
    """

    def __init__(self, source: Graph | Twin, weights: Weights | None = None) -> None:
        if isinstance(source, Graph):
            source = Twin(source, weights=completed(source, weights))
        self.single: Twin = copy.deepcopy(source).cpu().float().eval()
        self.double: Twin = copy.deepcopy(source).cpu().double().eval()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return self.single.output_names

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The image's ``[C, H, W]``."""
        return tuple(size for size in self.single.image_shape[1:] if size is not None)

    def run(self, image: Array) -> dict[str, Truth]:
        """Return every output by name for ``[N, C, H, W]``."""
        with torch.no_grad():
            pixels = torch.from_numpy(image)
            return _paired(self.single(pixels), self.double(pixels.double()))

    def run_values(self, image: Array) -> dict[str, Truth]:
        """Return every value of the Graph by name."""
        with torch.no_grad():
            pixels = torch.from_numpy(image)
            return _paired(self.single.run_values(pixels), self.double.run_values(pixels.double()))


def _paired(single: Mapping[str, torch.Tensor], double: Mapping[str, torch.Tensor]) -> dict[str, Truth]:
    return {name: (tensor.numpy(), double[name].numpy()) for name, tensor in single.items()}
