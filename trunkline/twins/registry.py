"""From an ONNX operator to the torch function that computes it.

An operator's twin holds no weights. It is called with the node's inputs in ONNX order (data and weights;
``None`` for an absent input and for a static argument), and its settings are fixed when it is built.

How to add an operator: write one factory, in one file of ``twins/ops/`` (or anywhere that is imported first)::

    @register("Softsign")
    def softsign(node: ir.Node) -> Op:
        return Op(F.softsign)

* Read attributes with :func:`trunkline.graph.graph.attribute`, giving ONNX's default at opset 18, and static
  arguments with the helpers of :mod:`trunkline.twins.ops.common.static_inputs`.
* Fix settings with ``functools.partial`` over a function at module level, so that a twin can be pickled.
* A function that behaves differently in training takes ``training: bool`` and is wrapped by ``Op(f, modal=True)``.
* An operator whose float input is a setting, not a weight, also needs a line in
  :mod:`trunkline.graph.roles`.
* Compare it with onnxruntime: a line in ``tests/twins/test_twins_parity.py``.
* Readers accept it once it is listed in :mod:`trunkline.ingest.onnx_file.proto.operators`; then ONNX's own cases can
  be run: ``python -m conformance --only Softsign``.

An operator without a factory is looked for in onnx2torch, where the extra ``trunkline[onnx2torch]`` is installed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import onnx_ir as ir

from trunkline.graph.graph import name_of
from trunkline.text import quoted
from trunkline.twins.onnx2torch_fallback import foreign_op
from trunkline.twins.op import Op, unsupported_setting

Factory = Callable[[ir.Node], Op]
F_ = TypeVar("F_", bound=Factory)

_FACTORIES: dict[str, Factory] = {}
_FLOATS = {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
_INTEGERS = {ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64, ir.DataType.UINT8}
_TYPES = frozenset({*_FLOATS, *_INTEGERS, ir.DataType.BOOL})
_SEVERAL_OUTPUTS = frozenset({"LayerNormalization", "MaxPool", "Split"})
"""Operators whose twins compute more than the first output."""


def register(op_type: str) -> Callable[[F_], F_]:
    """Return a decorator that makes a factory build the twins of the operator ``op_type`` of ONNX's default domain.

    Raises:
        ValueError: The operator already has a factory.

    >>> import torch
    >>> @register("Softshrink")
    ... def softshrink(node: ir.Node) -> Op:
    ...     return Op(torch.nn.functional.softshrink)
    >>> node = ir.node("Softshrink", [ir.val("x", dtype=ir.DataType.FLOAT, shape=[2])])
    >>> make_op(node)(torch.tensor([0.2, 2.0]))
    tensor([0.0000, 1.5000])
    >>> del _FACTORIES["Softshrink"]  # ONNX has no such operator, so this example leaves none behind
    """

    def keep(factory: F_) -> F_:
        if op_type in _FACTORIES:
            raise ValueError(f"operator {op_type!r} is already registered")
        _FACTORIES[op_type] = factory
        return factory

    return keep


def make_op(node: ir.Node) -> Op:
    """Return the twin of ``node``.

    Raises:
        UnsupportedOp: There is none, or not for these attributes; the message names the node.
    """
    _load_families()
    _refuse_side_outputs(node)
    _refuse_types(node)
    # ONNX spells its own domain both ways.
    if node.domain in ("", "ai.onnx") and node.op_type in _FACTORIES:
        return _FACTORIES[node.op_type](node)
    return foreign_op(node)


def _refuse_side_outputs(node: ir.Node) -> None:
    """Refuse a node of which more is read than its twin computes."""
    if node.op_type in _SEVERAL_OUTPUTS:
        return
    # Many files declare side outputs (Dropout's mask) that nothing reads; those may be there.
    for output in node.outputs[1:]:
        if output.uses() or output.is_graph_output():
            raise unsupported_setting(
                node, f"its second output {quoted(name_of(output))} in use", "use only the first output of this node"
            )


def _refuse_types(node: ir.Node) -> None:
    """Refuse types that torch can hold, but not compute with: unsigned ones beyond 8 bits, and floats of 8 bits."""
    # A stored setting is read as plain numbers when the twin is built, whatever its type.
    computed = [value for value in node.inputs if value is not None and not value.is_initializer()]
    for value in [*computed, *node.outputs]:
        if value.dtype is not None and value.dtype not in _TYPES:
            raise unsupported_setting(node, f"numbers of the type {value.dtype.name}", "give the network in float32")


@cache
def _load_families() -> None:
    # The families import this module, so they can only be imported later: when the first operator is wanted.
    package = importlib.import_module("trunkline.twins.ops")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
