"""NYUv2, photographs of rooms with classes, depth and normals."""

from trunkline.train.data.sets.nyuv2.config import NYUv2Config

__all__ = ["NYUv2Config"]
