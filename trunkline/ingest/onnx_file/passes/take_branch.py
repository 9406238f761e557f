"""Put the branch that is taken in the place of an If whose condition is known while reading.

torch's exporter writes such an If where a module asks for a size, as ``squeeze`` does.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from trunkline.errors import Problem, UnsupportedOp
from trunkline.graph.graph import SOURCE_KEY, name_of
from trunkline.graph.passes.base import run_passes
from trunkline.graph.passes.editor import Editor, static
from trunkline.ingest.onnx_file.passes.drop_unused_outputs import DropUnusedOutputs
from trunkline.ingest.onnx_file.passes.lift_constants import LiftConstants
from trunkline.ingest.onnx_file.passes.name_everything import NameEverything
from trunkline.ingest.onnx_file.proto.unsupported import why_unreadable
from trunkline.limits import Budget

_THEN, _ELSE = "then_branch", "else_branch"
_ADVICE = "cut the network before it with --features, or export without control flow"


def take_branch(node: ir.Node, editor: Editor, opset: int, budget: Budget) -> None:
    """Replace the If ``node`` by the nodes of one of its branches, which come right after it.

    Raises:
        UnsupportedOp: Its condition depends on the image, or the branch holds what is not supported at ``opset``.
    """
    condition = static(node, 0)
    if condition is None or condition.size != 1:
        text = "If: its condition is computed from the image; the network must be the same for every image"
        raise UnsupportedOp(text, place=name_of(node), advice=_ADVICE)
    then_branch, else_branch = (node.attributes[name].as_graph() for name in (_THEN, _ELSE))
    taken, dropped = (then_branch, else_branch) if bool(condition) else (else_branch, then_branch)
    # The scan lets a file through whose other branch is readable; here it is known which one counts.
    if problems := [*_unreadable(taken, opset)]:
        raise UnsupportedOp(problems)
    _release(dropped)
    results = _hand_over(node, taken)
    # The passes that the outer graph has been through before the walk.
    run_passes(taken, [NameEverything(), LiftConstants(budget), DropUnusedOutputs()])
    _move(node, taken, results, editor, budget)


def _unreadable(branch: ir.Graph, opset: int) -> Iterator[Problem]:
    for node in branch:
        reason = why_unreadable(onnx.NodeProto(op_type=node.op_type, domain=node.domain), opset)
        if reason and not _is_fork(node):
            yield Problem(f"{node.op_type}: {reason}", node.name or "", _ADVICE)


def _is_fork(node: ir.Node) -> bool:
    return node.op_type == "If" and not node.domain and set(node.attributes) == {_THEN, _ELSE}


def _hand_over(node: ir.Node, branch: ir.Graph) -> dict[ir.Value, str]:
    """Let the readers of ``node`` read what ``branch`` gives, and return the names that it takes from the node."""
    results = {}
    given = list(branch.outputs)
    branch.outputs.clear()
    for outer, inner in zip(node.outputs, given, strict=True):
        if outer.name:
            results[inner] = outer.name
            outer.name = f"{outer.name} (taken)"
        outer.replace_all_uses_with(inner, replace_graph_outputs=True)
    return results


def _move(node: ir.Node, branch: ir.Graph, results: dict[ir.Value, str], editor: Editor, budget: Budget) -> None:
    """Move weights and nodes of ``branch`` into the graph of ``node``; names inside a branch may be taken outside."""
    for name, value in list(branch.initializers.items()):
        assert value.const_value is not None
        budget.charge(name, tuple(value.const_value.shape.numpy()))
        del branch.initializers[name]
        value.name = editor.take_name(name)
        editor.graph.register_initializer(value)
    nodes = list(branch)
    branch.remove(nodes)
    for inner in nodes:
        inner.name = editor.take_name(name_of(inner))
        inner.metadata_props[SOURCE_KEY] = node.metadata_props.get(SOURCE_KEY, "")
        for value in inner.outputs:
            if value.name:
                value.name = results.get(value) or editor.take_name(value.name)
    editor.graph.insert_after(node, nodes)
    editor.graph.remove(node, safe=True)


def _release(branch: ir.Graph) -> None:
    """Cut the inputs of all nodes of a branch that is dropped: as readers, they would keep outer nodes from dying."""
    branch.outputs.clear()
    for node in branch:
        for index in range(len(node.inputs)):
            node.replace_input_with(index, None)
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                _release(attribute.as_graph())
