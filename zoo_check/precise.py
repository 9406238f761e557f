"""What a file computes in float64, by ONNX's own reference implementation: neither onnxruntime's code nor ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from zoo_check.noise import Array


def in_float64(path: Path, batch: Array) -> list[Array]:
    """Return the outputs of the file at ``path`` for float32 images ``[N, C, H, W]`` that never meet, in float64."""
    model = onnx.load(path)
    widen(model)
    evaluator = ReferenceEvaluator(model)
    name = model.graph.input[0].name
    with np.errstate(all="ignore"):  # its Sigmoid computes both branches and takes one
        single = [evaluator.run(None, {name: image[None].astype(np.float64)}) for image in batch]
    return [np.concatenate(outputs) for outputs in zip(*single, strict=True)]


def widen(model: onnx.ModelProto) -> None:
    """Make every float32 of ``model`` a float64, in place."""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in (*model.graph.initializer, *_stored_in_nodes(model)):
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
            if node.op_type == "BatchNormalization" and attribute.name == "momentum":
                # Before opset 14 the reference implementation moves the stored statistics first, by 1 - momentum.
                attribute.f = 1.0


def _stored_in_nodes(model: onnx.ModelProto) -> Iterator[TensorProto]:
    for node in model.graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))
