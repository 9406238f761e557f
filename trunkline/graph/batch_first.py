"""Where a network stops to have its batch axis first, as text recognisers do that end in ``[T, N, C]``."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.graph import data_inputs_of
from trunkline.graph.walks import first_behind

_REARRANGING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_SHOWN = 6


def advice_to_cut(output: ir.Value) -> str:
    """Return what to do about an ``output`` whose batch axis is not first: where to cut the network instead."""
    # All inputs that are computed, whatever is known of their shapes: the graph has not passed its check yet.
    last = first_behind(output, _is_batch_first, data_inputs_of)
    names = [value.name or "" for value in dict.fromkeys(map(_four_axis_source, last))]
    if not names:
        return "export the network with the batch axis first"
    return f"cut the network before the batch axis moves: --features {','.join(names[:_SHOWN])}"


def _four_axis_source(value: ir.Value) -> ir.Value:
    """Return the value of four axes that ``value`` has been rearranged from, where there is one.

    A head needs a feature map, and a recogniser makes a sequence of its map before it moves the batch axis.
    """
    source, read = value, _only_read(value)
    while read is not None and len(source.shape or ()) != 4:
        source, read = read, _only_read(read)
    is_map = len(source.shape or ()) == 4 and _is_batch_first(source) and source.producer() is not None
    return source if is_map else value


def _only_read(value: ir.Value) -> ir.Value | None:
    """Return what ``value`` is a rearrangement of; ``None`` where its node does more than that."""
    node = value.producer()
    if node is None or node.op_type not in _REARRANGING:
        return None
    reads = data_inputs_of(node)
    return reads[0] if len(reads) == 1 else None


def _is_batch_first(value: ir.Value) -> bool:
    return bool(value.shape) and not isinstance((value.shape or [0])[0], int)
