"""A picture of what a trained model sees: image, labels and predictions side by side."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from trunkline.files.write import atomic_write
from trunkline.spinning import spin_only_when_quiet
from trunkline.train.data.base import NORMALISATION, DataSet
from trunkline.train.tasks.base import Task
from trunkline.twins.twin import Twin

GAP, TITLE_HEIGHT, WIDTH = 4, 18, 192


@spin_only_when_quiet()
def draw_predictions(
    twin: Twin, data: DataSet, tasks: list[Task], path: Path, *, images: int = 4, first: int = 0
) -> None:
    """Write a PNG with one row an image: the image, then label and prediction of each task.

    Args:
        twin: A trained model whose outputs are named by task.
        data: Where images come from; ``first`` is the index of the first.
        tasks: The tasks to show, in the order of the columns.
        path: The file to write.
        images: Number of rows.
        first: Index of the first image.
    """
    twin.eval()
    rows = [_row(twin, data, tasks, index) for index in range(first, min(first + images, len(data)))]
    titles = ["image", *(title for task in tasks for title in (f"{task.name}: label", "prediction"))]
    picture = np.concatenate([_titles(titles, rows[0].shape[1]), *rows], axis=0)
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, format="png", optimize=True)
    atomic_write(path, buffer.getvalue())


def _row(twin: Twin, data: DataSet, tasks: list[Task], index: int) -> np.ndarray:
    sample = data.sample(index)
    device = next(iter(twin.weights().values())).device
    with torch.no_grad():
        outputs = twin(torch.from_numpy(sample.image)[None].to(device))
    tiles = [NORMALISATION.undo(sample.image)]
    for task in tasks:
        label = sample.labels.get(task.name)
        if label is None:  # an image may lack one
            label = task.label.empty(data.size)
        predicted = task.predict_for(outputs[task.name], data.size)[0].cpu().numpy()
        # What holds for the whole image is one colour, and fills its tile.
        tiles += [np.broadcast_to(task.picture(shown), tiles[0].shape) for shown in (label, predicted)]
    return np.concatenate([_framed(_enlarged(tile)) for tile in tiles], axis=1)


def _titles(titles: list[str], width: int) -> np.ndarray:
    strip = Image.new("RGB", (width, TITLE_HEIGHT), "white")
    pen = ImageDraw.Draw(strip)
    for index, title in enumerate(titles):
        pen.text((index * width // len(titles) + 2, 3), title, fill="black")
    return np.asarray(strip)


def _enlarged(tile: np.ndarray) -> np.ndarray:
    """Show small images at twice or more their size, pixel by pixel."""
    factor = max(1, WIDTH // tile.shape[1])
    return tile.repeat(factor, axis=0).repeat(factor, axis=1)


def _framed(tile: np.ndarray) -> np.ndarray:
    return np.pad(tile, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
