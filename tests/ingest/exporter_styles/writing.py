"""How a style is written down: nodes from names, and a file of one image ``x``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx_models import tensor, weight

STYLES: dict[str, Callable[[], onnx.ModelProto]] = {}
"""What an exporter writes, by a name of it and of what is particular about it."""

FLOAT = TensorProto.FLOAT


def style(build: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    STYLES[build.__name__] = build
    return build


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node from names separated by blanks; ``-`` is an absent input."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), **attributes)


def file(
    nodes: Sequence[onnx.NodeProto],
    stored: Sequence[TensorProto] = (),
    *,
    shape: Sequence[int | str | None] = (1, 3, 8, 8),
    outputs: Sequence[str] = ("y",),
    opset: int = 11,
    ir_version: int = 7,
    producer: str = "",
    listed: bool = False,
    element: int = FLOAT,
) -> onnx.ModelProto:
    """A file of one image ``x``; ``listed`` repeats the weights among the inputs."""
    inputs = [helper.make_tensor_value_info("x", element, shape)]
    if listed:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in stored]
    graph = helper.make_graph(
        list(nodes), "net", inputs, [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs], list(stored)
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name=producer)


def ints(name: str, *content: int) -> TensorProto:
    return tensor(name, content)


def floats(name: str, *content: float) -> TensorProto:
    return tensor(name, content, np.float32)


def scalar(name: str, content: float) -> TensorProto:
    return tensor(name, content, np.float32)


def constant(name: str, content: Any, dtype: type = np.int64) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=tensor(name, content, dtype))


def norm(name: str, channels: int) -> list[TensorProto]:
    variance = tensor(f"{name}.var", np.linspace(0.5, 1.5, channels), np.float32)
    return [*(weight(f"{name}.{part}", channels) for part in ("scale", "bias", "mean")), variance]


def norm_inputs(name: str) -> str:
    return " ".join(f"{name}.{part}" for part in ("scale", "bias", "mean", "var"))
