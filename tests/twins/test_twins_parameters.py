"""Which initializers train: by who reads them, and where."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx_ir as ir
import pytest
from parameters import parameter_count

from trunkline.errors import InvalidModel
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.roles import is_parameter, role_of, roles_of


def vector(b: GraphBuilder, name: str, size: int = 4) -> ir.Value:
    return b.tensor(name, np.ones(size, np.float32))


@pytest.mark.golden
def test_roles() -> None:
    b = GraphBuilder("roles")
    x = b.image("x", (4, 8, 8))
    weight = b.weight("w", (4, 4, 1, 1), Filler())
    x = b.node("Conv", [x, weight], name="conv1")
    x = b.node("Conv", [x, weight, vector(b, "bias")], name="conv2")
    x = b.node("BatchNormalization", [x, *(vector(b, k) for k in ("scale", "shift", "mean", "var"))], name="bn")
    x = b.node(
        "Clip", [x, b.tensor("low", np.array(0, np.float32)), b.tensor("high", np.array(6, np.float32))], name="c"
    )
    x = b.node("Resize", [x, None, b.tensor("scales", np.array([1, 1, 2, 2], np.float32))], name="resize")
    x = b.node("Reshape", [x, b.tensor("shape", np.array([0, -1], np.int64))], name="reshape")
    graph = b.finish([x])
    roles = {name: role_of(value) for name, value in graph.initializers.items()}
    parameters = {name for name, role in roles.items() if role == "parameter"}
    assert parameters == {"w", "bias", "scale", "shift"}
    assert {name for name, role in roles.items() if role == "statistic"} == {"mean", "var"}
    assert parameter_count(graph) == 16 + 4 + 4 + 4
    assert is_parameter(weight) and roles_of(weight) == {"parameter": ["conv1", "conv2"]}


@pytest.mark.abuse
def test_initializer_with_two_roles_is_refused() -> None:
    b = GraphBuilder("merged")
    zeros, ones = vector(b, "zeros"), vector(b, "ones")
    x = b.node("BatchNormalization", [b.image("x", (4, 8, 8)), ones, zeros, zeros, ones], name="bn")
    graph = b.finish([x])
    with pytest.raises(InvalidModel, match="more than one role: it is a parameter of bn; a statistic of bn"):
        role_of(graph.initializers["zeros"])


@pytest.mark.abuse
def test_computed_value_has_no_role() -> None:
    b = GraphBuilder("computed")
    with pytest.raises(ValueError, match="not an initializer"):
        role_of(b.node("Relu", [b.image("x", (1, 2, 2))], name="relu"))


@pytest.mark.properties
def test_parameters_do_not_import_torch() -> None:
    code = "import sys, trunkline.graph.roles; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
