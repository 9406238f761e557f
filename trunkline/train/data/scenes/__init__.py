"""Generated rooms with exact labels: the data set that needs no download."""

from trunkline.train.data.scenes.dataset import Scenes

__all__ = ["Scenes"]
