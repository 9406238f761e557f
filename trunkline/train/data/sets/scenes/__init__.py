"""Generated rooms with exact labels: the data set that needs no download."""

from trunkline.train.data.sets.scenes.config import ScenesConfig
from trunkline.train.data.sets.scenes.dataset import Scenes

__all__ = ["Scenes", "ScenesConfig"]
