"""What opsets 7 to the newest say differently from opset 18, by kind of difference."""

from trunkline.ingest.onnx_file.adapters import modes, resize, softmax, to_inputs

__all__ = ["modes", "resize", "softmax", "to_inputs"]
