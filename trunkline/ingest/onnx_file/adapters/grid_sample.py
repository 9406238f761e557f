"""GridSample: opset 20 renamed its modes."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.graph import attribute
from trunkline.graph.passes.editor import Editor, put
from trunkline.ingest.onnx_file.adapters.registry import since, unsupported_form

_OLD_NAMES = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}


@since(20, "GridSample")
def grid_sample_20(node: ir.Node, editor: Editor) -> None:
    """Name the mode as opset 16 did."""
    mode = attribute(node, "mode", "linear")
    # Over two spatial axes the modes are the same; opset 20's names hold for three as well.
    if mode not in _OLD_NAMES:
        raise unsupported_form(node, f"mode {mode}", f"supported: {', '.join(_OLD_NAMES)}")
    put(node, "mode", _OLD_NAMES[mode])
