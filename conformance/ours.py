"""What Trunkline makes of a case: read by the passes that read whole files, computed by the twins."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir
import torch
from torch import Tensor

from conformance.cases import Array, Case
from conformance.judge import by_onnxruntime, difference
from trunkline.errors import TrunklineError
from trunkline.graph.graph import IR_VERSION, array_of, name_of
from trunkline.graph.roles import is_static_input
from trunkline.ingest.onnx_file.fragment import canonical_fragment
from trunkline.twins.initial_weights import to_tensor
from trunkline.twins.registry import make_op

Kind = Literal["crash", "wrong", "pass", "refused"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case at one opset.

    Attributes:
        kind: ``pass``; ``refused`` by one of our own errors; ``wrong`` in type, shape or value; or a ``crash``:
            any other exception.
        detail: The refusal, the difference, or the exception and where it was raised.
    """

    kind: Kind
    detail: str = ""


_WORST_FIRST: tuple[Kind, ...] = ("crash", "wrong", "pass", "refused")


def attempt(case: Case, opset: int) -> Outcome:
    """Try the case with all operands given, and with all but the first stored.

    A network stores what it can, so a pass in one form counts. A wrong number or a crash counts in either.
    """
    forms = [(), tuple(case.operands)[1:]] if len(case.operands) > 1 else [()]
    outcomes = [_attempt(case, opset, stored) for stored in forms]
    return min(outcomes, key=lambda outcome: _WORST_FIRST.index(outcome.kind))


def _attempt(case: Case, opset: int, stored: tuple[str, ...]) -> Outcome:
    try:
        graph = canonical_fragment(case.model(opset, stored=stored))
        given = {name: array for name, array in case.operands.items() if name not in stored}
        text = difference(compute(graph, given), case.results) or _of_canonical_form(case, graph)
    except TrunklineError as error:
        return Outcome("refused", str(error.problems[0].message))
    except Exception as error:  # to report it is the point
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome("crash", f"{type(error).__name__}: {str(error)[:200]} ({frame.filename}:{frame.lineno})")
    return Outcome("wrong", text) if text else Outcome("pass")


def _of_canonical_form(case: Case, graph: ir.Graph) -> str:
    """Return how the canonical form, computed by onnxruntime, differs from the case; it is what gets exported."""
    results = by_onnxruntime(ir.to_proto(ir.Model(graph, ir_version=IR_VERSION)), case)
    text = "" if results is None else difference(results, case.results)
    return f"the canonical form, in onnxruntime: {text}" if text else ""


@torch.no_grad()
def compute(graph: ir.Graph, operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs of a canonical graph by name, every node computed by its twin in evaluation mode."""
    values = {name: to_tensor(array_of(value)) for name, value in graph.initializers.items()}
    values.update({name: to_tensor(array) for name, array in operands.items()})
    for node in graph:
        reads = [_read(node, index, values) for index in range(len(node.inputs))]
        result = make_op(node).eval()(*reads)
        results = (result,) if isinstance(result, Tensor) else result
        values.update({value.name or "": one for value, one in zip(node.outputs, results, strict=False)})
    return {name_of(value): _array(values[name_of(value)]) for value in graph.outputs}


def _read(node: ir.Node, index: int, values: Mapping[str, Tensor]) -> Tensor | None:
    value = node.inputs[index]
    return None if value is None or is_static_input(node, index) else values[name_of(value)]


def _array(tensor: Tensor) -> Array:
    if tensor.dtype == torch.bfloat16:
        return tensor.float().numpy().astype(ir.DataType.BFLOAT16.numpy())
    return tensor.numpy()
