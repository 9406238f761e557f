"""Sizes that a file computes, by whatever operator, are numbers once it is read; what it does with them is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from corpus_files import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Graph, shape_of
from trunkline.ingest.onnx_file.passes import fold_constants
from trunkline.ingest.read import read

node = helper.make_node


def check(path: Path, batches: tuple[int, ...] = (1, 3)) -> Graph:
    graph = read(path)
    for batch in batches:
        x = image(batch, *[size or 0 for size in shape_of(graph.input)[1:]])
        assert_close(run(to_proto(graph), x), run(onnx.load(path), x))
    return graph


def operators(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pad_sizes_through_clip", ["Pad", "Conv"]),
        ("unflatten_last_axis", ["Conv", "Reshape", "ReduceMean"]),
        ("split_many_outputs", ["Split", "Concat", "Conv"]),
        ("split_few_outputs_control", ["Split", "Concat", "Conv"]),
        ("adaptive_pool_gathernd", ["Conv", "Transpose", "GatherND", "Transpose", "ReduceMean"]),
    ],
)
def test_files_of_real_exporters_are_read(name: str, expected: list[str]) -> None:
    assert operators(check(zoo(name))) == expected


FLOATS: dict[str, Any] = {
    **{op: {} for op in ("Abs", "Ceil", "Floor", "Identity", "Neg", "Relu", "Round", "Sign")},
    "Clip": {"bounds": ("low", "high")},
    "Elu": {},
    "HardSigmoid": {},
    "ThresholdedRelu": {"alpha": 2.0},
}
PAIRS = ("Add", "Sub", "Mul", "Max", "Min", "Mean", "Sum", "Mod")
"""Of opset 18, on floats; an odd one out here is what one exporter or other computes its sizes with."""


@st.composite
def arithmetic(draw: st.DrawFn) -> list[onnx.NodeProto]:
    """Nodes from the image's size to the number ``s``, all on floats."""
    nodes, known = [], ["size", "three"]
    for index in range(draw(st.integers(1, 6))):
        name = f"v{index}"
        if draw(st.booleans()):
            op = draw(st.sampled_from(sorted(FLOATS)))
            attributes = dict(FLOATS[op])
            bounds = attributes.pop("bounds", ())
            nodes.append(node(op, [draw(st.sampled_from(known)), *bounds], [name], **attributes))
        else:
            op, pair = draw(st.sampled_from(PAIRS)), [draw(st.sampled_from(known)) for _ in range(2)]
            nodes.append(node(op, pair, [name], **({"fmod": 1} if op == "Mod" else {})))
        known.append(name)
    return [*nodes, node("Identity", [known[-1]], ["s"])]


@pytest.mark.properties
@settings(max_examples=40, deadline=None)
@given(steps=arithmetic())
def test_any_arithmetic_on_sizes_is_folded(steps: list[onnx.NodeProto], tmp_path_factory: Any) -> None:
    """The number is made a size of 0 to 3 pixels, by which the image is padded."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "two"], ["height"]),
        node("Cast", ["height"], ["size"], to=1),
        *steps,
        node("Clip", ["s", "low", "high"], ["bounded"]),
        node("Cast", ["bounded"], ["whole"], to=7),
        node("Reshape", ["whole", "one"], ["pad"]),
        node("Concat", [*["zero"] * 3, "pad", *["zero"] * 4], ["pads"], axis=0),
        node("Pad", ["x", "pads"], ["y"]),
    ]
    stored = [tensor("two", 2), tensor("one", [1]), tensor("zero", [0]), tensor("three", 3, np.float32)]
    stored += [tensor("low", 0, np.float32), tensor("high", 3, np.float32)]
    folder = tmp_path_factory.mktemp("sizes")
    proto = model(nodes, initializers=stored)
    try:
        expected = run(proto, image(2, 3, 8, 8))
    except Exception:  # a remainder by 0 and the like: what the runtime cannot say need not be read
        return
    try:
        graph = read(save(proto, folder))
    except InvalidModel as error:
        assert "of constants cannot be computed" in str(error)
        return
    assert operators(graph) == ["Pad"]
    assert_close(run(to_proto(graph), image(2, 3, 8, 8)), expected)


@pytest.mark.parity
def test_sizes_out_of_several_outputs(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["shape"], start=2),
        node("Split", ["shape"], ["h", "w"], num_outputs=2),
        node("Concat", ["keep", "w", "h"], ["sizes"], axis=0),
        node("Reshape", ["x", "sizes"], ["y"]),
    ]
    proto = model(nodes, initializers=[tensor("keep", [0, 0])], shape=("n", 3, 4, 6))
    assert shape_of(check(save(proto, tmp_path)).outputs[0]) == (None, 3, 6, 4)


@pytest.mark.parity
@pytest.mark.parametrize("op", ["Resize", "MaxPool", "GatherElements"])
def test_sizes_by_elementwise_operators(op: str, tmp_path: Path) -> None:
    """None of them is made for sizes; all of them have been seen to compute some."""
    steps = {
        "Resize": [node("Resize", ["row", "", "twice"], ["found"], mode="nearest", nearest_mode="floor")],
        "MaxPool": [node("MaxPool", ["row"], ["found"], kernel_shape=[2])],
        "GatherElements": [node("GatherElements", ["row", "index"], ["found"], axis=2)],
    }[op]
    nodes = [
        node("Shape", ["x"], ["shape"], start=2),
        node("Cast", ["shape"], ["float"], to=1),
        node("Reshape", ["float", "as_row"], ["row"]),
        *steps,
        node("Cast", ["found"], ["whole"], to=7),
        node("Reshape", ["whole", "flat"], ["list"]),
        node("Slice", ["list", "zero", "one"], ["first"]),
        node("Slice", ["x", "zero", "first", "axis"], ["y"]),
    ]
    stored = [tensor("as_row", [1, 1, 2]), tensor("flat", [-1]), tensor("zero", [0]), tensor("one", [1])]
    stored += [tensor("axis", [3]), tensor("twice", [1, 1, 2], np.float32), tensor("index", [[[1]]])]
    check(save(model(nodes, initializers=stored, shape=("n", 3, 4, 9)), tmp_path))


@pytest.mark.parity
def test_slow_arithmetic_is_left_to_the_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant map that is resized is no setting: it may stay a node, and is not computed number by number."""
    nodes = [node("Resize", ["c", "", "twice"], ["big"], mode="linear"), node("Add", ["x", "big"], ["y"])]
    stored = [weight("c", 1, 3, 4, 4), tensor("twice", [1, 1, 2, 2], np.float32)]
    monkeypatch.setattr(fold_constants, "evaluate", lambda node: pytest.fail(f"computed {node.op_type}"))
    assert operators(check(save(model(nodes, initializers=stored), tmp_path))) == ["Resize", "Add"]


