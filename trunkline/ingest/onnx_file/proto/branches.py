"""The branches of If: checked like the graph they are in, because one of them may take its node's place.

What is not supported matters only in the branch that is taken, which is known once the condition is folded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx

from trunkline.errors import Problem
from trunkline.ingest.onnx_file.proto.tensors import is_external, tensor_problems
from trunkline.limits import Limits
from trunkline.text import quoted

_NAMES = {"then_branch", "else_branch"}


def is_fork(node: onnx.NodeProto) -> bool:
    """Whether ``node`` is an If with two branches."""
    # By count too: an attribute that is given twice is one name in the set below.
    if node.op_type != "If" or node.domain or len(node.attribute) != len(_NAMES):
        return False
    return {item.name for item in node.attribute if item.type == onnx.AttributeProto.GRAPH} == _NAMES


def branches_of(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the branches of ``node``; none where it is not an If."""
    return [item.g for item in node.attribute] if is_fork(node) else []


def count_nodes(graph: onnx.GraphProto) -> int:
    """Return the number of nodes, those in branches too."""
    return len(graph.node) + sum(count_nodes(branch) for node in graph.node for branch in branches_of(node))


def branch_problems(graph: onnx.GraphProto, limits: Limits, outside: Collection[str] = ()) -> Iterator[Problem]:
    """Yield what is wrong in the branches of ``graph``: tensors, names, and outputs that do not fit.

    Args:
        graph: It, or a branch in it.
        limits: For the tensors of each branch.
        outside: The names defined around ``graph``.
    """
    known = {*outside, *_defined(graph)}
    for node in graph.node:
        for branch in branches_of(node):
            place = node.name or (node.output[0] if node.output else "If")
            yield from _problems(branch, len(node.output), known, place)
            yield from tensor_problems(branch, limits)
            yield from branch_problems(branch, limits, known)


def _problems(branch: onnx.GraphProto, outputs: int, outside: set[str], place: str) -> Iterator[Problem]:
    """Yield what is wrong in one branch of an If with so many ``outputs``, itself and not in branches inside it."""
    # ONNX gives the branches of an If no inputs: they read the names around them.
    if branch.input or branch.sparse_initializer or any(map(is_external, branch.initializer)):
        yield Problem("a branch with inputs, sparse or external weights, which are not supported", place)
    if len(branch.output) != outputs or len(branch.node) == 0:
        yield Problem(f"a branch of {len(branch.node)} nodes and {len(branch.output)} outputs, not {outputs}", place)
    written = _defined(branch)
    if len(written) != len(set(written)) or "" in written:
        yield Problem("a branch that defines a name twice, or an empty one", place)
    for name in sorted({value.name for value in branch.output} - set(written)):
        yield Problem(f"a branch gives {quoted(name)}, which it does not write", place)
    read = {name for node in branch.node for name in node.input if name}
    for name in sorted(read - outside - set(written)):
        yield Problem(f"a branch reads {quoted(name)}, which nothing defines", place)


def _defined(graph: onnx.GraphProto) -> list[str]:
    stored = [item.name for item in (*graph.input, *graph.initializer)]
    return stored + [name for node in graph.node for name in node.output if name]
