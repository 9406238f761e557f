"""ONNX's own generated node cases, read and computed by Trunkline: ``python -m conformance``."""
