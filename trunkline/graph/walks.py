"""Walk from a value to the nodes around it that do something to it, past those that only hand it on."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet

import onnx_ir as ir

from trunkline.graph.computed_weights import image_inputs_of


def before(value: ir.Value, operators: AbstractSet[str]) -> ir.Value:
    """Return the value that a chain of nodes of these operators makes ``value`` of; ``value`` itself where none does.

    The chain ends at a node that reads more than one value of the image: a PRelu whose slope is computed, for one.
    """
    producer = value.producer()
    while producer is not None and producer.op_type in operators:
        read = image_inputs_of(producer)
        if len(read) != 1:
            return value
        value = read[0]
        producer = value.producer()
    return value


def first_behind(
    value: ir.Value,
    is_wanted: Callable[[ir.Value], bool],
    reads_of: Callable[[ir.Node], list[ir.Value]] = image_inputs_of,
) -> list[ir.Value]:
    """Return the computed values that are wanted at which a walk back from ``value`` arrives first, in its order."""
    found: list[ir.Value] = []
    # Branches that part and meet again would be walked once for each way, which is exponential in a deep network.
    seen: set[ir.Value] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        producer = item.producer()
        if item in seen or producer is None:
            continue
        seen.add(item)
        if is_wanted(item):
            found.append(item)
        else:
            waiting += reads_of(producer)[::-1]
    return found


def first_readers(value: ir.Value, hands_on: Callable[[ir.Node], bool]) -> list[ir.Node]:
    """Return the nodes that read ``value``, directly or behind nodes that only hand it on."""
    found: list[ir.Node] = []
    seen: set[ir.Node] = set()
    waiting = list(value.consumers())
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if hands_on(node):
            waiting += [reader for output in node.outputs for reader in output.consumers()]
        else:
            found.append(node)
    return found
