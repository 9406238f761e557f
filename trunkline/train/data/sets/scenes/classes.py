"""The 13 indoor classes of the generated rooms, in the order of NYUv2's 13-class labels, and their colours."""

from __future__ import annotations

from trunkline.train.data.sets.nyuv2.classes import CLASSES_13

INDEX = {name: index for index, name in enumerate(CLASSES_13)}

RGB = tuple[float, float, float]

# Base colours (linear, 0..1) an object of a class is painted with; one is drawn per object, then varied a little.
# They overlap between classes on purpose: colour alone must not give the class away.
PALETTE: dict[str, tuple[RGB, ...]] = {
    "bed": ((0.62, 0.66, 0.80), (0.78, 0.70, 0.66), (0.36, 0.44, 0.66), (0.72, 0.46, 0.48)),
    "books": ((0.70, 0.20, 0.16), (0.16, 0.32, 0.60), (0.75, 0.60, 0.18), (0.20, 0.46, 0.28)),
    "ceiling": ((0.90, 0.90, 0.88), (0.86, 0.84, 0.80)),
    "chair": ((0.62, 0.28, 0.12), (0.70, 0.42, 0.14), (0.52, 0.16, 0.14), (0.24, 0.24, 0.26)),
    "floor": ((0.46, 0.30, 0.18), (0.58, 0.42, 0.27), (0.46, 0.45, 0.44), (0.34, 0.23, 0.16)),
    "furniture": ((0.66, 0.52, 0.36), (0.80, 0.77, 0.70), (0.33, 0.20, 0.12), (0.56, 0.60, 0.56)),
    "objects": ((0.80, 0.26, 0.22), (0.20, 0.56, 0.56), (0.84, 0.66, 0.20), (0.46, 0.30, 0.58), (0.85, 0.84, 0.80)),
    "picture": ((0.22, 0.44, 0.62), (0.70, 0.42, 0.22), (0.34, 0.52, 0.30), (0.62, 0.26, 0.40)),
    "sofa": ((0.24, 0.42, 0.42), (0.44, 0.46, 0.50), (0.50, 0.32, 0.26), (0.30, 0.36, 0.24)),
    "table": ((0.50, 0.32, 0.17), (0.38, 0.22, 0.12), (0.72, 0.58, 0.40)),
    "tv": ((0.035, 0.04, 0.05),),
    "wall": ((0.80, 0.77, 0.70), (0.68, 0.76, 0.78), (0.80, 0.69, 0.62), (0.72, 0.78, 0.66), (0.82, 0.80, 0.78)),
    "window": ((0.78, 0.90, 1.00), (0.95, 0.90, 0.80)),
}
