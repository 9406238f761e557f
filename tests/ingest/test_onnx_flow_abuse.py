"""Abuse: functions and control flow inside an ONNX file are bounded, checked, and refused where they do not fold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.ingest.onnx_file.reader import read_onnx

pytestmark = pytest.mark.abuse


def branch(depth: int = 0) -> onnx.GraphProto:
    """A branch that gives one number, below ``depth`` more conditions."""
    output = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    if depth == 0:
        return helper.make_graph([helper.make_node("Constant", [], ["o"], value_float=1.0)], "g", [], [output])
    inner = branch(depth - 1)
    return helper.make_graph(
        [helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner)], "g", [], [output]
    )


def fork_on_pixels(then: onnx.GraphProto, other: onnx.GraphProto) -> onnx.ModelProto:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["i"], name="fork", then_branch=then, else_branch=other),
        helper.make_node("Add", ["x", "i"], ["y"]),
    ]
    return model(nodes, initializers=[tensor("zero", 0, np.float32)])


@pytest.mark.parametrize("depth", [0, 7])
def test_a_condition_on_pixels_is_refused(depth: int, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOp, match="computed from the image") as caught:
        read_onnx(save(fork_on_pixels(branch(depth), branch(depth)), tmp_path))
    assert caught.value.problems[0].place == "fork"


def test_stored_condition_folds_at_any_depth(tmp_path: Path) -> None:
    """A condition that is stored is folded at any depth of branches."""
    nodes = [
        helper.make_node("If", ["c"], ["i"], then_branch=branch(7), else_branch=branch(7)),
        helper.make_node("Add", ["x", "i"], ["y"]),
    ]
    graph = read_onnx(save(model(nodes, initializers=[tensor("c", True, np.bool_)]), tmp_path))
    assert [node.op_type for node in graph.nodes] == ["Add"]
    x = image(2, 3, 8, 8)
    np.testing.assert_array_equal(run(to_proto(graph), x)["y"], x + 1)


def test_unreadable_branches_are_refused(tmp_path: Path) -> None:
    """An operator that both branches hold is refused by name."""
    output = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    recurrent = helper.make_graph([helper.make_node("LSTM", ["x", "x", "x"], ["o"], name="memory")], "g", [], [output])
    with pytest.raises(UnsupportedOp, match="LSTM") as caught:
        read_onnx(save(fork_on_pixels(recurrent, recurrent), tmp_path))
    assert caught.value.problems[0].place == "memory"


def test_unreadable_taken_branch_is_refused(tmp_path: Path) -> None:
    """An operator that only the taken branch holds is refused by name."""
    output = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    node = helper.make_node("RandomNormalLike", ["x"], ["o"], name="dice")
    nodes = [
        helper.make_node("If", ["c"], ["i"], then_branch=helper.make_graph([node], "g", [], [output]),
                         else_branch=branch()),
        helper.make_node("Add", ["x", "i"], ["y"]),
    ]  # fmt: skip
    with pytest.raises(UnsupportedOp, match="RandomNormalLike") as caught:
        read_onnx(save(model(nodes, initializers=[tensor("c", True, np.bool_)]), tmp_path))
    assert caught.value.problems[0].place == "dice"


def _external(graph: onnx.GraphProto) -> None:
    stored = graph.initializer.add(name="w", dims=[1], data_type=TensorProto.FLOAT)
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value="/etc/passwd")


BAD: dict[str, tuple[Callable[[onnx.GraphProto], Any], str]] = {
    "external weights": (_external, "external weights"),
    "an input": (lambda g: g.input.add(name="x"), "a branch with inputs"),
    "two outputs": (lambda g: g.output.add(name="o"), "2 outputs, not 1"),
    "an unknown output": (lambda g: setattr(g.output[0], "name", "p"), 'gives "p"'),
    "an unknown name": (lambda g: g.node.add(op_type="Relu", input=["q"], output=["r"]), 'reads "q"'),
    "a name twice": (lambda g: g.node.append(g.node[0]), "defines a name twice"),
    "a huge weight": (lambda g: g.initializer.add(name="w", dims=[2**40], data_type=1), "more than"),
    "an unknown attribute": (lambda g: g.node[0].attribute.add(name="bogus", type=2, i=1), "bogus"),
}


@pytest.mark.parametrize("name", BAD)
def test_branches_are_checked_like_the_graph(name: str, tmp_path: Path) -> None:
    damage, word = BAD[name]
    bad = branch()
    damage(bad)
    with pytest.raises(InvalidModel, match=word):
        read_onnx(save(fork_on_pixels(branch(), bad), tmp_path))


def calling(*bodies: list[onnx.NodeProto]) -> onnx.ModelProto:
    """A file that calls its function ``f0``; the others are ``f1``, ``f2``…"""
    proto = model([helper.make_node("f0", ["x"], ["y"], domain="own")])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    for number, body in enumerate(bodies):
        proto.functions.append(helper.make_function("own", f"f{number}", ["a"], ["b"], body, opsets))
    proto.opset_import.append(helper.make_opsetid("own", 1))
    return proto


def call(number: int, source: str, target: str) -> onnx.NodeProto:
    return helper.make_node(f"f{number}", [source], [target], domain="own")


def doubling(count: int, last: list[onnx.NodeProto]) -> onnx.ModelProto:
    """``count`` functions that each call the next one twice."""
    return calling(*([call(k + 1, "a", "m"), call(k + 1, "m", "b")] for k in range(count)), last)


RELU = [helper.make_node("Relu", ["a"], ["b"])]


def test_functions_that_grow_without_bounds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"1,073,741,824 nodes(.|\n)*--allow nodes=1073741824"):
        read_onnx(save(doubling(30, RELU), tmp_path))
    large = helper.make_node("Constant", [], ["c"], value=weight("c", 64, 1024))
    with pytest.raises(InvalidModel, match="copied for each call"):
        read_onnx(save(doubling(10, [large, helper.make_node("Add", ["a", "c"], ["b"])]), tmp_path))
    assert len(read_onnx(save(doubling(10, RELU), tmp_path)).nodes) == 1024


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    deep = [[call(k + 1, "a", "b")] for k in range(150)]
    for bodies in ([[call(0, "a", "b")]], [[call(1, "a", "b")], [call(0, "a", "b")]], [*deep, RELU]):
        with pytest.raises(InvalidModel, match="in a circle, or deeper than 100"):
            read_onnx(save(calling(*bodies), tmp_path))


def test_function_of_another_opset_is_refused(tmp_path: Path) -> None:
    """A function of another opset than the file's is refused by name."""
    proto = calling(RELU)
    proto.functions[0].opset_import[0].version = 17
    with pytest.raises(UnsupportedOp) as caught:
        read_onnx(save(proto, tmp_path))
    assert caught.value.problems[0].place == "f0"


@pytest.mark.parametrize(
    ("odd", "word"),
    [
        (helper.make_node("Cast", ["z"], ["k"], to=0), "impossible"),
        (helper.make_node("Constant", [], ["k"]), "a Constant with 0 attributes"),
    ],
    ids=["cast to nothing", "constant without content"],
)
def test_findings_of_fuzzing(odd: onnx.NodeProto, word: str, tmp_path: Path) -> None:
    proto = model([odd, helper.make_node("Mul", ["x", "k"], ["y"])], initializers=[tensor("z", 2)])
    with pytest.raises(InvalidModel, match=word):
        read_onnx(save(proto, tmp_path))
