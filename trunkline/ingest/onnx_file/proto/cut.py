"""Cut a parsed ONNX file at named values, before its shapes, operators or weights are looked at.

What comes after the features need not be readable then: a classifier whose last layers fit one image size only, or
a detector's post-processing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import onnx

from trunkline.errors import InvalidModel, Problem, did_you_mean
from trunkline.ingest.onnx_file.proto.branches import is_fork
from trunkline.ingest.onnx_file.proto.operators import FOLDED, SUPPORTED
from trunkline.ingest.onnx_file.proto.unsupported import unreadable_in, why_unreadable
from trunkline.text import quoted

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_DEFAULT = ("", "ai.onnx")
_SIZES = frozenset({"Shape", "Size"})
REARRANGING = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that rearrange a map, as into a sequence: what they give is no map any more, and what they read is."""
_SHOWN = 6
"""Ends that are named to the user, at most."""
_GUESSED_FROM = 20_000
"""Names a misspelt one is compared with, at most: comparing is slow."""


def cut_at(graph: onnx.GraphProto, features: Sequence[str], place: str) -> str:
    """Make the values called ``features`` the only outputs of ``graph``, and remove what they do not need.

    Args:
        graph: The graph of a file that nothing has been checked of yet.
        features: Names of values, or of nodes, whose first output is meant then.
        place: The file, for errors.

    Returns:
        What was done, for the user.

    Raises:
        InvalidModel: A name is no computed value's, or that of several nodes.
    """
    problems: list[Problem] = []
    names = [name for wanted in features for name in _value_named(graph, wanted, place, problems)]
    if problems:
        raise InvalidModel(problems)
    before = len(graph.node)
    _keep(graph, list(dict.fromkeys(names)))
    return f"cut at {', '.join(map(quoted, features))}: {before - len(graph.node)} of {before} nodes are left out"


def drop_unreadable(proto: onnx.ModelProto) -> str:
    """Leave out the nodes that cannot be read and all that depends on them, if no weights lie there.

    Returns:
        What was left out, for the user; empty where there is nothing, or where weights would be lost: such a
        file is refused later, with every reason.
    """
    opset = max((entry.version for entry in proto.opset_import if entry.domain in _DEFAULT), default=0)
    split = _split_at_unreadable(proto.graph, opset)
    if not split.left or not split.ends:
        return ""
    if any(_has_weights(node, split.computed) for node in split.left):
        return ""
    _keep(proto.graph, split.ends)
    return f"left out {len(split.left)} nodes from the first that cannot be read on: {', '.join(split.operators)}"


def readable_ends(graph: onnx.GraphProto, opset: int) -> list[str]:
    """Return the last values before what cannot be read, a few at most; none where the only input is no image."""
    # Advice to cut a network of text or sound would lead to the next error.
    stored = {tensor.name for tensor in graph.initializer}
    images = [value for value in graph.input if value.name not in stored]
    if len(images) != 1 or len(images[0].type.tensor_type.shape.dim) != 4:
        return []
    split = _split_at_unreadable(graph, opset)
    if not split.left:
        return []
    writers = {node.output[0]: node for node in graph.node if node.op_type in REARRANGING and node.output}
    ends = dict.fromkeys(_name_rearranged_from(name, writers) for name in split.ends)
    return [name for name in ends if name != images[0].name][:_SHOWN]


def _name_rearranged_from(name: str, writers: Mapping[str, onnx.NodeProto]) -> str:
    """Return what a value has been rearranged from: a map, where a sequence is made of it."""
    seen = {name}  # nothing of the file has been checked: its nodes may read each other in a circle
    while name in writers and writers[name].input and writers[name].input[0] not in seen:
        name = writers[name].input[0]
        seen.add(name)
    return name


class _UnreadableSplit(NamedTuple):
    """A graph parted where it stops to be readable.

    Attributes:
        left: The nodes to leave out: those that cannot be read, and those that depend on them.
        ends: The names of the outputs of what remains.
        operators: The operators that cannot be read.
        computed: The names of all values that depend on the image, readable or not.
    """

    left: list[onnx.NodeProto]
    ends: list[str]
    operators: list[str]
    computed: set[str]


