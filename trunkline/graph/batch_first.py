"""Where a network stops to have its batch axis first, as text recognisers do that end in ``[T, N, C]``."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.graph.graph import data_inputs_of

_REARRANGING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_SHOWN = 6


def advice_to_cut(output: ir.Value) -> str:
    """Return what to do about an ``output`` whose batch axis is not first: where to cut the network instead."""
    names = [value.name or "" for value in dict.fromkeys(map(_map_behind, _last_batch_first(output)))]
    if not names:
        return "export the network with the batch axis first"
    return f"cut the network before the batch axis moves: --features {','.join(names[:_SHOWN])}"


def _last_batch_first(output: ir.Value) -> list[ir.Value]:
    """Return the computed values with the batch axis first at which a walk back from ``output`` arrives first."""
    found: list[ir.Value] = []
    seen: set[ir.Value] = set()
    waiting = [output]
    while waiting:
        value = waiting.pop()
        producer = value.producer()
        if value in seen or producer is None:
            continue
        seen.add(value)
        if _is_batch_first(value):
            found.append(value)
        else:
            waiting += data_inputs_of(producer)[::-1]
    return found


def _map_behind(value: ir.Value) -> ir.Value:
    """Return the value of four axes that ``value`` has been rearranged from, where there is one."""
    at, read = value, _only_read(value)
    while read is not None and len(at.shape or ()) != 4:
        at, read = read, _only_read(read)
    is_map = len(at.shape or ()) == 4 and _is_batch_first(at) and at.producer() is not None
    return at if is_map else value


def _only_read(value: ir.Value) -> ir.Value | None:
    node = value.producer()
    reads: Sequence[ir.Value] = [] if node is None or node.op_type not in _REARRANGING else data_inputs_of(node)
    return reads[0] if len(reads) == 1 else None


def _is_batch_first(value: ir.Value) -> bool:
    return bool(value.shape) and not isinstance((value.shape or [0])[0], int)
