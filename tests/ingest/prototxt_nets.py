"""Nets of one prototxt layer, and what they compute, for the parity tests of the layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from parameters import parameter_count

from trunkline.graph.fillers import FILLER_KEY
from trunkline.graph.graph import Graph, array_of
from trunkline.graph.roles import role_of
from trunkline.graph.verify import verify
from trunkline.ingest.prototxt import parse_prototxt

Array = np.ndarray[Any, np.dtype[Any]]


def net(body: str, shape: tuple[int, ...] = (3, 4, 5), before: str = "") -> Graph:
    """Return the Graph of the layer "l", which reads "x" unless ``body`` names its bottoms, after other layers."""
    channels, height, width = shape
    bottom = "" if "bottom:" in body else 'bottom: "x" '
    top = "" if "top:" in body else 'top: "y" '
    text = f'input: "x" input_shape {{ dim: 1 dim: {channels} dim: {height} dim: {width} }}\n{before}\n'
    return verify(parse_prototxt(f'{text}layer {{ name: "l" {bottom}{top}{body} }}'))


def randomised(graph: Graph, seed: int = 1) -> dict[str, Array]:
    """Give every weight and statistic random content; return all stored content by name, in float64."""
    rng = np.random.default_rng(seed)
    for name, value in graph.initializers.items():
        if role_of(value) != "static":
            content = rng.normal(size=tuple(value.shape)).astype(np.float32)
            value.metadata_props.pop(FILLER_KEY, None)
            value.const_value = ir.Tensor(np.abs(content) + 0.5 if name.endswith(".var") else content, name=name)
    return {name: array_of(value).astype(np.float64) for name, value in graph.initializers.items()}


def image(shape: tuple[int, ...] = (3, 4, 5), *, positive: bool = False, seed: int = 2) -> Array:
    """Return two random images."""
    x = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    return np.abs(x) + np.float32(0.25) if positive else x


def evaluate(graph: Graph, x: Array) -> list[Array]:
    """Return what onnxruntime computes."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    content = ir.serde.serialize_model(graph.model).SerializeToString()
    return list(ort.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {graph.input.name: x}))


def trainable(graph: Graph) -> int:
    """Return the number of trainable numbers."""
    return parameter_count(graph)


def per_channel(values: Array) -> Array:
    """Return ``[C]`` as ``[1, C, 1, 1]``."""
    return values.reshape(1, -1, 1, 1)


def assert_close(found: Array, expected: Array, rtol: float = 2e-5, atol: float = 2e-6) -> None:
    """Compare values and shapes."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)
