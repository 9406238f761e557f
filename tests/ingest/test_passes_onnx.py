"""What each normalising pass does to a file, and that it still computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import SOURCE_KEY, Graph, array_of, attribute, shape_of
from trunkline.ingest.read import read

node = helper.make_node


def check(proto: onnx.ModelProto, folder: Path, *, batches: tuple[int, ...] = (1, 2)) -> Graph:
    """Read ``proto`` and compare it with onnxruntime's own reading for several batch sizes."""
    graph = read(save(proto, folder))
    ours = to_proto(graph)
    onnx.checker.check_model(ours, full_check=True)
    for batch in batches:
        x = image(batch, *[size or 1 for size in shape_of(graph.input)[1:]])
        assert_close(run(ours, x), run(proto, x))
    return graph


def operators(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def sizes_of(graph: Graph, name: str) -> list[int]:
    value = graph.node(name).inputs[1]
    assert value is not None
    return [int(size) for size in array_of(value)]


@pytest.mark.golden
def test_constants_of_every_form_become_initializers(tmp_path: Path) -> None:
    forms: dict[str, Any] = {
        "t": {"value": weight("t", 1, 3, 1, 1)},
        "f": {"value_float": 0.5},
        "fs": {"value_floats": [0.1] * 8},
    }
    nodes = [node("Constant", [], [name], **form) for name, form in forms.items()]
    nodes += [node("Constant", [], ["axes"], value_ints=[2]), node("Constant", [], ["index"], value_int=1)]
    nodes += [node("Add", ["x", "t"], ["a"]), node("Mul", ["a", "f"], ["b"]), node("Sub", ["b", "fs"], ["c"])]
    nodes += [node("ReduceMean", ["c", "axes"], ["y"], keepdims=1)]
    graph = check(model(nodes), tmp_path)
    assert operators(graph) == ["Add", "Mul", "Sub", "ReduceMean"]
    assert set(graph.initializers) == {"t", "f", "fs", "axes"}


@pytest.mark.golden
def test_names_are_kept_completed_and_made_unique(tmp_path: Path) -> None:
    nodes = [
        node("Relu", ["x"], ["a"], name="same"),
        node("Relu", ["a"], ["b"], name="same"),
        node("Relu", ["b"], ["c"]),
        node("Relu", ["c"], ["y"], name="b"),
    ]
    first = read(save(model(nodes), tmp_path))
    names = [n.name for n in first.nodes]
    assert names[0] == "same"
    assert names[3] == "b"
    assert names[2] == "c"
    assert len(set(names)) == 4
    assert [n.outputs[0].name for n in first.nodes] == ["a", "b", "c", "y"]
    assert names == [n.name for n in read(save(model(nodes), tmp_path)).nodes]
    assert first.nodes[0].metadata_props[SOURCE_KEY] == "net.onnx:same"


@pytest.mark.golden
def test_reading_what_was_written_changes_nothing(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"], auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Resize", ["c", "", "", "sizes"], ["r"]),
        node("Reshape", ["r", "s"], ["y"]),
    ]
    stored = [weight("w", 4, 3, 3, 3), tensor("sizes", [1, 4, 7, 9]), tensor("s", [1, -1])]
    first = check(model(nodes, initializers=stored, shape=(1, 3, 8, 8)), tmp_path, batches=(1,))
    again = read(save(to_proto(first), tmp_path, "again.onnx"))
    assert to_proto(again).SerializeToString() == to_proto(first).SerializeToString()


@pytest.mark.golden
@pytest.mark.parametrize(
    ("op", "outputs", "attributes"),
    [("Dropout", ["y", "mask"], {})],
)
def test_optional_outputs_go_unless_they_are_read(
    op: str, outputs: list[str], attributes: dict[str, Any], tmp_path: Path
) -> None:
    graph = check(model([node(op, ["x"], outputs, **attributes)]), tmp_path)
    assert len(graph.nodes[0].outputs) == 1
    with pytest.raises(UnsupportedOp, match="cannot be read by other nodes"):
        read(save(model([node(op, ["x"], outputs, **attributes)], outputs=outputs), tmp_path))