@pytest.mark.abuse
def test_too_much_slow_arithmetic_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More slow arithmetic than is allowed is refused where its result is needed."""
    monkeypatch.setattr(fold_constants, "_SLOW_ELEMENTS", 100)
    nodes = [
        node("MaxPool", ["c"], ["m"], kernel_shape=[1]),
        node("Cast", ["m"], ["whole"], to=7),
        node("Reshape", ["whole", "flat"], ["sizes"]),
        node("Slice", ["sizes", "zero", "four"], ["few"]),
        node("Reshape", ["x", "few"], ["y"]),
    ]
    stored = [tensor("c", np.ones((1, 1, 99)), np.float32), tensor("flat", [-1]), tensor("zero", [0])]
    with pytest.raises(InvalidModel, match="not known|computed from the image"):
        read(save(model(nodes, initializers=[*stored, tensor("four", [4])]), tmp_path))


@pytest.mark.abuse
def test_empty_part_of_image_is_refused(tmp_path: Path) -> None:
    """An empty part of the image is refused."""
    nodes = [node("Slice", ["x", "start", "end", "axis"], ["y"])]
    stored = [tensor("start", [9]), tensor("end", [12]), tensor("axis", [2])]
    with pytest.raises(InvalidModel, match="is empty"):
        read(save(model(nodes, initializers=stored), tmp_path))


@pytest.mark.abuse
def test_gather_along_the_batch_is_refused(tmp_path: Path) -> None:
    """Control for the pooling above: there the places are rows and columns, here the first axis is named too."""
    nodes = [node("GatherND", ["x", "places"], ["y"])]
    with pytest.raises(InvalidModel, match="mixes the images"):
        read(save(model(nodes, initializers=[tensor("places", np.zeros((97, 1)))]), tmp_path))


@pytest.mark.parity
def test_slices_that_cut_nothing_go(tmp_path: Path) -> None:
    """And one that takes out of a Concat what was put in; the last takes parts of two, and stays."""
    nodes = [
        node("Slice", ["x", "zero", "end", "batch"], ["a"]),
        node("Relu", ["x"], ["r"]),
        node("Concat", ["a", "r"], ["c"], axis=1),
        node("Slice", ["c", "three", "six", "axis"], ["b"]),
        node("Neg", ["b"], ["n"]),
        node("Slice", ["c", "two", "five", "axis"], ["p"]),
        node("Add", ["n", "p"], ["y"]),
    ]
    stored = [tensor(name, [number]) for name, number in [("zero", 0), ("end", 2**63 - 1), ("batch", 0), ("axis", 1)]]
    stored += [tensor(name, [number]) for name, number in [("two", 2), ("three", 3), ("five", 5), ("six", 6)]]
    graph = check(save(model(nodes, initializers=stored), tmp_path))
    assert operators(graph) == ["Relu", "Concat", "Neg", "Slice", "Add"]


@pytest.mark.parity
def test_idle_slice_as_output_keeps_its_name(tmp_path: Path) -> None:
    """An output that is made by a Slice that cuts nothing keeps its name."""
    nodes = [node("Relu", ["x"], ["r"]), node("Slice", ["r", "zero", "end", "axis"], ["y"])]
    stored = [tensor("zero", [0]), tensor("end", [8]), tensor("axis", [2])]
    graph = check(save(model(nodes, initializers=stored), tmp_path))
    assert operators(graph) == ["Relu"]
    assert [value.name for value in graph.outputs] == ["y"]
