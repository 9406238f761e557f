"""Find the nodes of a parsed ONNX file that cannot be read, why not, and what the user can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx
from onnx import defs

from trunkline.errors import Problem
from trunkline.ingest.onnx_file.proto.branches import branches_of, is_fork
from trunkline.ingest.onnx_file.proto.operators import WITHDRAWN, WITHDRAWN_AT, known
from trunkline.ingest.onnx_file.proto.stored_values import stored_values
from trunkline.text import quoted

_LACKED = "this operator is not supported"
QUANTISED = "quantised values are not supported (weights that are stored as whole numbers are); give the float model"
_OF_WEIGHTS = frozenset({"DequantizeLinear", "QuantizeLinear"})
_RECURRENT = "recurrent layers are not supported: only what works on each image by itself is"
_CHOICE = "post-processing that chooses boxes or pixels by their content is not supported"
_RANDOM = "random numbers are not supported"
_KINDS: Mapping[str, str] = {
    **dict.fromkeys(
        ("Quantize", "Dequantize", "DynamicQuantize", "QLinear", "ConvInteger", "MatMulInteger"), QUANTISED
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _RECURRENT),
    **dict.fromkeys(("NonMaxSuppression", "NonZero", "RoiAlign", "MaxRoiPool", "TopK", "Unique", "Compress"), _CHOICE),
    **dict.fromkeys(("Random", "Bernoulli", "Multinomial"), _RANDOM),
    **dict.fromkeys(
        ("If", "Loop", "Scan", "SequenceMap"),
        "control flow is not supported: the network must be the same for every image",
    ),
    "Sequence": "sequences are not supported",
    "Optional": "optional values are not supported",
}
"""By the beginning of an operator's name."""
_DOMAINS: Mapping[str, str] = {
    "com.microsoft": "is onnxruntime's own; give the file as it was before onnxruntime optimised or quantised it",
    "com.ms.": "is onnxruntime's own; give the file as it was before onnxruntime optimised or quantised it",
    "ai.onnx.ml": "is for classical machine learning, not for networks",
    "ai.onnx.": "is for training; export the network for inference",
    "org.pytorch": "means that torch's exporter knew no ONNX for it; export with a newer torch",
    "aten": "means that torch's exporter knew no ONNX for it; export with a newer torch",
    "mm": "is a plugin's; export without the deployment plugin",
}
"""By the beginning of a domain's name."""


def unreadable(proto: onnx.ModelProto, opset: int) -> Iterator[Problem]:
    """Yield what cannot be read at ``opset``; nodes that cannot for the same reason are one problem."""
    for function in proto.functions:
        advice = "export the network without functions, or with all of them at the file's own opset"
        yield Problem("a function that cannot be inlined is not supported", function.name, advice)
    if proto.graph.sparse_initializer:
        yield Problem("sparse initializers are not supported", advice="store the weights as dense tensors")
    yield from _gathered(_of_nodes(proto.graph, opset))


def unreadable_in(fork: onnx.NodeProto, opset: int) -> list[tuple[str, str, str]]:
    """Return what cannot be read at ``opset`` in an If, whichever branch is taken; nothing where one is readable."""
    found = [[*_of_nodes(branch, opset)] for branch in branches_of(fork)]
    return [item for items in found for item in items] if all(found) else []


def why_unreadable(node: onnx.NodeProto, opset: int) -> str:
    """Return why a node cannot be read at ``opset``; empty where its operator is known."""
    newest = known(node.op_type)
    # They had no revision: ONNX took them out of its definitions, so there is no schema to ask.
    if node.op_type in WITHDRAWN and not node.domain and opset < WITHDRAWN_AT:
        return ""
    if node.domain or newest is None:
        return _why_not(node.op_type, node.domain)
    if not defs.has(node.op_type, opset, ""):
        return f"opset {opset} has no such operator"
    revision = defs.get_schema(node.op_type, opset, "").since_version
    # Upsample's last revision, of opset 10, only deprecates it: files go on holding what opset 9 defines.
    if revision <= newest or node.op_type == "Upsample":
        return ""
    return f"its revision of opset {revision} is newer than what is known here ({newest})"


def is_unheard_of(problems: Iterable[Problem]) -> bool:
    """Whether one of ``problems`` gives no better reason than that; then a list of what is supported helps more."""
    return any(problem.message.endswith(_LACKED) for problem in problems)


def label(node: onnx.NodeProto, index: int) -> str:
    """Return the name to call a node by: its own, or else its first output's, or else its number."""
    return node.name or next((name for name in node.output if name), f"node {index}")


def _why_not(op: str, domain: str) -> str:
    if not domain:
        return next((text for prefix, text in _KINDS.items() if op.startswith(prefix)), _LACKED)
    reason = next((text for prefix, text in _DOMAINS.items() if domain.startswith(prefix)), "is not supported")
    return f"its domain {quoted(domain)} {reason}"


def _of_nodes(graph: onnx.GraphProto, opset: int) -> Iterator[tuple[str, str, str]]:
    """Yield operator, reason and place of each node that cannot be read."""
    # Which values are stored takes a walk over all nodes, so only files that quantise pay for it.
    quantised = [node for node in graph.node if node.op_type in _OF_WEIGHTS and not node.domain]
    stored = stored_values(graph) if quantised else frozenset()
    for index, node in enumerate(graph.node):
        reason = why_unreadable(node, opset)
        if not reason and node.op_type in _OF_WEIGHTS and not stored.issuperset(filter(None, node.input)):
            reason = QUANTISED
        if is_fork(node):
            yield from unreadable_in(node, opset)
        elif reason:
            yield node.op_type, reason, label(node, index)


def _gathered(found: Iterable[tuple[str, str, str]]) -> Iterator[Problem]:
    places: dict[tuple[str, str], list[str]] = {}
    for op, reason, place in found:
        places.setdefault((op, reason), []).append(place)
    for (op, reason), names in places.items():
        more = f" (here and in {len(names) - 1:,} more nodes)" if len(names) > 1 else ""
        yield Problem(f"{op}{more}: {reason}", names[0])