@pytest.mark.golden
def test_unused_batch_norm_statistics_go(tmp_path: Path) -> None:
    """The statistics that an old BatchNormalization gives, and nothing reads, are dropped."""
    stored = [weight("s", 3), weight("b", 3), weight("m", 3), tensor("v", [1, 2, 3], np.float32)]
    names = ["x", "s", "b", "m", "v"]
    five = model([node("BatchNormalization", names, ["y", "o1", "o2", "o3", "o4"])], initializers=stored, opset=9)
    one = model([node("BatchNormalization", names, ["y"])], initializers=stored, opset=9)
    graph = read(save(five, tmp_path))
    x = image(2, 3, 8, 8)
    assert_close(run(to_proto(graph), x), run(one, x))
    assert {name: attribute(graph.nodes[0], name) for name in ("training_mode", "momentum")} == {
        "training_mode": 0,
        "momentum": pytest.approx(0.9),
    }


def flatten_by_shape() -> list[onnx.NodeProto]:
    """What exporters write for ``x.view(x.size(0), -1)``."""
    return [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"], axis=0),
        node("Unsqueeze", ["batch", "zeros"], ["batch1"]),
        node("Concat", ["batch1", "minus"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["y"], name="flatten"),
    ]


@pytest.mark.golden
@pytest.mark.parametrize("batch", [1, 4, "batch", None])
def test_shape_arithmetic_keeps_the_batch_free(batch: Any, tmp_path: Path) -> None:
    """Arithmetic on shapes is folded and leaves the batch free."""
    stored = [tensor("zero", 0), tensor("zeros", [0]), tensor("minus", [-1])]
    proto = model(flatten_by_shape(), initializers=stored, shape=(batch, 3, 8, 8))
    graph = check(proto, tmp_path, batches=(1, 2) if not isinstance(batch, int) else (batch,))
    assert operators(graph) == ["Reshape"]
    assert sizes_of(graph, "flatten") == [0, -1]
    assert shape_of(graph.outputs[0]) == (None, 192)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("target", "batch", "expected"),
    [
        ([1, 192], 1, [0, 192]),
        ([1, -1], 1, [0, -1]),
        ([-1, 192], 1, [0, 192]),
        ([4, 3, 64], 4, [0, 3, 64]),
        ([1, 1, 192], 1, [0, 1, 192]),
        ([0, -1], 1, [0, -1]),
        ([0, 0, 64], "b", [0, 0, 64]),
        ([-1, 192], "b", [0, 192]),
    ],
)
def test_batch_size_in_reshape_is_freed(target: list[int], batch: Any, expected: list[int], tmp_path: Path) -> None:
    """A batch size that a Reshape names is freed."""
    proto = model(
        [node("Reshape", ["x", "s"], ["y"], name="r")], initializers=[tensor("s", target)], shape=(batch, 3, 8, 8)
    )
    graph = check(proto, tmp_path, batches=(batch,) if isinstance(batch, int) else (1, 3))
    assert sizes_of(graph, "r") == expected
    x = image(5, 3, 8, 8)
    np.testing.assert_array_equal(run(to_proto(graph), x)["y"].reshape(-1), x.reshape(-1))


@pytest.mark.golden
@pytest.mark.parametrize("batch", [2, "b"])
def test_reshape_zero_becomes_batch(batch: Any, tmp_path: Path) -> None:
    """Newer exporters set allowzero on every Reshape, and name all sizes."""
    nodes = [node("Reshape", ["x", "s"], ["y"], name="r", allowzero=1)]
    target = [2, 192] if batch == 2 else [-1, 192]
    graph = check(model(nodes, initializers=[tensor("s", target)], shape=(batch, 3, 8, 8)), tmp_path, batches=(2,))
    assert sizes_of(graph, "r") == [0, 192]
    assert attribute(graph.node("r"), "allowzero") == 0


