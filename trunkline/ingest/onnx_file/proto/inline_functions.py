"""Rewrite a parsed ONNX file in plain operators: its own functions are inlined, and the default domain has no name."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import inliner

from trunkline.errors import InvalidModel
from trunkline.limits import Limits, how_to_raise

_LONG_NAME = "ai.onnx"
"""The default domain, written out."""

_COPIED_BYTES = 2**27
"""What copies of function bodies may take, at most."""

_HOLD_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)

Key = tuple[str, str, str]
"""What a call names its function by: domain, name, overload."""


def inline_functions(proto: onnx.ModelProto, limits: Limits, place: str) -> None:
    """Inline the functions of ``proto``, and write the default domain as ``""``. The rest is left for the scan.

    Raises:
        InvalidModel: Functions call each other in a circle, or inlining them gives more nodes than ``limits``.
    """
    for part in (proto, *proto.functions):
        nodes = _all_nodes(proto.graph if part is proto else part)
        # ONNX reads both names as one domain, but nothing that compares strings does.
        for named in [item for item in (*part.opset_import, *nodes) if item.domain == _LONG_NAME]:
            named.domain = ""
    if proto.functions:
        _check_growth(proto, limits, place)
        _inline(proto, place)


def _all_nodes(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type in _HOLD_GRAPHS:
                for inner in (attribute.g, *attribute.graphs):
                    yield from _all_nodes(inner)


def _inline(proto: onnx.ModelProto, place: str) -> None:
    """Put the bodies of functions in the place of their calls."""
    # onnx's inliner copies the model it is given. A shell that holds the names of weights keeps them from being copied.
    shell = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions)
    graph = proto.graph
    shell.graph.name = graph.name
    shell.graph.node.extend(graph.node)
    shell.graph.input.extend(graph.input)
    shell.graph.output.extend(graph.output)
    shell.graph.initializer.extend(onnx.TensorProto(name=tensor.name) for tensor in graph.initializer)
    try:
        plain = inliner.inline_local_functions(shell)
    except (RuntimeError, onnx.checker.ValidationError) as error:
        text = f"its functions cannot be inlined: {(str(error).strip().splitlines() or [''])[0]}"
        raise InvalidModel(text, place=place, advice="export the model without functions") from error
    del graph.node[:], proto.functions[:]
    graph.node.extend(plain.graph.node)
    proto.functions.extend(plain.functions)


def _check_growth(proto: onnx.ModelProto, limits: Limits, place: str) -> None:
    """Count the nodes there will be, callees before callers: functions that call functions grow without bounds."""
    bodies = {(item.domain, item.name, item.overload): [*_all_nodes(item)] for item in proto.functions}
    graph = [*_all_nodes(proto.graph)]
    sizes: dict[Key, int] = {}
    # Every round settles the functions whose callees are settled. Those in a circle never are.
    for _ in range(min(len(bodies), limits.depth)):
        found = {key: _size(bodies[key], bodies, sizes) for key in bodies.keys() - sizes}
        sizes.update({key: size for key, size in found.items() if size is not None})
    total = _size(graph, bodies, sizes)
    if total is None:
        stuck = ", ".join(sorted(name for _, name, _ in bodies.keys() - sizes)[:5])
        text = f"functions that call each other in a circle, or deeper than {limits.depth}: {stuck}"
        raise InvalidModel(text, place=place, advice="export the model without functions")
    if total > limits.nodes:
        text = f"{total:,} nodes with its functions inlined; at most {limits.nodes:,} are read"
        raise InvalidModel(text, place=place, advice=how_to_raise("nodes", total))
    # A call may hand a tensor down to every node of what it calls.
    copied = [node for body in bodies.values() for node in body] + [node for node in graph if _key(node) in bodies]
    bytes_each = max((node.ByteSize() for node in copied), default=0)
    if bytes_each * max(0, total - len(graph)) > _COPIED_BYTES:
        text = f"functions of {total:,} nodes hold constants of {bytes_each:,} bytes, copied for each call"
        raise InvalidModel(text, place=place, advice="export the model without functions")


def _size(nodes: list[onnx.NodeProto], bodies: dict[Key, list[onnx.NodeProto]], sizes: dict[Key, int]) -> int | None:
    """Return the nodes that ``nodes`` become; ``None`` where they call a function whose size is not known yet."""
    total = 0
    for node in nodes:
        key = _key(node)
        if key in bodies and key not in sizes:
            return None
        total += sizes.get(key, 1)
    return total


def _key(node: onnx.NodeProto) -> Key:
    return node.domain, node.op_type, node.overload
