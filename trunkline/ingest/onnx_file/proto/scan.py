"""Check a parsed ONNX file, before any of it is turned into a Graph.

All problems are collected into one report. The file is at fault (:class:`InvalidModel`), or it is fine and
holds operators that are not supported (:class:`UnsupportedOp`, each by node name).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import onnx
from onnx import defs

from trunkline.errors import InvalidModel, Problem, UnsupportedOp
from trunkline.ingest.onnx_file.proto.branches import branch_problems, branches_of, count_nodes, is_fork
from trunkline.ingest.onnx_file.proto.cut import readable_ends
from trunkline.ingest.onnx_file.proto.operators import WITHDRAWN, supported_text
from trunkline.ingest.onnx_file.proto.tensors import tensor_problems
from trunkline.ingest.onnx_file.proto.unsupported import is_unheard_of, label, unreadable
from trunkline.ingest.onnx_file.proto.utf8 import text_problems
from trunkline.limits import Limits, how_to_raise
from trunkline.text import quoted

OLDEST_OPSET = 7
_DEFAULT = ("", "ai.onnx")
_OLD_BATCHNORM = {"spatial": 1, "is_test": 1, "consumed_inputs": None}
"""Attributes old exporters leave on BatchNormalization, and the value at which they mean nothing (``None``: any)."""

_RESTORED = {"GroupNormalization": 21}
"""Operators whose first revision ONNX has withdrawn, and an opset that takes the same inputs and attributes."""


def scan(proto: onnx.ModelProto, limits: Limits, place: str) -> int:
    """Check ``proto`` and return its opset.

    Raises:
        InvalidModel: The file breaks a rule of ONNX, or asks for more than ``limits``.
        UnsupportedOp: It holds operators, domains or functions that are not supported.
    """
    opset = _opset(proto, place)
    if (count := count_nodes(proto.graph)) > limits.nodes:
        text = f"{count:,} nodes; at most {limits.nodes:,} are read"
        raise InvalidModel(text, place=place, advice=how_to_raise("nodes", count))
    # Each step would stumble over what the one before reports: names that are bytes, operators without a definition.
    if problems := [*text_problems(proto, place)]:
        raise InvalidModel(problems)
    if problems := [*unreadable(proto, opset)]:
        raise UnsupportedOp([*problems, *_hints(proto, opset, problems, place)])
    problems = [*tensor_problems(proto.graph, limits), *_naming(proto.graph), *branch_problems(proto.graph, limits)]
    problems += _node_problems(proto, proto.graph, opset)
    if problems:
        raise InvalidModel(problems)
    return opset


def _hints(proto: onnx.ModelProto, opset: int, problems: list[Problem], place: str) -> Iterator[Problem]:
    if is_unheard_of(problems):
        yield Problem(supported_text(), place=place)
    if ends := readable_ends(proto.graph, opset):
        text = "what comes before can be read by itself"
        yield Problem(text, place=place, advice=f"cut the network there: --features {','.join(ends)}")


def _opset(proto: onnx.ModelProto, place: str) -> int:
    if not proto.HasField("graph") or not proto.graph.node:
        raise InvalidModel("holds no graph", place=place, advice="it is not an ONNX model, or it was cut short")
    if not 3 <= proto.ir_version <= onnx.IR_VERSION:
        text = f"ONNX IR version {proto.ir_version}; this installation reads 3 to {onnx.IR_VERSION}"
        raise InvalidModel(text, place=place, advice="install a newer onnx package, or export again")
    versions = {entry.version for entry in proto.opset_import if entry.domain in _DEFAULT}
    if len(versions) != 1:
        raise InvalidModel(f"names {len(versions)} opsets of the default domain, one was expected", place=place)
    opset = int(versions.pop())
    if not OLDEST_OPSET <= opset <= defs.onnx_opset_version():
        text = f"opset {opset}; supported are {OLDEST_OPSET} to {defs.onnx_opset_version()}"
        raise InvalidModel(text, place=place, advice="export again with opset_version=18")
    return opset


def _naming(graph: onnx.GraphProto) -> Iterator[Problem]:
    stored = [tensor.name for tensor in graph.initializer]
    written = [name for node in graph.node for name in node.output if name]
    inputs = [value.name for value in graph.input]
    # A weight may be listed as an input too, as it had to be up to IR version 3; no other name may come twice.
    for name in _repeated(stored) | _repeated(inputs) | _repeated([*{*stored, *inputs}, *written]):
        yield Problem(f"the value {quoted(name)} is defined more than once", place=name)
    if "" in stored or "" in inputs:
        yield Problem("an input or initializer without a name")
    known_names = {*stored, *inputs, *written, ""}
    for index, node in enumerate(graph.node):
        for name in dict.fromkeys(node.input):
            if name not in known_names:
                yield Problem(f"reads {quoted(name)}, which nothing defines", place=label(node, index))
    if not graph.output:
        yield Problem("the graph has no outputs; at least one was expected")
    for value in graph.output:
        if value.name not in known_names or not value.name:
            yield Problem(f"the output {quoted(value.name)} is written by no node", place=value.name)


def _repeated(names: list[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _node_problems(proto: onnx.ModelProto, graph: onnx.GraphProto, opset: int) -> Iterator[Problem]:
    context = onnx.checker.C.CheckerContext()
    context.ir_version = proto.ir_version
    for index, node in enumerate(graph.node):
        for branch in branches_of(node):
            yield from _node_problems(proto, branch, opset)
        if is_fork(node):
            continue  # the checker would look into both branches, and into one that is not taken
        if node.op_type in WITHDRAWN:
            yield from _withdrawn_problems(node, label(node, index))
            continue
        _strip_old_batchnorm(node)
        # onnx's checker refuses a withdrawn revision, whatever the node holds.
        context.opset_imports = {"": max(opset, _RESTORED.get(node.op_type, 0))}
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError as error:
            yield Problem(f"{node.op_type}: {str(error).strip().splitlines()[0]}", place=label(node, index))


def _withdrawn_problems(node: onnx.NodeProto, place: str) -> Iterator[Problem]:
    """Check an operator that ONNX has withdrawn: its checker does not know it any more."""
    if (len(node.input), len(node.output)) != (1, 1) or not node.input[0] or not node.output[0]:
        yield Problem(f"{node.op_type}: one input and one output were expected", place)
    types = WITHDRAWN[node.op_type]
    for item in node.attribute:
        if types.get(item.name) != onnx.AttributeProto.AttributeType.Name(item.type):
            expected = ", ".join(f"{name} ({kind.lower()})" for name, kind in types.items())
            yield Problem(f"{node.op_type}: attribute {quoted(item.name)}; expected are {expected}", place)


def _strip_old_batchnorm(node: onnx.NodeProto) -> None:
    """Remove attributes that mean nothing: the checker refuses those that the opset does not define."""
    if node.op_type != "BatchNormalization":
        return
    for attribute in [a for a in node.attribute if a.name in _OLD_BATCHNORM]:
        if _OLD_BATCHNORM[attribute.name] in (None, attribute.i):
            node.attribute.remove(attribute)
