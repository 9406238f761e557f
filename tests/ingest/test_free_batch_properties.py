"""Properties of a freed batch: three images at once are three single runs, each as in the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Graph, shape_of
from trunkline.ingest.read import read

pytestmark = pytest.mark.properties

node = helper.make_node


def check(proto: onnx.ModelProto, folder: Path, *, batch: int | None = 1) -> Graph:
    """Read ``proto``; its Graph equals it at the file's own batch, and three images at once equal three runs."""
    graph = read(save(proto, folder))
    ours = to_proto(graph)
    x = image(*[size or 3 for size in shape_of(graph.input)])
    together = run(ours, x)
    for index in range(3):
        alone = run(ours, x[index : index + 1])
        assert_close({name: value[index : index + 1] for name, value in together.items()}, alone)
        if batch == 1:
            assert_close(alone, run(proto, x[index : index + 1]))
    if batch is None:
        assert_close(together, run(proto, x))
    elif batch > 1:
        wide = image(batch, *[size or 1 for size in shape_of(graph.input)[1:]], seed=2)
        assert_close(run(ours, wide), run(proto, wide))
    return graph


def reshapes(*targets: Sequence[int]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    nodes, stored, before = [], [], "x"
    for index, target in enumerate(targets):
        after = "y" if index == len(targets) - 1 else f"r{index}"
        nodes.append(node("Reshape", [before, f"s{index}"], [after], name=f"reshape{index}"))
        stored.append(tensor(f"s{index}", list(target)))
        before = after
    return nodes, stored


FORMS = {
    "flat": [(1, -1)],
    "flat in numbers": [(1, 12 * 16)],
    "channel groups": [(1, 3, 4, 4, 4), (1, 12, 4, 4)],
    "rows": [(1, 12, 16), (1, 12, 4, 4)],
    "batch kept by zero": [(0, 12, -1), (0, 0, 4, 4)],
    "channels split off the batch and back": [(12, 16), (1, 12, 4, 4)],
    "groups split off the batch and back": [(3, 4, 16), (12, 4, 4), (1, 12, 4, 4)],
    "everything in one row and back": [(192,), (1, 12, 16)],
}


@pytest.mark.parametrize("batch", [1, 5, "N"])
@pytest.mark.parametrize("name", FORMS)
def test_a_reshape_of_any_form_is_freed(name: str, batch: Any, tmp_path: Path) -> None:
    many = batch if isinstance(batch, int) else 1
    targets = [[size * many if not i and size > 0 else size for i, size in enumerate(target)] for target in FORMS[name]]
    if batch == "N":
        targets = [[-1 if not i and -1 not in t[1:] else size for i, size in enumerate(t)] for t in targets]
        if any(t[0] == 1 for t in targets):
            pytest.skip("names a batch of one")
    nodes, stored = reshapes(*targets)
    proto = model(nodes, initializers=stored, shape=(batch, 12, 4, 4))
    check(proto, tmp_path, batch=batch if isinstance(batch, int) else None)


def shuffle_v2(batch: int | str, channels: int = 8, size: int = 4) -> onnx.ModelProto:
    """ShuffleNetV2's first release: the batch is merged with the channels, halves are picked by their index."""
    half, first = channels // 2, -1 if isinstance(batch, str) else batch * channels // 2
    again = -1 if isinstance(batch, str) else batch
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        node("Reshape", ["c", "s1"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[1, 0, 2]),
        node("Reshape", ["b", "s2"], ["d"]),
        node("Gather", ["d", "zero"], ["left"], axis=0),
        node("Gather", ["d", "one"], ["right"], axis=0),
        node("Concat", ["right", "left"], ["y"], axis=1),
    ]
    stored = [
        weight("w", channels, 3, 3, 3),
        tensor("s1", [first, 2, size * size]),
        tensor("s2", [2, again, half, size, size]),
        tensor("zero", 0),
        tensor("one", 1),
    ]
    return model(nodes, initializers=stored, shape=(batch, 3, size, size))


@pytest.mark.parametrize("batch", [1, 2, 7, "N"])
def test_shufflenet_with_the_batch_merged_into_channels(batch: Any, tmp_path: Path) -> None:
    graph = check(shuffle_v2(batch), tmp_path, batch=batch if isinstance(batch, int) else None)
    assert all(list(shape_of(v)).count(None) == 1 for n in graph.nodes for v in n.outputs)


def test_shape_of_the_image_is_folded(tmp_path: Path) -> None:
    """What torch writes for ``view(b, g, c // g, h, w)`` with a dynamic batch."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        *[node("Gather", ["shape", f"i{k}"], [f"d{k}"], axis=0) for k in range(4)],
        node("Div", ["d1", "two"], ["half"]),
        *[node("Unsqueeze", [name, "zero"], [f"{name}u"]) for name in ("d0", "half", "d2", "d3", "d1")],
        node("Concat", ["d0u", "twos", "halfu", "d2u", "d3u"], ["split"], axis=0),
        node("Reshape", ["x", "split"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
        node("Concat", ["d0u", "d1u", "d2u", "d3u"], ["join"], axis=0),
        node("Reshape", ["b", "join"], ["y"]),
    ]
    stored = [tensor(f"i{k}", k) for k in range(4)] + [tensor("two", 2), tensor("twos", [2]), tensor("zero", [0])]
    proto = model(nodes, initializers=stored, shape=("N", 6, 4, 4))
    graph = check(proto, tmp_path, batch=None)
    assert [n.op_type for n in graph.nodes] == ["Reshape", "Transpose", "Reshape"]


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -3])
def test_flatten_at_any_axis_behind_the_batch(axis: int, tmp_path: Path) -> None:
    nodes = [
        node("Flatten", ["x"], ["f"], axis=axis),
        node("Relu", ["f"], ["r"]),
        node("Reshape", ["r", "back"], ["y"]),
    ]
    check(model(nodes, initializers=[tensor("back", [1, 3, 16])], shape=(1, 3, 4, 4)), tmp_path)


def test_expand_keeps_the_batch(tmp_path: Path) -> None:
    for batch in (1, 4):
        nodes = [node("GlobalAveragePool", ["x"], ["p"]), node("Expand", ["p", "s"], ["y"])]
        check(model(nodes, initializers=[tensor("s", [batch, 3, 4, 4])], shape=(batch, 3, 4, 4)), tmp_path, batch=batch)


SHAPE_KEEPING: dict[str, tuple[list[onnx.NodeProto], list[onnx.TensorProto]]] = {
    "softmax": ([node("Softmax", ["x"], ["y"], axis=0, name="bad")], []),
    "log softmax": ([node("LogSoftmax", ["x"], ["y"], axis=-4, name="bad")], []),
    "cumulative sum": ([node("CumSum", ["x", "a"], ["y"], name="bad")], [tensor("a", 0)]),
    "backwards": (
        [node("Slice", ["x", "s", "e", "a", "t"], ["y"], name="bad")],
        [tensor("s", [-1]), tensor("e", [-(2**31)]), tensor("a", [0]), tensor("t", [-1])],
    ),
    "mean and variance": ([node("MeanVarianceNormalization", ["x"], ["y"], name="bad")], []),
    "lp norm": ([node("LpNormalization", ["x"], ["y"], axis=0, name="bad")], []),
    "layer norm": ([node("LayerNormalization", ["x", "g"], ["y"], axis=0, name="bad")], [weight("g", 1, 3, 8, 8)]),
    "rows of images": (
        [
            node("Transpose", ["x"], ["t"], perm=[1, 2, 0, 3]),
            node("MaxPool", ["t"], ["y"], kernel_shape=[3, 3], pads=[1] * 4, name="bad"),
        ],
        [],
    ),
    "shifted": ([node("Pad", ["x", "p"], ["y"], name="bad")], [tensor("p", [1, 0, 0, 0, -1, 0, 0, 0])]),
    "summed": ([node("Einsum", ["x", "x"], ["y"], equation="abcd,ebcd->a", name="bad")], []),
    "squeezed": ([node("Squeeze", ["x", "a"], ["y"], name="bad")], [tensor("a", [0])]),
}


@pytest.mark.parametrize("batch", [1, "N"])
@pytest.mark.parametrize("name", SHAPE_KEEPING)
def test_mixing_in_the_same_shape_is_refused(name: str, batch: Any, tmp_path: Path) -> None:
    """A node that mixes images is refused, also where its shape does not show it."""
    nodes, stored = SHAPE_KEEPING[name]
    with pytest.raises(InvalidModel, match="bad"):
        read(save(model(nodes, initializers=stored, shape=(batch, 3, 8, 8)), tmp_path))


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("batch", [1, 3, "N"])
def test_each_channel_is_convolved_as_an_image(batch: Any, kernel: int, tmp_path: Path) -> None:
    """Channels in the axis of the images: one kernel for all of them."""
    nodes = [
        node("Reshape", ["x", "s"], ["a"]),
        node("Conv", ["a", "w"], ["b"], pads=[kernel // 2] * 4),
        node("Reshape", ["b", "t"], ["y"]),
    ]
    first, again = (-1, -1) if batch == "N" else (3 * batch, batch)
    stored = [tensor("s", [first, 1, 8, 8]), weight("w", 1, 1, kernel, kernel), tensor("t", [again, 3, 8, 8])]
    proto = model(nodes, initializers=stored, shape=(batch, 3, 8, 8))
    check(proto, tmp_path, batch=batch if isinstance(batch, int) else None)


@st.composite
def permutations(draw: st.DrawFn) -> onnx.ModelProto:
    """Split every axis, permute all that is not the batch, join again, with the batch merged on the way or not."""
    batch = draw(st.sampled_from([1, 2, 3]))
    merged = draw(st.booleans())
    order = draw(st.permutations([0, 1, 2, 3]))
    shape, split = (batch, 6, 4, 4), [2, 3, 4, 4]
    if merged:
        place = draw(st.integers(0, 3))
        order = [0, *(axis for axis in order if axis)]
        order = [*order[1 : place + 1], 0, *order[place + 1 :]]
        perm, sizes = order, [batch * split[0], *split[1:]]
        turned = [sizes[axis] for axis in perm]
        back = [*turned[:place], batch, split[0], *turned[place + 1 :]]
        final = [place, *(axis for axis in range(5) if axis != place)]
    else:
        perm, sizes = [0, *(axis + 1 for axis in order)], [batch, *split]
        back = [sizes[axis] for axis in perm]
        final = list(range(5))
    nodes = [
        node("Reshape", ["x", "s"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=perm),
        node("Relu", ["b"], ["c"]),
        node("Reshape", ["c", "t"], ["d"]),
        node("Transpose", ["d"], ["y"], perm=final),
    ]
    return model(nodes, initializers=[tensor("s", sizes), tensor("t", back)], shape=shape)


@settings(max_examples=60, deadline=None)
@given(proto=permutations())
def test_any_permutation_of_axes(proto: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> None:
    batch = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    check(proto, tmp_path_factory.mktemp("net"), batch=batch)


def channels_last(kind: int = TensorProto.FLOAT, **changes: Any) -> onnx.ModelProto:
    """As TensorFlow exports it: pixels are cast, a mean a channel is taken off, then channels come first."""
    nodes = [node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)] if kind != TensorProto.FLOAT else []
    nodes += [
        node("Sub", [nodes[0].output[0] if nodes else "x", "mean"], ["m"]),
        node("Mul", ["m", "scale"], ["n"]),
        node("Transpose", ["n"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], ["c"], pads=[1] * 4),
        node("Relu", ["c"], ["y"]),
    ]
    stored = [
        tensor("mean", [3.0, 5.0, 7.0], np.float32),
        tensor("scale", 0.5, np.float32),
        weight("w", 4, 3, 3, 3),
    ]
    return model(nodes, initializers=stored, shape=("N", 8, 6, 3), element=kind, **changes)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.UINT8, TensorProto.DOUBLE, TensorProto.INT32])
def test_channels_last_become_first_and_pixels_float(kind: int, tmp_path: Path) -> None:
    proto = channels_last(kind)
    graph = read(save(proto, tmp_path))
    assert shape_of(graph.input) == (None, 3, 8, 6)
    assert [n.op_type for n in graph.nodes] == ["Sub", "Mul", "Conv", "Relu"]
    assert any("channels last" in note for note in graph.notes)
    assert any("float32" in note for note in graph.notes) is (kind != TensorProto.FLOAT)
    pixels = np.random.default_rng(0).integers(0, 255, (3, 3, 8, 6))
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    expected = run(proto, pixels.transpose(0, 2, 3, 1).astype(dtype))
    assert_close(run(to_proto(graph), pixels.astype(np.float32)), expected)
    assert shape_of(read(tmp_path / "net.onnx", input_size=(10, 12)).outputs[0]) == (None, 4, 10, 12)


def test_crop_before_transpose_keeps_channels_last(tmp_path: Path) -> None:
    """A channels-last image that is cropped before it is turned is turned back for the crop."""
    proto = channels_last()
    proto.graph.node.insert(0, node("Slice", ["x", "zero", "six", "one"], ["soft"], name="odd"))
    proto.graph.node[1].input[0] = "soft"
    proto.graph.initializer.extend(tensor(name, [number]) for name, number in (("zero", 0), ("one", 1), ("six", 6)))
    graph = read(save(proto, tmp_path))
    assert [n.op_type for n in graph.nodes[:2]] == ["Transpose", "Slice"]
    x = image(2, 3, 8, 6)
    assert_close(run(to_proto(graph), x), run(proto, x.transpose(0, 2, 3, 1)))


def test_uncast_integer_image_is_refused(tmp_path: Path) -> None:
    """An image of whole numbers must be cast before anything is computed from it."""
    whole = model([node("Relu", ["x"], ["r"]), node("Cast", ["r"], ["y"], to=1)], element=TensorProto.INT32)
    with pytest.raises(InvalidModel, match="an image of float32 was expected"):
        read(save(whole, tmp_path))


def test_transposition_of_channels_first_stays(tmp_path: Path) -> None:
    """A transposition in a network whose image has its channels first stays."""
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("Relu", ["t"], ["y"])]
    graph = check(model(nodes, shape=("N", 3, 8, 6)), tmp_path, batch=None)
    assert shape_of(graph.input) == (None, 3, 8, 6) and graph.nodes[0].op_type == "Transpose"
