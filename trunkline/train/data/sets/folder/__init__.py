"""A folder of images with class maps."""

from trunkline.train.data.sets.folder.config import FolderConfig

__all__ = ["FolderConfig"]
