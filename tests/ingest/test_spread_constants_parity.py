"""Parity: files with a constant for each image of the batch, or with merged axes, compute the same once read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx_models import Array, assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Graph, is_weight, shape_of
from trunkline.graph.roles import role_of
from trunkline.ingest.read import read
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.parity

CORPUS = Path(__file__).parent.parent / "corpus"
node = helper.make_node

_SPREAD = ["Slice", "Cast", "Where", "Concat"]
FILES: dict[str, list[str]] = {
    "zoo/as_strided_after_global_pool.onnx": ["Conv", "ReduceMean", "Conv"],
    "zoo/batch_expanded_constant_add.onnx": ["Conv", "Add"],
    "zoo/batch_expanded_token_concat.onnx": ["Conv", "Reshape", *_SPREAD],
    "zoo/batchnorm_on_flattened_tokens.onnx": [
        *("Conv", "Reshape", "Transpose", "MatMul", "Transpose", "BatchNormalization", "Transpose", "Transpose"),
        "Reshape",
    ],
    "zoo/layernorm_on_merged_batch.onnx": [
        *("Conv", "Reshape", "Transpose", "LayerNormalization", "MatMul", "Transpose", "Reshape"),
    ],
    "zoo/where_zeros_like.onnx": ["Conv", "Less", "Where"],
    "field/runtime_batch_expand/coordconv_expand.onnx": [*_SPREAD, "Conv"],
    "field/runtime_batch_expand/coordconv_tile.onnx": [*_SPREAD, "Conv"],
    "field/runtime_batch_expand/ones_like.onnx": ["Conv", "Add"],
    "field/runtime_batch_expand/unrolled_rnn.onnx": [],
    "field/runtime_batch_expand/vit_cls_expand.onnx": ["Conv", "Reshape", "Transpose", *_SPREAD, "Add"],
    "field/runtime_batch_expand/zeros_pad_channels.onnx": ["Conv", *_SPREAD],
    "field/fixed_batch_constant_concat/coordconv_fixed.onnx": [*_SPREAD, "Conv"],
    "field/fixed_batch_constant_concat/vit_cls_fixed.onnx": ["Conv", "Reshape", "Transpose", *_SPREAD, "Add"],
}
"""Files that were found, and the operators that are left of them where that is the point."""


def reference(proto: onnx.ModelProto, x: Array) -> Mapping[str, Array]:
    """What onnxruntime computes: at once where the file's batch is free, image by image where it is one."""
    first = proto.graph.input[0].type.tensor_type.shape.dim[0]
    if not first.dim_value:
        return run(proto, x)
    each = [run(proto, x[start : start + first.dim_value]) for start in range(0, len(x), first.dim_value)]
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


def check(proto: onnx.ModelProto, graph: Graph, batches: tuple[int, ...] = (1, 2, 3)) -> None:
    """The Graph and its twin compute what the file does, at any batch."""
    for batch in batches:
        x = image(batch, *[size or 0 for size in shape_of(graph.input)[1:]])
        expected = reference(proto, x)
        assert_close(run(to_proto(graph), x), expected)
        with torch.no_grad():
            found = Twin(graph).eval()(torch.from_numpy(x))
        assert_close({name: value.numpy() for name, value in found.items()}, expected, tolerance=1e-4)


@pytest.mark.parametrize("name", FILES)
def test_files_from_the_field(name: str) -> None:
    """A file from the field computes what onnxruntime does."""
    graph = read(CORPUS / name)
    check(onnx.load(CORPUS / name), graph)
    left = FILES[name]
    assert not left or [item.op_type for item in graph.nodes] == left


def test_class_token_keeps_name_and_trains(tmp_path: Path) -> None:
    """A class token that a file repeats for each image keeps its name and trains."""
    graph = read(CORPUS / "field/runtime_batch_expand/vit_cls_expand.onnx")
    token = graph.initializers["cls_token"]
    assert role_of(token) == "parameter" and shape_of(token) == (1, 1, 16)
    twin = Twin(graph)
    twin(torch.zeros(3, 3, 32, 32))[twin.output_names[0]].sum().backward()
    gradient = twin.trainable()["cls_token"].grad
    assert gradient is not None and torch.equal(gradient, torch.full_like(gradient, 3.0))


def test_nan_does_not_reach_the_constant(tmp_path: Path) -> None:
    """The truth value by which it is chosen may be of an infinity, or of no number at all."""
    path = CORPUS / "field/runtime_batch_expand/zeros_pad_channels.onnx"
    x = np.full((2, 3, 32, 32), np.nan, np.float32)
    (found,) = run(to_proto(read(path)), x).values()
    assert not found[:, 8:].any()


