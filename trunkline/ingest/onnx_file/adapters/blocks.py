"""SpaceToDepth with channels outermost, as Reshape and Transpose."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of
from trunkline.graph.passes.editor import Editor, pop
from trunkline.ingest.onnx_file.adapters.decompose import become, data_of, sizes_of, step, store_ints
from trunkline.ingest.onnx_file.adapters.registry import since


@since(28, "SpaceToDepth")
def space_to_depth(node: ir.Node, editor: Editor) -> None:
    """Write SpaceToDepth in mode CRD out: opset 18 has the other order of channels, with blocks outermost, alone."""
    if pop(node, "mode", "DCR") != "CRD":
        return
    sizes, block = sizes_of(node), attribute(node, "blocksize")
    if len(sizes) != 4 or block < 1 or any(size % block for size in sizes[2:]):
        raise InvalidModel(f"SpaceToDepth: blocks of {block} do not divide {sizes}", place=name_of(node))
    _, channels, height, width = sizes
    split = store_ints(node, editor, "blocks", [0, channels, height // block, block, width // block, block])
    parts = step(node, editor, "Reshape", [data_of(node), split], allowzero=0)
    moved = step(node, editor, "Transpose", [parts], perm=[0, 1, 3, 5, 2, 4])
    joined = store_ints(node, editor, "shape", [0, channels * block**2, height // block, width // block])
    become(node, "Reshape", [moved, joined], allowzero=0)
