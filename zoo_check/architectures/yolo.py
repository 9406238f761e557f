"""ultralytics: detectors as its own exporter writes them, and their backbones alone."""

from __future__ import annotations

from typing import Final

from zoo_check.plan import Architecture, family

_U: Final = "ultralytics"
_SIZE = (96, 128)

ARCHITECTURES: tuple[Architecture, ...] = (
    *family("yolo", "cnn", _U, "yolov5n.yaml", size=_SIZE, last="model.10"),
    *family("yolo", "cnn", _U, "yolov8n.yaml", size=_SIZE, last="model.9"),
    *family("yolo", "hybrid", _U, "yolo11n.yaml", size=_SIZE, last="model.10"),
    *family("yolo", "cnn", _U, "yolov8n-cls.yaml", size=_SIZE, last="model.9.conv"),
    *family("yolo", "cnn", _U, "yolov8n-seg.yaml", size=_SIZE, last="model.9"),
    *family("yolo", "cnn", _U, "yolov3-tiny.yaml", size=_SIZE),
    *family("yolo", "cnn", _U, "yolov5n.yaml yolov8n.yaml", variant="backbone", size=_SIZE, arguments={"until": 9}),
    *family("yolo", "hybrid", _U, "yolo11n.yaml", variant="backbone", size=_SIZE, arguments={"until": 10}),
    *family("yolo", "hybrid", _U, "yolov10n.yaml", size=_SIZE, last="model.10"),
    *family("yolo", "cnn", _U, "yolov9t.yaml", size=_SIZE, last="model.9"),
)