@pytest.mark.golden
def test_batch_through_a_transpose(tmp_path: Path) -> None:
    """The batch axis is followed through a Transpose."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2, 3]),
        node("Reshape", ["t", "s"], ["r"], name="r"),
        node("Transpose", ["r"], ["y"], perm=[1, 0, 2]),
    ]
    graph = check(model(nodes, initializers=[tensor("s", [3, 1, 64])], shape=(1, 3, 8, 8)), tmp_path, batches=(1,))
    assert sizes_of(graph, "r") == [3, 0, 64]
    x = image(4, 3, 8, 8)
    np.testing.assert_array_equal(run(to_proto(graph), x)["y"], x.reshape(4, 3, 64))


@pytest.mark.golden
def test_channel_shuffle_of_a_fixed_batch(tmp_path: Path) -> None:
    """A channel shuffle of a fixed batch works for any batch."""
    nodes = [
        node("Reshape", ["x", "split"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["b", "join"], ["y"]),
    ]
    stored = [tensor("split", [1, 2, 3, 4, 4]), tensor("join", [1, 6, 4, 4])]
    graph = check(model(nodes, initializers=stored, shape=(1, 6, 4, 4)), tmp_path, batches=(1,))
    x = image(3, 6, 4, 4)
    expected = x.reshape(3, 2, 3, 4, 4).transpose(0, 2, 1, 3, 4).reshape(3, 6, 4, 4)
    np.testing.assert_array_equal(run(to_proto(graph), x)["y"], expected)


MIXING: dict[str, tuple[list[onnx.NodeProto], list[onnx.TensorProto]]] = {
    "merge": ([node("Reshape", ["x", "s"], ["y"], name="bad")], [tensor("s", [-1, 64])]),
    "mean": ([node("ReduceMean", ["x", "s"], ["y"], name="bad")], [tensor("s", [0])]),
    "concat": ([node("Concat", ["x", "x"], ["y"], axis=0, name="bad")], []),
    "squeeze": ([node("Squeeze", ["x", "s"], ["y"], name="bad")], [tensor("s", [0])]),
    "flatten later": ([node("Flatten", ["x"], ["y"], axis=2, name="bad")], []),
    "pad": ([node("Pad", ["x", "s"], ["y"], name="bad")], [tensor("s", [1, 0, 0, 0, 0, 0, 0, 0])]),
    "resize": ([node("Resize", ["x", "", "s"], ["y"], name="bad")], [tensor("s", [2, 1, 1, 1], np.float32)]),
}


@pytest.mark.abuse
@pytest.mark.parametrize("name", MIXING)
def test_mixing_images_is_refused(name: str, tmp_path: Path) -> None:
    """What mixes the images of a batch is refused."""
    nodes, stored = MIXING[name]
    with pytest.raises(InvalidModel) as caught:
        read(save(model(nodes, initializers=stored, shape=(1, 3, 8, 8)), tmp_path))
    assert caught.value.problems[0].place.endswith(": bad")


ONE_OR_MANY: dict[str, tuple[list[onnx.NodeProto], list[onnx.TensorProto]]] = {
    "flatten": ([node("Flatten", ["x"], ["y"], axis=0, name="bad")], []),
    "slice": ([node("Slice", ["x", "s", "e", "s"], ["y"], name="bad")], [tensor("s", [0]), tensor("e", [1])]),
}


@pytest.mark.abuse
@pytest.mark.parametrize("name", ONE_OR_MANY)
def test_what_mixes_many_images_and_not_one(name: str, tmp_path: Path) -> None:
    """A file for one image is taken for each by itself; in one for many, the same node mixes them."""
    nodes, stored = ONE_OR_MANY[name]
    with pytest.raises(InvalidModel) as caught:
        read(save(model(nodes, initializers=stored, shape=("N", 3, 8, 8)), tmp_path))
    assert caught.value.problems[0].place.endswith(": bad")
    alone = model(nodes, initializers=stored, shape=(1, 3, 8, 8))
    graph, x = read(save(alone, tmp_path)), image(2, 3, 8, 8)
    expected = np.concatenate([run(alone, x[:1])["y"], run(alone, x[1:])["y"]])
    np.testing.assert_array_equal(run(to_proto(graph), x)["y"], expected)


@pytest.mark.abuse
def test_constant_for_each_image_is_refused(tmp_path: Path) -> None:
    """A constant that differs for each image of the batch is refused."""
    proto = model(
        [node("Add", ["x", "w"], ["y"], name="bad")], initializers=[weight("w", 4, 3, 1, 1)], shape=(4, 3, 8, 8)
    )
    with pytest.raises(InvalidModel, match="bad"):
        read(save(proto, tmp_path))


@pytest.mark.golden
def test_identities_go_and_outputs_keep_their_names(tmp_path: Path) -> None:
    nodes = [
        node("Identity", ["x"], ["a"]),
        node("Relu", ["a"], ["b"], name="relu"),
        node("Identity", ["b"], ["y"]),
        node("Cast", ["b"], ["c"], to=1),
        node("Sum", ["c"], ["d"]),
        node("Sigmoid", ["d"], ["z"]),
    ]
    graph = check(model(nodes, outputs=("y", "z")), tmp_path)
    assert operators(graph) == ["Relu", "Sigmoid"]
    assert graph.node("relu").outputs[0].name == "y"


@pytest.mark.golden
def test_identity_that_names_an_output_twice(tmp_path: Path) -> None:
    """An Identity that gives an output a second name stays."""
    nodes = [node("Relu", ["x"], ["y"]), node("Identity", ["y"], ["z"])]
    assert operators(check(model(nodes, outputs=("y", "z")), tmp_path)) == ["Relu", "Identity"]
    only = model([node("Identity", ["x"], ["y"])])
    assert operators(check(only, tmp_path)) == ["Identity"]


@pytest.mark.golden
def test_weight_shared_through_identities(tmp_path: Path) -> None:
    """A weight that is shared through Identity nodes is one initializer."""
    nodes = [
        node("Identity", ["w"], ["w2"]),
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Conv", ["a", "w2"], ["y"]),
    ]
    graph = check(model(nodes, initializers=[weight("w", 3, 3, 3, 3)]), tmp_path)
    assert set(graph.initializers) == {"w"}
    assert len(graph.initializers["w"].uses()) == 2


@pytest.mark.golden
def test_equal_views_fold_to_one_initializer(tmp_path: Path) -> None:
    """Equal views of a weight are one initializer, under the weight's name."""
    nodes = [
        node("Unsqueeze", ["w", "a1"], ["v1"]),
        node("Mul", ["x", "v1"], ["m"]),
        node("Unsqueeze", ["w", "a2"], ["v2"]),
        node("Add", ["m", "v2"], ["y"]),
    ]
    graph = check(model(nodes, initializers=[weight("w", 3), tensor("a1", [1, 2]), tensor("a2", [1, 2])]), tmp_path)
    assert operators(graph) == ["Mul", "Add"]
    assert {name: shape_of(value) for name, value in graph.initializers.items()} == {"w": (3, 1, 1)}


