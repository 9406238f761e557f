"""Files with a free image size compute what the network of that size does; networks that allow none are refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from trunkline.errors import InvalidConfig, InvalidModel, ParityFailure
from trunkline.export.count import count_file
from trunkline.export.free_size import free
from trunkline.export.free_size.free import FREE_SIZE_KEY
from trunkline.export.free_size.readings import Readings
from trunkline.export.free_size.sources import Measured
from trunkline.export.parity.check import check_parity
from trunkline.fragments.heads.make_head import head_kinds, make_head
from trunkline.fragments.heads.other_size import head_at_other_size
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.cost import graph_cost
from trunkline.graph.graph import Graph, attribute, shape_of
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.read import read
from trunkline.verbs.build import BuildResult, Sharing, build
from trunkline.verbs.convert import convert

pytestmark = pytest.mark.parity

BACKBONES: dict[str, dict[str, Any]] = {
    "zoo:tiny": {"input_size": (16, 24)},
    "zoo:mobilenetv2": {"input_size": (32, 32), "features": ["stage2_block2_add", "stage3_block3_add"]},
}

HEADS = ("light", "aspp", "linear", "deeplabv3plus", "fpn")
QUICK = {("zoo:tiny", "linear"), ("zoo:tiny", "deeplabv3plus")}


def built(folder: Path, backbone: str, head: str) -> BuildResult:
    features = {} if head in ("deeplabv3plus", "fpn") else {"features": BACKBONES[backbone].get("features", [])[-1:]}
    reading = {**BACKBONES[backbone], **features}
    sharing = Sharing(all_shared=True)
    return build(
        backbone,
        folder / "free.onnx",
        tasks={"a": 2},
        sharing=sharing,
        head=head,
        free_size=True,
        parity_inputs=1,
        **reading,
    )


def run(path: Path, image: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: image}))


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        pytest.param(backbone, head, marks=() if (backbone, head) in QUICK else pytest.mark.slow)
        for backbone in BACKBONES
        for head in HEADS
    ],
)
def test_every_head_follows_the_image(tmp_path: Path, backbone: str, head: str) -> None:
    """The export itself compares; here a size is compared that it never saw, with the head made for it."""
    result = built(tmp_path, backbone, head)
    assert result.export is not None
    assert result.export.free_size is not None
    assert result.export.free_size.multiple == 1
    sizes = result.export.free_size.sizes
    assert len(sizes) >= 4
    given = sizes[0]
    assert any(size[0] > given[0] for size in sizes)
    assert any(size[0] < given[0] for size in sizes)
    assert any(size[0] != size[1] and size[0] % 2 for size in sizes)
    assert [*result.export.other_sizes] == list(sizes[1:])
    assert all(report.passed for report in result.export.other_sizes.values())
    other = (given[0] + 6, given[1] + 13)
    again = read(result.path, input_size=other)
    assert check_parity(result.path, again, inputs=2).passed
    assert count_file(result.path, image=other).macs == graph_cost(again).macs


def test_there_is_no_other_kind_of_head() -> None:
    assert {*head_kinds()} == {*HEADS}


def test_heads_keep_their_dilations() -> None:
    """DeepLabv3+ chooses smaller dilations on a small map; its weights belong to them at any size."""
    backbone, larger = (read_backbone("zoo:tiny", taps=True, input_size=size) for size in ((16, 24), (64, 96)))
    head = make_head("deeplabv3plus", backbone, 2)
    other = head_at_other_size(head, "deeplabv3plus", backbone, larger)
    own, fresh = (_dilations(each) for each in (head, make_head("deeplabv3plus", larger, 2)))
    assert _dilations(other) == own != fresh


def test_heads_keep_their_stride() -> None:
    """The light head has channels for the stride of its map, which odd sizes would round to another."""
    backbone, other = (read_backbone("zoo:mobilenetv2", input_size=size) for size in ((32, 32), (65, 65)))
    head = make_head("light", backbone, 2)
    made, fresh = head_at_other_size(head, "light", backbone, other), make_head("light", other, 2)
    assert _weight_shapes(made) == _weight_shapes(head) != _weight_shapes(fresh)


def _weight_shapes(graph: Graph) -> dict[str, Any]:
    return {name: shape_of(value) for name, value in graph.initializers.items()}


def _dilations(graph: Graph) -> list[Any]:
    return [attribute(node, "dilations") for node in graph.nodes if node.op_type == "Conv"]


# --- networks of a few nodes, as files of others ---------------------------------------------------------------------


def net(
    nodes: Sequence[onnx.NodeProto], size: tuple[int, int], *, channels: int = 4, **stored: np.ndarray[Any, Any]
) -> onnx.ModelProto:
    """Return a network from "x" to "y" with float weights by name, behind a convolution "c" with stride 2."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((channels, 3, 3, 3)).astype(np.float32), **stored}
    first = helper.make_node("Conv", ["x", "w"], ["c"], name="first", pads=[1, 1, 1, 1], strides=[2, 2])
    graph = helper.make_graph(
        [first, *nodes],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, *size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=f"the_{op.lower()}", **attributes)


