"""Which values of a parsed ONNX file do not depend on its inputs."""

from __future__ import annotations

import onnx


def stored_values(graph: onnx.GraphProto) -> frozenset[str]:
    """Return the names of all values that do not depend on an input: stored ones, and what is computed from them."""
    stored = {tensor.name for tensor in graph.initializer}
    computed = {value.name for value in graph.input} - stored
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    waiting = list(computed)
    while waiting:
        for node in readers.pop(waiting.pop(), []):
            waiting += [name for name in node.output if name not in computed]
            computed.update(node.output)
    written = {name for node in graph.node for name in node.output}
    return frozenset((stored | written) - computed)