@pytest.mark.golden
def test_view_of_a_shared_weight_stays(tmp_path: Path) -> None:
    """A view of a weight that is read otherwise too stays a node."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Transpose", ["w"], ["wt"]),
        node("MatMul", ["a", "wt"], ["y"]),
    ]
    graph = check(model(nodes, initializers=[weight("w", 8, 8)]), tmp_path)
    assert operators(graph) == ["MatMul", "Transpose", "MatMul"]
    assert set(graph.initializers) == {"w"}


@pytest.mark.golden
def test_arithmetic_on_weights_folds(tmp_path: Path) -> None:
    nodes = [
        node("Sqrt", ["v"], ["root"]),
        node("Div", ["w", "root"], ["scaled"]),
        node("Mul", ["x", "scaled"], ["y"]),
    ]
    stored = [weight("w", 3, 1, 1), tensor("v", np.full((3, 1, 1), 4), np.float32)]
    graph = check(model(nodes, initializers=stored), tmp_path)
    np.testing.assert_allclose(array_of(graph.initializers["scaled"]), numpy_helper.to_array(stored[0]) / 2)


@pytest.mark.abuse
def test_division_by_zero_is_refused(tmp_path: Path) -> None:
    """A division by zero while folding is the file's fault."""
    nodes = [node("Div", ["a", "b"], ["s"], name="div"), node("Reshape", ["x", "s"], ["y"])]
    with pytest.raises(InvalidModel, match="Div of constants cannot be computed") as caught:
        read(save(model(nodes, initializers=[tensor("a", [8, 8]), tensor("b", [0, 1])]), tmp_path))
    assert caught.value.problems[0].place.endswith(": div")


@pytest.mark.golden
def test_tensor_in_two_roles_is_copied(tmp_path: Path) -> None:
    """A tensor that is read in two roles gets a copy for each."""
    stored = [tensor("ones", [1, 1, 1], np.float32), tensor("zeros", [0, 0, 0], np.float32)]
    bn = node("BatchNormalization", ["x", "ones", "zeros", "zeros", "ones"], ["y"])
    graph = check(model([bn], initializers=stored), tmp_path)
    names = [value.name for value in graph.nodes[0].inputs if value is not None]
    assert names == ["x", "ones", "zeros", "zeros.statistic", "ones.statistic"]