def start_state(batch: int | str, steps: int = 3) -> onnx.ModelProto:
    """A recurrence written out, from zeros that are stored or made for each image."""
    nodes = [node("Flatten", ["x"], ["h"], axis=1), node("MatMul", ["h", "w"], ["in"])]
    stored = [weight("w", 192, 5), weight("u", 5, 5)]
    if isinstance(batch, int):
        stored.append(tensor("s0", np.zeros((batch, 5)), np.float32))
    else:
        nodes += [
            node("Shape", ["x"], ["n"], start=0, end=1),
            node("Concat", ["n", "five"], ["size"], axis=0),
            node("ConstantOfShape", ["size"], ["s0"]),
        ]
        stored.append(tensor("five", [5]))
    for index in range(steps):
        nodes += [
            node("MatMul", [f"s{index}", "u"], [f"m{index}"]),
            node("Add", ["in", f"m{index}"], [f"a{index}"]),
            node("Tanh", [f"a{index}"], [f"s{index + 1}"]),
        ]
    nodes[-1].output[0] = "y"
    return model(nodes, initializers=stored, shape=(batch, 3, 8, 8))


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_the_start_of_a_recurrence(batch: int | str, tmp_path: Path) -> None:
    proto = start_state(batch)
    graph = read(save(proto, tmp_path))
    check(proto, graph, (1, 3) if batch != 4 else (4, 8))


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_a_token_that_is_repeated_further(batch: int | str, tmp_path: Path) -> None:
    """Of [1, 1, 3] are made [N, 4, 3]: three positions of one token, for each image."""
    nodes = [node("Reshape", ["x", "rows"], ["r"]), node("Transpose", ["r"], ["t"], perm=[0, 2, 1])]
    stored = [tensor("rows", [0, 3, -1]), weight("token", 1, 1, 3)]
    if isinstance(batch, int):
        stored.append(tensor("size", [batch, 4, 3]))
    else:
        nodes += [
            node("Shape", ["x"], ["n"], start=0, end=1),
            node("Concat", ["n", "rest"], ["size"], axis=0),
        ]
        stored.append(tensor("rest", [4, 3]))
    nodes += [node("Expand", ["token", "size"], ["e"]), node("Concat", ["e", "t"], ["y"], axis=1)]
    proto = model(nodes, initializers=stored, shape=(batch, 3, 8, 8))
    check(proto, read(save(proto, tmp_path)), (1, 3) if batch != 4 else (4, 8))


def test_mask_for_every_window(tmp_path: Path) -> None:
    """Windows of all images in one axis, and a mask for each window, repeated for each image."""
    nodes = [
        node("Reshape", ["x", "windows"], ["w"]),
        node("Shape", ["x"], ["n"], start=0, end=1),
        node("Concat", ["n", "ones"], ["times"], axis=0),
        node("Tile", ["mask", "times"], ["all"]),
        node("Add", ["w", "all"], ["a"]),
        node("Softmax", ["a"], ["s"], axis=-1),
        node("Reshape", ["s", "back"], ["y"]),
    ]
    stored = [
        *(tensor("windows", [-1, 3, 16]), tensor("ones", [1, 1]), tensor("back", [-1, 3, 8, 8])),
        weight("mask", 4, 3, 16),
    ]
    proto = model(nodes, initializers=stored)
    graph = read(save(proto, tmp_path))
    check(proto, graph)
    assert sum(is_weight(value) for value in graph.initializers.values()) == 1


def test_grid_for_each_image(tmp_path: Path) -> None:
    """A stored grid to sample at is given for each image."""
    grid = np.random.default_rng(0).uniform(-1, 1, (1, 5, 5, 2))
    nodes = [node("GridSample", ["x", "grid"], ["y"])]
    proto = model(nodes, initializers=[tensor("grid", grid, np.float32)], shape=(1, 3, 8, 8))
    check(proto, read(save(proto, tmp_path)))


def test_zeros_like_a_map_take_no_memory(tmp_path: Path) -> None:
    """A hundred images of this size would be more than may be computed while reading."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("ConstantOfShape", ["s"], ["z"], value=tensor("v", [1.5], np.float32)),
        node("CumSum", ["z", "one"], ["c"]),
        node("Add", ["x", "c"], ["y"]),
    ]
    proto = model(nodes, initializers=[tensor("one", 1)], shape=("N", 4, 512, 512))
    graph = read(save(proto, tmp_path))
    (stored,) = [value for value in graph.initializers.values() if is_weight(value)]
    assert shape_of(stored) == (1, 4, 512, 512) and role_of(stored) == "static"


def test_output_without_the_image_is_refused(tmp_path: Path) -> None:
    """An output that does not depend on the image is refused."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("ConstantOfShape", ["s"], ["z"]),
        node("CumSum", ["z", "one"], ["y"]),
    ]
    with pytest.raises(InvalidModel, match="a constant is repeated for each image"):
        read(save(model(nodes, initializers=[tensor("one", 1)]), tmp_path))


def test_all_images_cut_out_are_all_images(tmp_path: Path) -> None:
    """``x[:n]``, with as many as there are: named in the file, or counted."""
    counted = [node("Shape", ["x"], ["n"], start=0, end=1), node("Slice", ["x", "zero", "n", "zero"], ["y"])]
    proto = model(counted, initializers=[tensor("zero", [0])])
    check(proto, read(save(proto, tmp_path)))
    stored = [tensor("zero", [0]), tensor("n", [4])]
    proto = model(counted[1:], initializers=stored, shape=(4, 3, 8, 8))
    check(proto, read(save(proto, tmp_path)), (4, 8))
    with pytest.raises(InvalidModel):
        read(save(model(counted[1:], initializers=[stored[0], tensor("n", [3])], shape=(4, 3, 8, 8)), tmp_path))
