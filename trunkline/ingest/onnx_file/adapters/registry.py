"""Where adapters are kept: functions that rewrite one node from its file's opset to opset 18, in place."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from trunkline.errors import UnsupportedOp
from trunkline.graph.graph import name_of
from trunkline.graph.passes.editor import Editor

Adapter = Callable[[ir.Node, Editor], None]

RAISING: dict[str, list[tuple[int, Adapter]]] = {}
"""By operator: adapters for files *before* an opset."""

LOWERING: dict[str, list[tuple[int, Adapter]]] = {}
"""By operator: adapters for files *from* an opset on."""


def before(opset: int, *operators: str) -> Callable[[Adapter], Adapter]:
    """Register an adapter for nodes of ``operators`` in files of an opset below ``opset``."""
    return _registering(RAISING, opset, operators)


def since(opset: int, *operators: str) -> Callable[[Adapter], Adapter]:
    """Register an adapter for nodes of ``operators`` in files of ``opset`` or above."""
    return _registering(LOWERING, opset, operators)


def unsupported_form(node: ir.Node, what: str, advice: str = "") -> UnsupportedOp:
    """Return the error for a node that opset 18 cannot express."""
    return UnsupportedOp(f"{node.op_type}: {what} is not supported", place=name_of(node), advice=advice)


def _registering(
    table: dict[str, list[tuple[int, Adapter]]], opset: int, operators: tuple[str, ...]
) -> Callable[[Adapter], Adapter]:
    def register(adapter: Adapter) -> Adapter:
        for operator in operators:
            table.setdefault(operator, []).append((opset, adapter))
        return adapter

    return register
