"""An exported file as a model whose tasks can be evaluated: what is delivered is judged, not what it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trunkline.export.parity.session import ParitySession
from trunkline.train.data.batches import Batch
from trunkline.train.loop.evaluate import Metrics, evaluate
from trunkline.train.tasks.base import Task


class FileModel:
    """Runs an ONNX file on the CPU, as :func:`trunkline.train.loop.evaluate.evaluate` asks for it.

    Raises:
        ParityFailure: onnxruntime refuses the file.
    """

    def __init__(self, path: Path) -> None:
        self._session = ParitySession(path)

    def train(self, mode: bool) -> None:
        """Do nothing: a file has one mode."""

    def __call__(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return ``[N, K, h, w]`` by task from ``[N, C, H, W]``."""
        found = self._session.run(image.numpy())
        return {name: torch.from_numpy(found[name]) for name in (found if tasks is None else tasks)}


def metrics_of_file(path: Path, tasks: Sequence[Task], batches: Iterable[Batch]) -> Metrics:
    """Return every task's metrics of a file, pooled over all batches."""
    return evaluate(FileModel(path), tasks, batches)
