"""Find out from the files of torch's exporters which stored tensors were parameters of a module.

The newer exporter notes it beside each tensor, and for a tensor that it has computed, from which others. The older one
notes nothing, but keeps the two apart: constants are Constant nodes, parameters are initializers, and a name like that
of a place in a module, ``stages.0.gain``, shows that a tensor was in its state.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator

import onnx_ir as ir

from trunkline.graph.computed_weights import computes_weight
from trunkline.graph.graph import CONSTANT, PARAMETER, ROLE_KEY
from trunkline.graph.roles import STATISTICS
from trunkline.text import quoted

_KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
_ORIGINS = "pkg.onnxscript.optimizer.folded_from"
_SIGNATURE = "pkg.torch.export.ExportedProgram.graph_signature"
_BUFFER = re.compile(r"^\w+: BUFFER target='([^'\n]+)'", re.MULTILINE)
_PARAMETER = "PARAMETER"
_OTHERS = frozenset({"BUFFER", "CONSTANT_TENSOR"})
_OPERATORS = (
    *("abs", "add", "alias", "arange", "cat", "clone", "convert_element_type", "cos", "detach", "div", "exp", "expand"),
    *("flatten", "full", "getitem", "index", "linspace", "log", "mean", "mm", "mul", "neg", "ones", "outer", "permute"),
    *("pow", "reciprocal", "repeat", "rsqrt", "scalar_tensor", "select", "sin", "slice", "sqrt", "squeeze", "stack"),
    *("sub", "sum", "to", "transpose", "unsqueeze", "view", "zeros"),
)
_INNER = re.compile(rf"(val|lifted_tensor|({'|'.join(_OPERATORS)})(_default)?)(_\d+)?")
"""What the newer exporter calls constants in a module's code, and what comes of them: after operators of torch."""
_IN_MODULE = re.compile(r"[A-Za-z_]\w*(\.\w+)+")
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_SHOWN = 3


def noted_parameters(graph: ir.Graph) -> list[str]:
    """Return the names of the tensors that the exporter notes as parameters."""
    return [name for name, value in graph.initializers.items() if value.metadata_props.get(_KIND) == _PARAMETER]


def _noted_buffers(graph: ir.Graph) -> set[str]:
    """Return the names of the tensors that the exporter notes as buffers; some are not in the file any more."""
    return set(_BUFFER.findall(graph.metadata_props.get(_SIGNATURE, "")))


def mark_kinds(graph: ir.Graph, frozen: Collection[str] = (), *, is_of_torch: bool = True) -> None:
    """Write in our own marks what the exporter notes in its own way: what trains, and what is a constant.

    1. A tensor that is noted as a parameter is one, unless it is frozen.
    2. A tensor that is noted as a buffer or a constant, or was computed from such alone, is a constant. Statistics of
       a BatchNormalization are buffers too, and have a role of their own.
    3. Where nothing is noted, a number that is called after a place in a module was in its state, and is a parameter.

    Args:
        graph: The graph as the exporter has made it, or as it was loaded from its file.
        frozen: The names of parameters that do not train all the same.
        is_of_torch: Whether one of torch's exporters has written it.
    """
    has_notes = bool(noted_parameters(graph))
    buffers = _noted_buffers(graph)
    for name, value in graph.initializers.items():
        kind, origins = value.metadata_props.pop(_KIND, None), _origins(value) or [name]
        is_formula = has_notes and all(origin in buffers or _INNER.fullmatch(origin) for origin in origins)
        is_number = value.shape is not None and len(value.shape) == 0
        if kind == _PARAMETER:  # rule 1
            value.metadata_props.setdefault(ROLE_KEY, CONSTANT if name in frozen else PARAMETER)
        elif (kind in _OTHERS or is_formula) and not _is_statistic(value):  # rule 2
            value.metadata_props.setdefault(ROLE_KEY, CONSTANT)
        elif is_of_torch and not has_notes and is_number and _IN_MODULE.fullmatch(name):  # rule 3
            value.metadata_props.setdefault(ROLE_KEY, PARAMETER)


def constants_are_nodes(model: ir.Model) -> bool:
    """Whether a Constant node of ``model`` is no weight: torch wrote it, and weights of products are initializers."""
    # Where the weights of products are Constant nodes themselves, being one means nothing.
    products = (node for node in model.graph if node.op_type in _PRODUCTS)
    weights = (value for node in products for value in node.inputs[1:2] if value is not None)
    return is_of_torch(model) and any(value.is_initializer() for value in weights)


def is_of_torch(model: ir.Model) -> bool:
    """Whether one of torch's exporters has written ``model``."""
    return model.producer_name == "pytorch"


def merging_notes(graph: ir.Graph) -> Iterator[str]:
    """Yield a note on the tensors that the exporter has computed from several parameters, which the file has not."""
    found = []
    others = graph.initializers.keys() | _noted_buffers(graph)
    for name, value in graph.initializers.items():
        gone = [origin for origin in _origins(value) if _IN_MODULE.fullmatch(origin) and origin not in others]
        if len(gone) > 1:
            found.append(f"{quoted(name)} of {' and '.join(map(quoted, gone[:_SHOWN]))}")
    if found:
        more = "; …" if len(found) > _SHOWN else ""
        shown = "; ".join(found[:_SHOWN]) + more
        text = f"torch's exporter has computed {len(found)} tensors from others, and they train as they are: {shown}"
        yield f"{text} (read the torch module, or export with optimize=False, to train the others)"


def drop_plain_marks(graph: ir.Graph) -> None:
    """Remove the marks that change nothing: that a tensor with axes trains, and that a whole number does not.

    What weights are computed from keeps its mark: without it, some would be merged when the Graph's file is read again.
    """
    for value in graph.initializers.values():
        is_number = value.shape is not None and len(value.shape) == 0
        is_float = value.dtype is not None and value.dtype.is_floating_point()
        is_plain = value.metadata_props.get(ROLE_KEY) == PARAMETER and not is_number
        if not is_float or (is_plain and not any(map(computes_weight, value.consumers()))):
            value.metadata_props.pop(ROLE_KEY, None)


def _origins(value: ir.Value) -> list[str]:
    """Return the names of the tensors that the exporter has computed ``value`` from; none where it notes none."""
    try:  # the note is the text of a Python list; a file may hold any other text in its place
        names = ast.literal_eval(value.metadata_props.get(_ORIGINS, "[]"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _is_statistic(value: ir.Value) -> bool:
    uses = value.uses()
    return bool(uses) and all(node.op_type == "BatchNormalization" and index in STATISTICS for node, index in uses)
