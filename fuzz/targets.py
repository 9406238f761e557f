"""All targets by name."""

from __future__ import annotations

from collections.abc import Mapping

from fuzz import caffemodel, graphs, onnx_bytes, prototxt
from fuzz.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target for target in (prototxt.TARGET, caffemodel.TARGET, onnx_bytes.TARGET, graphs.TARGET)
}
