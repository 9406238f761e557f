"""Parity: a file for one image size, read for another, computes what onnxruntime does on a copy made for that size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_models import LIGHT, assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel
from trunkline.graph.features import cut_graph
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.onnx_file.passes.follow_image import OwnReshape, _followed
from trunkline.ingest.read import read

SIZE = (96, 160)
NAMES = (
    *("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50"),
    *("shufflenet", "squeezenet", "vgg19", "zfnet512"),
)
QUICK = ("shufflenet", "squeezenet")


def with_random_weights(proto: onnx.ModelProto) -> None:
    """Replace every ConstantOfShape by a stored, seeded weight of the same shape."""
    shapes = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    positive = {n.input[i] for n in proto.graph.node if n.op_type == "BatchNormalization" for i in (1, 4)}
    rng = np.random.default_rng(0)
    for node in [node for node in proto.graph.node if node.op_type == "ConstantOfShape"]:
        shape = [int(size) for size in shapes[node.input[0]]]
        values = rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))
        if node.output[0] in positive:
            values = rng.uniform(0.5, 1.5, shape)
        proto.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
        proto.graph.node.remove(node)


def resized(proto: onnx.ModelProto, features: list[str]) -> onnx.ModelProto:
    """A copy for images of ``SIZE`` that ends in ``features``; sizes in Reshapes are worked out from the stride."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for value in copy.graph.input:
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4 and dims[2].dim_value == dims[3].dim_value == 224:
            dims[2].dim_value, dims[3].dim_value = SIZE
    for index, item in enumerate(copy.graph.initializer):
        content = numpy_helper.to_array(item)
        if content.dtype == np.int64 and content.size in (4, 5) and content[-1] == content[-2] > 1:
            content = np.array([*content[:-2], *(side * content[-1] // 224 for side in SIZE)])
            copy.graph.initializer[index].CopyFrom(numpy_helper.from_array(content, item.name))
    copy.graph.ClearField("value_info")
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in features)
    return onnx.utils.Extractor(copy).extract_model(
        [value.name for value in copy.graph.input if value.name not in {t.name for t in copy.graph.initializer}],
        features,
    )


@pytest.mark.parity
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in NAMES]
)
def test_packaged_classifiers_at_another_size(name: str, tmp_path: Path) -> None:
    path = LIGHT / f"light_{name}.onnx"
    if not path.is_file():
        pytest.skip("this onnx package comes without the light models")
    proto = onnx.load(path)
    with_random_weights(proto)
    graph = read_backbone(save(proto, tmp_path), taps=True, input_size=SIZE)
    features = [name_of(value) for value in graph.outputs]
    x = image(1, 3, *SIZE)
    expected = run(resized(proto, features), x)
    assert len(features) >= 3
    assert_close(run(to_proto(graph), x), expected)
    both = run(to_proto(graph), np.concatenate([image(1, 3, *SIZE, seed=1), x]))
    for feature, value in expected.items():
        np.testing.assert_allclose(both[feature][1:], value, atol=1e-4 * np.abs(value).max())


def net(*shapes: list[int], size: int = 8) -> onnx.ModelProto:
    """A convolution of 4 channels at the image's size, and Reshapes to ``shapes``."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["r"], name="conv", pads=[1] * 4)]
    nodes += [
        helper.make_node("Reshape", ["r" if i == 0 else f"r{i - 1}", f"s{i}"], [f"r{i}"], name=f"reshape{i}")
        for i in range(len(shapes))
    ]
    stored = [weight("w", 4, 3, 3, 3), *(tensor(f"s{i}", shape) for i, shape in enumerate(shapes))]
    return model(nodes, initializers=stored, shape=[1, 3, size, size], outputs=[f"r{len(shapes) - 1}"])


def at(proto: onnx.ModelProto, folder: Path, size: tuple[int, int]) -> Graph:
    return read(save(proto, folder), input_size=size)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([[1, 2, 2, 8, 8]], (None, 2, 2, 6, 10)),
        ([[1, 2, 2, 8, 8], [1, 4, 8, 8]], (None, 4, 6, 10)),
        ([[1, 4, 64]], (None, 4, 60)),
        ([[1, 4, -1]], (None, 4, 60)),
        ([[1, 4, 64], [1, 2, 2, 64]], (None, 2, 2, 60)),
        ([[-1, 2, 2, 8, 8]], (None, 2, 2, 6, 10)),
        ([[1, 256]], (None, 240)),
        ([[0, 0, 8, 8]], (None, 4, 6, 10)),
        ([[1, 4, 1, 8, 8, 1]], (None, 4, 1, 6, 10, 1)),
    ],
)
def test_sizes_follow_the_image(shapes: list[list[int]], expected: tuple[int, ...], tmp_path: Path) -> None:
    graph = at(net(*shapes), tmp_path, (6, 10))
    assert shape_of(graph.outputs[0]) == expected
    x = image(2, 3, 6, 10)
    before = run(to_proto(cut_graph(graph, ["conv"])), x) if len(graph.nodes) > 1 else run(to_proto(graph), x)
    (value,) = before.values()
    (found,) = run(to_proto(graph), x).values()
    np.testing.assert_array_equal(found.ravel(), value.ravel())


@pytest.mark.parity
def test_size_with_as_many_numbers(tmp_path: Path) -> None:
    """4 x 16 pixels are as many as 8 x 8: the Reshape would be possible as it is, and mix rows."""
    graph = at(net([1, 2, 2, 8, 8]), tmp_path, (4, 16))
    assert shape_of(graph.outputs[0]) == (None, 2, 2, 4, 16)


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("shapes", "size", "message"),
    [
        (
            [[1, 4, 2, 4, 8]],
            (6, 10),
            "does not tell what it should give",
        ),  # an axis that changes is split: windows, for one
        ([[1, -1, 8]], (16, 16), "could give"),  # an 8 that is no width, or the width
    ],
)
def test_ambiguous_reshape_is_refused(
    shapes: list[list[int]], size: tuple[int, int], message: str, tmp_path: Path
) -> None:
    """A Reshape that could follow the image in two ways, or in none, is refused."""
    with pytest.raises(InvalidModel, match=message):
        at(net(*shapes), tmp_path, size)


@pytest.mark.properties
def test_axes_of_size_one() -> None:
    """Axes of size 1 go with their neighbours; a Reshape across axes is not followed."""
    before = OwnReshape((1, 4, 1, 1), (1, 4), (1, 4))
    assert _followed(before, (1, 4, 1, 1)) == (1, 4)
    assert _followed(before, (1, 4, 2, 3)) == (1, 24)
    assert _followed(OwnReshape((1, 6, 4), (1, 4, 6), (1, 4, 6)), (1, 6, 8)) is None
