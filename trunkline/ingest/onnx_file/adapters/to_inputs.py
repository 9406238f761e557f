"""Make inputs of the attributes that later opsets read as inputs: axes, sizes, bounds and ratios."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import name_of
from trunkline.graph.passes.editor import Editor, pop, set_input
from trunkline.ingest.onnx_file.adapters.registry import before

_LOWEST = float(np.finfo(np.float32).min)
_HIGHEST = float(np.finfo(np.float32).max)


@before(13, "Squeeze", "Unsqueeze", "ReduceSum")
@before(18, "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin")
@before(18, "ReduceProd", "ReduceSumSquare")
def axes(node: ir.Node, editor: Editor) -> None:
    """Make ``axes`` the second input; without it, the operator takes all axes in every opset."""
    _move(node, editor, "axes", 1)


@before(13, "Split")
def split(node: ir.Node, editor: Editor) -> None:
    """Make ``split`` the second input."""
    _move(node, editor, "split", 1)


@before(10, "Slice")
def slice_(node: ir.Node, editor: Editor) -> None:
    """Make ``starts``, ``ends`` and ``axes`` the inputs 1 to 3."""
    for index, name in enumerate(("starts", "ends", "axes"), start=1):
        _move(node, editor, name, index)


@before(11, "Pad")
def pad(node: ir.Node, editor: Editor) -> None:
    """Make ``pads`` and ``value`` the inputs 1 and 2."""
    _move(node, editor, "pads", 1)
    _move(node, editor, "value", 2, np.float32)


@before(11, "Clip")
def clip(node: ir.Node, editor: Editor) -> None:
    """Make ``min`` and ``max`` the inputs 1 and 2."""
    # The largest float is the attribute's default, and no bound for any number but an infinity.
    bounds = pop(node, "min", _LOWEST), pop(node, "max", _HIGHEST)
    if bounds[0] > _LOWEST:
        set_input(node, 1, editor.constant(f"{name_of(node)}.min", bounds[0], np.float32))
    if bounds[1] < _HIGHEST:
        set_input(node, 2, editor.constant(f"{name_of(node)}.max", bounds[1], np.float32))


@before(12, "Dropout")
def dropout(node: ir.Node, editor: Editor) -> None:
    """Make ``ratio`` the second input."""
    _put(node, editor, "ratio", 1, pop(node, "ratio", 0.5), np.float32)


def _move(node: ir.Node, editor: Editor, name: str, index: int, dtype: type[np.generic] = np.int64) -> None:
    content = pop(node, name)
    if content is not None:
        _put(node, editor, name, index, content, dtype)


def _put(node: ir.Node, editor: Editor, name: str, index: int, content: Any, dtype: type[np.generic]) -> None:
    set_input(node, index, editor.constant(f"{name_of(node)}.{name}", content, dtype))
