"""Small ONNX files as many exporters write them, in ``STYLES`` by name."""

from exporter_styles import converters, detectors, flow, odd, older, paddle, tensorflow
from exporter_styles.writing import STYLES

__all__ = ["STYLES", "converters", "detectors", "flow", "odd", "older", "paddle", "tensorflow"]
