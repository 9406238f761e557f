"""A picture of what a trained model sees: image, labels and predictions side by side."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trunkline.files import atomic_write
from trunkline.supermodel.twins.module import Twin
from trunkline.train.data.base import NORMALISATION, DataSet
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.resize import output_to

GAP = 4


def draw_predictions(
    twin: Twin, data: DataSet, tasks: list[Task], path: Path, *, images: int = 4, first: int = 0
) -> None:
    """Write a PNG with one row an image: the image, then label and prediction of each task.

    Args:
        twin: A trained model whose outputs are named by task.
        data: Where images come from; ``first`` is the index of the first.
        tasks: What to show.
        path: The file to write.
        images: Number of rows.
        first: Index of the first image.
    """
    twin.eval()
    rows = [_row(twin, data, tasks, index) for index in range(first, min(first + images, len(data)))]
    buffer = BytesIO()
    Image.fromarray(np.concatenate(rows, axis=0)).save(buffer, format="png", optimize=True)
    atomic_write(path, buffer.getvalue())


def _row(twin: Twin, data: DataSet, tasks: list[Task], index: int) -> np.ndarray:
    sample = data.sample(index)
    device = next(iter(twin.weights().values())).device
    with torch.no_grad():
        outputs = twin(torch.from_numpy(sample.image)[None].to(device))
    tiles = [NORMALISATION.undo(sample.image)]
    for task in tasks:
        label = sample.labels[task.name]
        tiles += [task.picture(label), task.picture(_prediction(task, outputs[task.name], label))]
    return np.concatenate([_framed(tile) for tile in tiles], axis=1)


def _prediction(task: Task, output: Tensor, label: np.ndarray) -> np.ndarray:
    size = (label.shape[-2], label.shape[-1])
    predicted: np.ndarray = task.predict(output_to(output.float(), size, "bilinear"))[0].cpu().numpy()
    return predicted


def _framed(tile: np.ndarray) -> np.ndarray:
    return np.pad(tile, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