def _split_at_unreadable(graph: onnx.GraphProto, opset: int) -> _UnreadableSplit:
    """Part ``graph`` at the first nodes, in topological order, that cannot be read at ``opset``."""
    images = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    computed, lost = set(images), set[str]()
    operators: dict[str, None] = {}
    left: list[onnx.NodeProto] = []
    for node in _in_order(graph):
        unreadable = _is_unreadable(node, computed, opset)
        if unreadable:
            operators[node.op_type] = None
        if unreadable or not lost.isdisjoint(_reads(node)):
            left.append(node)
            lost.update(node.output)
        elif node.op_type not in _SIZES and not computed.isdisjoint(_reads(node)):  # sizes are known while reading
            computed.update(node.output)
    ends = [value.name for value in graph.output if value.name in computed]
    ends += [name for node in left for name in _reads(node) if name in computed and name not in images]
    return _UnreadableSplit(left, list(dict.fromkeys(ends)), list(operators), computed | lost)


def _value_named(graph: onnx.GraphProto, wanted: str, place: str, problems: list[Problem]) -> Iterator[str]:
    """Yield the name of the value that ``wanted`` means, or add to ``problems`` why there is none."""
    if any(wanted == name for node in graph.node for name in node.output):
        yield wanted
        return
    nodes = [node for node in graph.node if node.name == wanted]
    if len(nodes) == 1 and nodes[0].output:
        yield nodes[0].output[0]
    elif nodes:
        values = ", ".join(name for node in islice(nodes, 5) for name in node.output)
        problems.append(Problem(f"{len(nodes)} nodes are called {quoted(wanted)}", place, f"name the value: {values}"))
    elif any(wanted == item.name for item in (*graph.input, *graph.initializer)):
        problems.append(Problem(f"{quoted(wanted)} is an input or weight, not computed", place, "name a node's output"))
    else:
        advice = did_you_mean(wanted, islice(_names(graph), _GUESSED_FROM)) or "`inspect` lists the nodes by name"
        problems.append(Problem(f"the network has no value or node {quoted(wanted)}", place, advice))


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from filter(None, (node.name, *node.output))


def _keep(graph: onnx.GraphProto, outputs: list[str]) -> None:
    """Remove every node and initializer that ``outputs`` do not need."""
    producer = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needed, kept, waiting = set[str](), set[int](), list(outputs)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        index = producer.get(name)
        if index is not None and index not in kept:
            kept.add(index)
            waiting += _reads(graph.node[index])
    known = {value.name: value for value in (*graph.value_info, *graph.output)}
    infos = [onnx.ValueInfoProto(name=name) for name in outputs]
    for info in infos:
        if info.name in known:
            info.CopyFrom(known[info.name])  # clearing the outputs would take what they hold with them
    _delete(graph.node, (index for index in range(len(graph.node)) if index not in kept))
    _delete(graph.initializer, (i for i, tensor in enumerate(graph.initializer) if tensor.name not in needed))
    del graph.output[:]
    graph.output.extend(infos)


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what a node reads, and what a graph inside it takes from outside."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for nested in inner.node:
                yield from _reads(nested)


def _delete(items: Any, indices: Iterable[int]) -> None:
    """Delete by runs, from the end: one by one would take quadratic time, and copying would take memory."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index:
            runs[-1][1] = index + 1
        else:
            runs.append([index, index + 1])
    for start, end in reversed(runs):
        del items[start:end]


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes so that each follows what it reads; those in a circle are left out (Kahn 1962)."""
    producer = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    missing: list[int] = []
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(graph.node):
        sources = {producer[name] for name in node.input if name in producer}
        missing.append(len(sources))
        for source in sources:
            readers.setdefault(source, []).append(index)
    ready = [index for index, count in enumerate(missing) if not count]
    for index in ready:  # grows while it is walked
        for reader in readers.get(index, ()):
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    return [graph.node[index] for index in ready]


def _is_unreadable(node: onnx.NodeProto, computed: set[str], opset: int) -> bool:
    """Whether the reader would refuse ``node``: an operator it lacks, or one for sizes only that reads pixels."""
    if why_unreadable(node, opset):
        # One readable branch is enough: it may be the one that is taken.
        return not is_fork(node) or bool(unreadable_in(node, opset))
    for_sizes = node.op_type in FOLDED and node.op_type not in SUPPORTED and node.op_type != "Cast"
    # Shape and Size read no pixels: they are folded, whatever their input is.
    return for_sizes and node.op_type not in _SIZES and not computed.isdisjoint(node.input)


def _has_weights(node: onnx.NodeProto, computed: set[str]) -> bool:
    """Whether ``node`` is a layer: a product of which one factor does not depend on the image."""
    return node.op_type in _WEIGHTED and not computed.issuperset(filter(None, node.input))
