"""Write a model as an ONNX file, its weights one at a time.

Protobuf would copy all weights into messages, and all messages into one piece of memory, before the first byte is
written. Here the messages are made without the large weights, which follow one by one: the file holds the same fields,
and takes no more memory than its largest weight.
"""

from __future__ import annotations

import sys
from typing import BinaryIO

import numpy as np
import onnx
import onnx_ir as ir

from trunkline.files.wire import head
from trunkline.graph.graph import name_of

LARGE_WEIGHT_BYTES = 2**16
"""Weights from this size on are written one by one; smaller ones stay in the messages, which cost little then."""

# Field numbers of onnx.proto.
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_RAW_DATA = 7, 5, 9


def write_model(model: ir.Model, file: BinaryIO) -> None:
    """Write ``model`` with its weights inside; equal models give equal bytes."""
    large = _large_weights(model.graph)
    heads = [_tensor_head(value) for value in large]
    shell = _without(model, large)
    graph = shell.graph.SerializeToString(deterministic=True)
    shell.ClearField("graph")
    # A length-delimited field needs its size first, so the graph's is added up before any weight is read.
    size = len(graph)
    for value, start in zip(large, heads, strict=True):
        inner = len(start) + _tensor(value).nbytes
        size += len(head(_GRAPH_INITIALIZER, inner)) + inner
    # Protobuf merges a repeated field wherever its items lie, so the large weights may follow the rest of the graph.
    file.write(shell.SerializeToString(deterministic=True) + head(_MODEL_GRAPH, size) + graph)
    for value, start in zip(large, heads, strict=True):
        file.write(head(_GRAPH_INITIALIZER, len(start) + _tensor(value).nbytes) + start)
        file.write(_content(value))


def _large_weights(graph: ir.Graph) -> list[ir.Value]:
    stored = graph.initializers.values()
    return [value for value in stored if value.const_value is not None and _tensor(value).nbytes >= LARGE_WEIGHT_BYTES]


def _without(model: ir.Model, large: list[ir.Value]) -> onnx.ModelProto:
    """Return the messages of ``model`` without these weights; the model is as it was afterwards."""
    stored = model.graph.initializers
    order = list(stored.values())
    for value in large:
        del stored[name_of(value)]
    shell = ir.to_proto(model)
    # All of them are taken out: one that is put back alone would go to the end.
    for name in list(stored):
        del stored[name]
    for value in order:
        stored.add(value)
    return shell


def _tensor_head(value: ir.Value) -> bytes:
    """Return a weight's message but for its numbers, which are the last field."""
    tensor = _tensor(value)
    sizes = [int(size) for size in tensor.shape.numpy()]
    start = onnx.TensorProto(dims=sizes, data_type=tensor.dtype.value, name=name_of(value))
    text: bytes = start.SerializeToString(deterministic=True)
    return text + head(_TENSOR_RAW_DATA, tensor.nbytes)


def _content(value: ir.Value) -> memoryview:
    """Return the numbers of a weight as ONNX stores them: little-endian, the last axis counting fastest."""
    tensor = _tensor(value)
    # A folded or transposed weight may be a view in another order.
    array = np.ascontiguousarray(tensor.numpy())
    if sys.byteorder == "big":
        array = array.byteswap()
    # Types below a byte are packed in ONNX, and a byte each in numpy: such a file would be corrupt.
    if array.nbytes != tensor.nbytes:
        raise ValueError(f"{name_of(value)}: {array.nbytes} bytes for a tensor of {tensor.nbytes}")
    return array.reshape(-1).view(np.uint8).data


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    assert value.const_value is not None
    return value.const_value
