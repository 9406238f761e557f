"""The cases that ONNX generates for its operators, at any opset at which the same node means the same."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
_FIRST_IR_WITH_INITIALIZERS_APART = 4


@dataclass(frozen=True, slots=True)
class Case:
    """One node with operands and the expected results, both in the order of the names the node gives them.

    Attributes:
        opset: The opset the case was generated for: the newest revision of its operator.
        operands: By name, without the inputs that are absent.
        results: By name, without the outputs that are absent.
    """

    name: str
    node: onnx.NodeProto
    opset: int
    operands: dict[str, Array]
    results: dict[str, Array]

    @property
    def op(self) -> str:
        """The operator's name."""
        return str(self.node.op_type)

    @property
    def is_float(self) -> bool:
        """Whether floating-point numbers of 16 to 64 bits go in and come out first, and no image or result is empty."""
        first, result = next(iter(self.operands.values())), next(iter(self.results.values()))
        return _is_float(result) and any(map(_is_float, self.operands.values())) and bool(first.size and result.size)

    def model(self, opset: int, *, stored: Sequence[str] = ()) -> onnx.ModelProto:
        """Return the node as a model of ``opset``; the operands in ``stored`` are initializers."""
        given = [_info(name, array) for name, array in self.operands.items() if name not in stored]
        outputs = [_info(name, array, sized=False) for name, array in self.results.items()]
        initializers = [numpy_helper.from_array(self.operands[name], name) for name in stored]
        graph = helper.make_graph([self.node], self.name, given, outputs, initializers)
        opsets = [helper.make_opsetid("", opset)]
        ir_version = max(_FIRST_IR_WITH_INITIALIZERS_APART, helper.find_min_ir_version_for(opsets))
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def collect() -> dict[str, list[Case]]:
    """Return the cases by operator: those of one node of the default domain whose operands are tensors.

    Cases that spell out another operator's definition are not among them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some cases overflow on purpose
        from onnx.backend.test.case.node import collect_testcases

        generated = collect_testcases(None)
    found: dict[str, list[Case]] = {}
    for one in generated:
        case = _case(one)
        if case is not None:
            found.setdefault(case.op, []).append(case)
    return found


def _case(one: Any) -> Case | None:
    (operands, results), graph = one.data_sets[0], one.model.graph
    opsets = {entry.domain: entry.version for entry in one.model.opset_import}
    if (
        len(graph.node) != 1
        or "_expanded" in one.name
        or set(opsets) != {""}
        or not all(map(_is_tensor, [*operands, *results]))
    ):
        return None
    node = graph.node[0]
    inputs = [value.name for value in graph.input]
    outputs = [value.name for value in graph.output]
    return Case(
        name=one.name,
        node=node,
        opset=opsets[""],
        operands=dict(zip(inputs, map(_array, operands), strict=True)),
        results=dict(zip(outputs, map(_array, results), strict=True)),
    )


def _is_tensor(content: object) -> bool:
    return isinstance(content, np.ndarray | np.generic | onnx.TensorProto)


def _array(content: Any) -> Array:
    return numpy_helper.to_array(content) if isinstance(content, onnx.TensorProto) else np.asarray(content)


def _is_float(array: Array) -> bool:
    return array.dtype.name in _FLOATS


def _info(name: str, array: Array, *, sized: bool = True) -> onnx.ValueInfoProto:
    element = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, element, array.shape if sized else [None] * array.ndim)