@pytest.mark.golden
def test_sizes_of_resize_leave_the_batch(tmp_path: Path) -> None:
    """The sizes of a Resize become scales, or sizes of its spatial axes."""
    for target, whole in (([1, 3, 14, 21], True), ([1, 3, 13, 9], False)):
        proto = model(
            [node("Resize", ["x", "", "", "s"], ["y"], mode="linear")],
            initializers=[tensor("s", target)],
            shape=(1, 3, 7, 7),
        )
        graph = check(proto, tmp_path, batches=(1,))
        assert len(graph.nodes[0].inputs) == (3 if whole else 4)
        assert shape_of(graph.outputs[0]) == (None, *target[1:])
        x = image(2, 3, 7, 7)
        np.testing.assert_allclose(run(to_proto(graph), x)["y"][1:], run(proto, x[1:])["y"], atol=1e-6)


@pytest.mark.golden
def test_dead_nodes_and_weights_are_noted(tmp_path: Path) -> None:
    """Nodes and weights that no output needs are left out, with a note."""
    nodes = [node("Relu", ["x"], ["y"]), node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["d"])]
    graph = check(model(nodes, initializers=[weight("w", 3, 3, 1, 1), weight("unused", 7)]), tmp_path)
    assert operators(graph) == ["Relu"]
    assert not graph.initializers
    assert graph.notes == ("left out 2 nodes that no output needs",)


@pytest.mark.golden
def test_weights_listed_as_inputs_are_weights(tmp_path: Path) -> None:
    proto = model([node("Conv", ["x", "w"], ["y"])], initializers=[weight("w", 2, 3, 3, 3)])
    proto.graph.input.insert(0, helper.make_tensor_value_info("w", 1, (2, 3, 3, 3)))
    proto.graph.input.append(helper.make_tensor_value_info("unread", 1, (1,)))
    graph = read(save(proto, tmp_path))
    assert [value.name for value in graph.model.graph.inputs] == ["x"]


@pytest.mark.golden
def test_every_attribute_is_written_down(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"], name="conv"), node("Transpose", ["c"], ["y"], name="t")]
    nodes[1].attribute.append(helper.make_attribute("perm", [0, 1, 3, 2]))
    graph = check(model(nodes, initializers=[weight("w", 2, 3, 3, 3)]), tmp_path)
    conv = graph.node("conv")
    assert {name: attribute(conv, name) for name in conv.attributes} == {
        "kernel_shape": [3, 3],
        "strides": [1, 1],
        "dilations": [1, 1],
        "pads": [0, 0, 0, 0],
        "group": 1,
    }


@pytest.mark.golden
def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    nodes = [node("Relu", ["a"], ["y"]), node("Sigmoid", ["x"], ["a"])]
    assert operators(read(save(model(nodes), tmp_path))) == ["Sigmoid", "Relu"]


@pytest.mark.golden
def test_the_size_given_wins_over_the_files(tmp_path: Path) -> None:
    proto = model([node("Conv", ["x", "w"], ["y"])], initializers=[weight("w", 2, 3, 3, 3)], shape=(1, 3, 8, 8))
    graph = read(save(proto, tmp_path), input_size=(20, 10))
    assert shape_of(graph.outputs[0]) == (None, 2, 18, 8)


@pytest.mark.abuse
def test_sizes_computed_from_pixels_are_refused(tmp_path: Path) -> None:
    """Sizes that are computed from the image's content are refused."""
    nodes = [
        node("Reshape", ["x", "flat"], ["f"]),
        node("Cast", ["f"], ["i"], to=7, name="cast"),
        node("Reshape", ["x", "i"], ["y"], name="reshape"),
    ]
    with pytest.raises(InvalidModel, match="the size of its output is not known") as caught:
        read(save(model(nodes, initializers=[tensor("flat", [-1])], shape=(1, 1, 2, 2)), tmp_path))
    assert [problem.place.split(": ")[-1] for problem in caught.value.problems] == ["reshape"]