def ints(*numbers: int) -> np.ndarray[Any, Any]:
    return np.array(numbers, np.int64)


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


RESIZE = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}
REFUSED: dict[str, tuple[onnx.ModelProto, str, str]] = {
    "a linear layer over the whole map": (
        net([node("Flatten", "c", "f"), node("MatMul", "f v")], (16, 16), v=floats(256, 5)),
        "the_matmul",
        "the network is for one image size",
    ),
    "a linear layer behind a reshape": (
        net([node("Reshape", "c s", "f"), node("MatMul", "f v")], (16, 16), s=ints(-1, 256), v=floats(256, 5)),
        "the_matmul",
        "the network is for one image size",
    ),
    "rows torn apart by a reshape": (
        net([node("Reshape", "c s")], (16, 16), s=ints(-1, 4, 2, 4, 8)),
        "the_reshape",
        "the network is for one image size",
    ),
    "a resize to one size": (
        net(
            [helper.make_node("Resize", ["c", "", "", "s"], ["y"], name="the_resize", **RESIZE)],
            (16, 16),
            s=ints(1, 4, 12, 12),
        ),
        "the_resize",
        "whatever the image's is",
    ),
    "positions": (
        net([node("Add", "c p")], (16, 16), p=floats(1, 4, 8, 8)),
        "the_add",
        "the network is for one image size",
    ),
    "padding computed for odd sizes": (
        net([node("Conv", "c v", auto_pad="SAME_UPPER", strides=[2, 2])], (18, 18), v=floats(5, 4, 3, 3)),
        "the_conv",
        "its pads",
    ),
    "a mean by a window": (
        net([node("AveragePool", "c", kernel_shape=[8, 8])], (16, 16)),
        "the_averagepool",
        "the whole map",
    ),
    "a constant of the number of pixels": (
        net(
            [
                helper.make_node("Shape", ["c"], ["s"], name="s", start=3, end=4),
                helper.make_node("Cast", ["s"], ["f"], name="f", to=TensorProto.FLOAT),
                node("Div", "c f"),
            ],
            (16, 16),
        ),
        "the_div",
        "it was computed for one size",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_allows_no_free_size_is_refused(tmp_path: Path, name: str) -> None:
    model, place, reason = REFUSED[name]
    onnx.save(model, tmp_path / "in.onnx")
    convert(tmp_path / "in.onnx", tmp_path / "fixed.onnx", parity_inputs=1)  # there is nothing else against it
    with pytest.raises(InvalidModel) as caught:
        convert(tmp_path / "in.onnx", tmp_path / "out.onnx", free_size=True)
    [problem] = caught.value.problems
    assert problem.place.split(": ")[-1] == place
    assert reason in problem.message
    assert not (tmp_path / "out.onnx").exists()


SHAPE = {
    "h": helper.make_node("Shape", ["c"], ["h"], name="h", start=2, end=3),
    "w": helper.make_node("Shape", ["c"], ["w2"], name="w2", start=3, end=4),
    "image": helper.make_node("Shape", ["x"], ["image"], name="image", start=2, end=4),
}
FOLLOWING: dict[str, tuple[onnx.ModelProto, int]] = {
    "up to the image": (
        net(
            [SHAPE["image"], helper.make_node("Resize", ["c", "", "", "image"], ["y"], axes=[2, 3], **RESIZE)],
            (16, 24),
        ),
        1,
    ),
    "channels shuffled": (
        net(
            [
                SHAPE["h"],
                SHAPE["w"],
                helper.make_node("Concat", ["g", "h", "w2"], ["five"], axis=0),
                helper.make_node("Concat", ["four", "h", "w2"], ["back"], axis=0),
                helper.make_node("Reshape", ["c", "five"], ["r"]),
                helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
                helper.make_node("Reshape", ["t", "back"], ["y"]),
            ],
            (16, 24),
            g=ints(-1, 2, 2),
            four=ints(-1, 4),
        ),
        1,
    ),
    "a crop to the image": (
        net(
            [
                SHAPE["image"],
                helper.make_node("Add", ["image", "one"], ["end"]),
                helper.make_node("Resize", ["c", "", "scales"], ["u"], **RESIZE),
                helper.make_node("Pad", ["u", "pads"], ["p"]),
                helper.make_node("Slice", ["p", "one", "end", "axes"], ["s"]),
                helper.make_node("Conv", ["s", "v"], ["y"]),
            ],
            (16, 24),
            v=floats(5, 4, 3, 3),
            scales=np.array([1, 1, 2, 2], np.float32),
            pads=ints(0, 0, 1, 1, 0, 0, 1, 1),
            one=ints(1, 1),
            axes=ints(2, 3),
        ),
        1,
    ),
    "up by two, onto the image": (
        net(
            [
                helper.make_node("Resize", ["c", "", "scales"], ["u"], **RESIZE),
                helper.make_node("Concat", ["u", "x"], ["y"], axis=1),
            ],
            (16, 24),
            scales=np.array([1, 1, 2, 2], np.float32),
        ),
        2,
    ),
    "maps that differ at one height of eight": (
        net(
            [
                helper.make_node("Conv", ["x", "v4"], ["a"], strides=[8, 8]),
                helper.make_node("Conv", ["x", "v5"], ["b"], strides=[8, 8]),
                helper.make_node("Sum", ["a", "b"], ["y"]),
            ],
            (16, 24),
            v4=floats(2, 3, 4, 4),
            v5=floats(2, 3, 5, 5),
        ),
        8,
    ),
    "padding of even sizes": (
        net(
            [
                helper.make_node("Conv", ["c", "v"], ["d"], auto_pad="SAME_UPPER", strides=[2, 2]),
                helper.make_node("Conv", ["d", "v2"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2]),
            ],
            (16, 24),
            v=floats(5, 4, 3, 3),
            v2=floats(3, 5, 3, 3),
        ),
        8,
    ),
}


@pytest.mark.parametrize("name", FOLLOWING)
def test_what_follows_the_image_stays_free(tmp_path: Path, name: str) -> None:
    """The free file is compared with the author's own, which has no fixed sizes inside, at a size of its own."""
    model, multiple = FOLLOWING[name]
    onnx.save(model, tmp_path / "in.onnx")
    result = convert(
        tmp_path / "in.onnx", tmp_path / "out.onnx", free_size=True, fold=True, reuse=True, parity_inputs=3
    )
    assert result.export.free_size is not None
    assert result.export.free_size.multiple == multiple
    fixed = convert(tmp_path / "in.onnx", tmp_path / "fixed.onnx", input_size=(16, 24), parity_inputs=1)
    assert result.export.macs == fixed.export.macs
    size = (3 * multiple + 16, 5 * multiple + 8)
    theirs = onnx.load(tmp_path / "in.onnx")
    for axis, dim in enumerate(theirs.graph.input[0].type.tensor_type.shape.dim[2:]):
        dim.dim_value = size[axis]
    onnx.save(theirs, tmp_path / "theirs.onnx")
    image = floats(2, 3, *size)
    for ours, wanted in zip(run(tmp_path / "out.onnx", image), run(tmp_path / "theirs.onnx", image), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5)


def test_sizes_do_not_keep_normalisation_from_folding(tmp_path: Path) -> None:
    """A size is read behind what is merged with a convolution: the free file folds as the fixed one does."""
    kind = {"tasks": {"a": 2}, "sharing": Sharing(all_shared=True), "head": "deeplabv3plus", "fold": True}
    fixed, freed = (
        build("zoo:tiny", tmp_path / f"{is_free}.onnx", free_size=is_free, parity_inputs=1, input_size=(16, 24), **kind)
        for is_free in (False, True)
    )
    ops, free_ops = (count_file(each.path, image=size).ops for each, size in ((fixed, None), (freed, (16, 24))))
    assert free_ops == {**ops, "Shape": 1}


def test_a_file_says_its_sizes(tmp_path: Path) -> None:
    model, _ = FOLLOWING["up by two, onto the image"]
    onnx.save(model, tmp_path / "in.onnx")
    result = convert(tmp_path / "in.onnx", tmp_path / "out.onnx", free_size=True, parity_inputs=1)
    file = onnx.load(tmp_path / "out.onnx")
    said = json.loads({item.key: item.value for item in file.metadata_props}[FREE_SIZE_KEY])
    assert said == {"multiple": 2, "sizes": result.to_json()["free_size"]["sizes"]}
    image, output = (value.type.tensor_type.shape.dim for value in (file.graph.input[0], file.graph.output[0]))
    assert [dim.dim_param or dim.dim_value for dim in image] == ["N", 3, "height", "width"]
    assert [dim.dim_param or dim.dim_value for dim in output] == ["N", 7, "height", "width"]


@pytest.mark.parametrize("fault", ["the given size", "the image"])
def test_a_wrong_target_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A Resize that goes somewhere else fails parity at another size, and nothing is published."""
    model = net(
        [
            helper.make_node("MaxPool", ["c"], ["p"], name="pool", **POOL),
            helper.make_node("Shape", ["c"], ["s"], name="s", start=2, end=4),
            helper.make_node("Resize", ["p", "", "", "s"], ["y"], name="up", axes=[2, 3], **RESIZE),
        ],
        (16, 24),
    )
    onnx.save(model, tmp_path / "in.onnx")
    convert(tmp_path / "in.onnx", tmp_path / "right.onnx", free_size=True, parity_inputs=1)
    wrong = (8, 12) if fault == "the given size" else (Measured("x", 2), Measured("x", 3))
    monkeypatch.setattr(free, "recipes_of", lambda _: {("up", 3): wrong})
    message = "for images of 21x33: 1 of 1" if fault == "the given size" else "1 of 1 outputs"
    with pytest.raises(ParityFailure, match=message):
        convert(tmp_path / "in.onnx", tmp_path / "wrong.onnx", free_size=True, parity_inputs=2)
    assert not (tmp_path / "wrong.onnx").exists()


@pytest.mark.parametrize(("name", "number"), [("v", 1.0), ("w", 2.0)])
def test_other_weights_are_another_network(name: str, number: float) -> None:
    def reading(size: int, name: str, number: float) -> Graph:
        builder = GraphBuilder("net")
        weight = builder.tensor(name, np.full((2, 3, 1, 1), number, np.float32))
        return builder.finish([builder.node("Conv", [builder.image("x", (3, size, size)), weight], name="conv")])

    Readings([reading(4, "w", 1.0), reading(6, "w", 1.0)])
    with pytest.raises(InvalidModel, match="its input 1 is"):
        Readings([reading(4, "w", 1.0), reading(6, name, number)])


def test_a_network_that_cannot_be_read_again(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="has one image size"):
        convert(read("zoo:tiny"), tmp_path / "out.onnx", free_size=True)


def test_caffe_has_no_free_size(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="names its image size"):
        convert("zoo:tiny", tmp_path / "out.prototxt", free_size=True)
