"""Which blob fills which weight: every kind of layer, shared weights, old shapes, and what does not fit."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffemodels import blob, field, floats, net, v1, v2
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from trunkline.errors import InvalidModel
from trunkline.graph.fillers import FILLER_KEY
from trunkline.graph.graph import Graph, array_of
from trunkline.ingest.prototxt import parse_prototxt
from trunkline.ingest.read import read
from trunkline.ingest.weight_files import apply_weights

HEAD = 'name: "small" input: "data" input_shape { dim: 1 dim: 4 dim: 6 dim: 6 } '
FIRST = (
    'layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" '
    "convolution_param { num_output: 8 kernel_size: 3 group: 2 } } "
)
CONV = np.arange(8 * 2 * 9, dtype=np.float32).reshape(8, 2, 3, 3)
EIGHT = np.arange(8, dtype=np.float32) + 1
CAFFE = "batch_norm_param { use_global_stats: true }"
CONV1 = v2("conv1", blob(CONV), blob(EIGHT))


def layer(name: str, kind: str, settings: str = "", bottom: str = "conv1") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" {settings} }} '


def apply(tmp_path: Path, text: str, data: bytes, **options: Any) -> Graph:
    path = tmp_path / "w.caffemodel"
    path.write_bytes(data)
    return apply_weights(parse_prototxt(HEAD + text), path, **options)


def weights(graph: Graph) -> dict[str, np.ndarray[Any, Any]]:
    return {name: array_of(value) for name, value in graph.initializers.items()}


def refused(tmp_path: Path, text: str, data: bytes, *fragments: str) -> str:
    with pytest.raises(InvalidModel) as caught:
        apply(tmp_path, text, data)
    for fragment in fragments:
        assert fragment in str(caught.value)
    return str(caught.value)


@pytest.mark.golden
def test_convolution_by_name(tmp_path: Path) -> None:
    graph = apply(tmp_path, FIRST, net(CONV1))
    found = weights(graph)
    assert np.array_equal(found["conv1.weight"], CONV)
    assert np.array_equal(found["conv1.bias"], EIGHT)
    assert not any(FILLER_KEY in value.metadata_props for value in graph.initializers.values())
    assert graph.notes == ()


@pytest.mark.golden
@pytest.mark.parametrize(("factor", "scale"), [(1.0, 1.0), (4.0, 0.25), (999.98, np.float32(1) / np.float32(999.98))])
def test_statistics_are_divided_by_the_factor(tmp_path: Path, factor: float, scale: float) -> None:
    """The third blob of a BatchNorm divides mean and variance, in float32 as Caffe does it."""
    text = FIRST + layer("bn", "BatchNorm", CAFFE)
    data = net(CONV1, v2("bn", blob(EIGHT), blob(EIGHT * 2), blob(np.array([factor], np.float32))))
    found = weights(apply(tmp_path, text, data))
    assert np.array_equal(found["bn.mean"], EIGHT * np.float32(scale))
    assert np.array_equal(found["bn.var"], EIGHT * 2 * np.float32(scale))


@pytest.mark.golden
def test_factor_zero_gives_zero_statistics(tmp_path: Path) -> None:
    """A BatchNorm that has seen no image has a factor of 0, and Caffe then takes 0 for its statistics."""
    text = FIRST + layer("bn", "BatchNorm", CAFFE)
    data = net(CONV1, v2("bn", blob(EIGHT), blob(EIGHT), blob(np.zeros(1, np.float32))))
    assert not weights(apply(tmp_path, text, data))["bn.mean"].any()


@pytest.mark.golden
def test_absorbed_scale_keeps_its_blobs(tmp_path: Path) -> None:
    """A Scale layer that became part of a BatchNorm still fills weights under its own name."""
    text = FIRST + layer("bn", "BatchNorm") + layer("sc", "Scale", "scale_param { bias_term: true }", "bn")
    statistics = v2("bn", blob(EIGHT), blob(EIGHT * 2), blob(np.ones(1, np.float32)))
    found = weights(apply(tmp_path, text, net(CONV1, statistics, v2("sc", blob(EIGHT * 3), blob(EIGHT * 4)))))
    assert np.array_equal(found["sc.weight"], EIGHT * 3)
    assert np.array_equal(found["sc.bias"], EIGHT * 4)
    assert np.array_equal(found["bn.var"], EIGHT * 2)


ONE = np.ones(1, np.float32)
KINDS: dict[str, tuple[str, list[np.ndarray[Any, Any]], dict[str, int]]] = {
    # settings with the type in front; blobs; which blob each weight is
    "InnerProduct inner_product_param { num_output: 3 }": (
        "",
        [np.ones((3, 128), np.float32), np.arange(3, dtype=np.float32)],
        {"x.weight": 0, "x.bias": 1},
    ),
    "InnerProduct inner_product_param { num_output: 3 transpose: true bias_term: false }": (
        "",
        [np.arange(384, dtype=np.float32).reshape(128, 3)],
        {"x.weight": 0},
    ),
    "Deconvolution convolution_param { num_output: 4 kernel_size: 2 stride: 2 group: 4 }": (
        "",
        [np.arange(32, dtype=np.float32).reshape(8, 1, 2, 2), np.arange(4, dtype=np.float32)],
        {"x.weight": 0, "x.bias": 1},
    ),
    "ConvolutionDepthwise convolution_param { num_output: 8 kernel_size: 3 bias_term: false }": (
        "",
        [np.arange(72, dtype=np.float32).reshape(8, 1, 3, 3)],
        {"x.weight": 0},
    ),
    "PReLU": ("", [EIGHT], {"x.weight": 0}),
    "PReLU prelu_param { channel_shared: true }": ("", [np.array(0.5, np.float32)], {"x.weight": 0}),
    "Scale": ("", [EIGHT], {"x.weight": 0}),
    "Scale scale_param { bias_term: true }": ("", [EIGHT, -EIGHT], {"x.weight": 0, "x.bias": 1}),
    "Bias": ("", [EIGHT], {"x.bias": 0}),
    "BN bn_param { frozen: true }": (
        "",
        [EIGHT, EIGHT + 1, EIGHT + 2, EIGHT + 3],
        {"x.scale": 0, "x.bias": 1, "x.mean": 2, "x.var": 3},
    ),
    "BN bn_param { bn_mode: INFERENCE }": ("", [EIGHT, EIGHT + 1], {"x.scale": 0, "x.bias": 1}),
    "BatchNorm batch_norm_param { scale_bias: true use_global_stats: true }": (
        "",
        [EIGHT, EIGHT + 1, ONE, EIGHT + 2, EIGHT + 3],
        {"x.mean": 0, "x.var": 1, "x.scale": 3, "x.bias": 4},
    ),
    "Normalize norm_param { across_spatial: false channel_shared: false }": ("", [EIGHT], {"x.weight": 0}),
}


@pytest.mark.golden
@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_with_blobs(tmp_path: Path, kind: str) -> None:
    name, _, block = kind.partition(" ")
    _, blobs, wanted = KINDS[kind]
    graph = apply(tmp_path, FIRST + layer("x", name, block), net(CONV1, v2("x", *map(blob, blobs), kind=name)))
    found = weights(graph)
    for weight, index in wanted.items():
        assert np.array_equal(found[weight].ravel(), blobs[index].ravel()), weight
    assert graph.notes == parse_prototxt(HEAD + FIRST + layer("x", name, block)).notes


@pytest.mark.golden
def test_legacy_shapes_fit_by_their_sizes(tmp_path: Path) -> None:
    """Before 2014 every blob had four sizes: a matrix was 1 x 1 x N x K, a bias 1 x 1 x 1 x N."""
    text = FIRST + layer("fc", "InnerProduct", "inner_product_param { num_output: 3 }")
    matrix, bias = np.arange(384, dtype=np.float32).reshape(3, 128), np.arange(3, dtype=np.float32)
    old = net(v1("conv1", blob(CONV, legacy=True), blob(EIGHT, legacy=True)))
    old += v1("fc", blob(matrix, legacy=True), blob(bias, legacy=True))
    found = weights(apply(tmp_path, text, old))
    assert np.array_equal(found["fc.weight"], matrix)
    assert np.array_equal(found["fc.bias"], bias)
    assert found["conv1.weight"].shape == CONV.shape


SHARED = (
    'layer { name: "a" type: "Convolution" bottom: "data" top: "a" param { name: "w" } '
    "convolution_param { num_output: 4 kernel_size: 1 bias_term: false } } "
    'layer { name: "b" type: "Convolution" bottom: "a" top: "b" param { name: "w" } '
    "convolution_param { num_output: 4 kernel_size: 1 bias_term: false } } "
)
SQUARE = np.arange(16, dtype=np.float32).reshape(4, 4, 1, 1)


@pytest.mark.golden
def test_shared_weights_come_from_either_layer(tmp_path: Path) -> None:
    for layers in ([v2("a", blob(SQUARE))], [v2("b", blob(SQUARE))], [v2("a", blob(SQUARE)), v2("b", blob(SQUARE))]):
        graph = apply(tmp_path, SHARED, net(*layers))
        assert list(graph.initializers) == ["a.weight"]
        assert np.array_equal(weights(graph)["a.weight"], SQUARE)
        assert graph.notes == ()


@pytest.mark.abuse
def test_shared_weights_that_differ(tmp_path: Path) -> None:
    data = net(v2("a", blob(SQUARE)), v2("b", blob(SQUARE + 1)))
    refused(tmp_path, SHARED, data, 'the layers that share "a.weight" hold different blobs', "byte")


@pytest.mark.golden
def test_names_with_slashes_and_dots(tmp_path: Path) -> None:
    text = FIRST.replace("conv1", "a/b.c")
    assert np.array_equal(
        weights(apply(tmp_path, text, net(v2("a/b.c", blob(CONV), blob(EIGHT)))))["a/b.c.bias"], EIGHT
    )


@pytest.mark.golden
def test_unused_layers_are_noted(tmp_path: Path) -> None:
    graph = apply(tmp_path, FIRST, net(CONV1, v2("fc8", blob(EIGHT)), v2("relu")))
    assert graph.notes == ('w.caffemodel has weights that the network does not use: "fc8"',)


@pytest.mark.abuse
def test_missing_weights_are_an_error_unless_allowed(tmp_path: Path) -> None:
    text = FIRST + layer("x", "PReLU")
    refused(tmp_path, text, net(CONV1), '1 of 3 weights are missing: "x.weight"', "--allow-missing")
    graph = apply(tmp_path, text, net(CONV1), allow_missing=True)
    assert graph.notes == ('w.caffemodel lacks 1 weights, which start as the network says: "x.weight"',)
    assert np.array_equal(weights(graph)["conv1.bias"], EIGHT)
    assert FILLER_KEY in graph.initializers["x.weight"].metadata_props


@pytest.mark.abuse
def test_all_misfits_are_in_one_error(tmp_path: Path) -> None:
    """One error lists what does not fit, what is missing and what is not used."""
    text = FIRST + layer("bn", "BatchNorm", CAFFE) + layer("x", "PReLU", bottom="bn") + layer("y", "PReLU", bottom="x")
    data = net(
        v2("conv1", blob(CONV.reshape(2, 8, 3, 3)), blob(EIGHT)),
        v2("bn", blob(EIGHT), blob(EIGHT)),
        v2("y", blob(EIGHT), blob(EIGHT)),
        v2("z", blob(EIGHT)),
    )
    said = refused(
        tmp_path,
        text,
        data,
        '"conv1.weight" is [2, 8, 3, 3] in the file; the network expects [8, 2, 3, 3]',
        'the file has 2 blobs for layer "bn"; expected 3 (mean, variance, scale factor)',
        'the file has 2 blobs for layer "y"; expected 1 (weight)',
        '1 of 6 weights are missing: "x.weight"',
        'not used are "z"',
    )
    assert said.count("w.caffemodel") >= 5


@pytest.mark.abuse
def test_equal_size_is_not_equal_shape(tmp_path: Path) -> None:
    """A fully connected layer turned into a convolution has as many numbers, but Caffe refuses it, and so do we."""
    text = FIRST + layer("fc", "Convolution", "convolution_param { num_output: 3 kernel_size: 4 bias_term: false }")
    refused(tmp_path, text, net(CONV1, v2("fc", blob(np.ones((3, 128), np.float32)))), "is [3, 128] in the file")


@pytest.mark.abuse
def test_another_network_is_refused(tmp_path: Path) -> None:
    """A file that has none of the weights is called what it is, with the nearest layer name."""
    refused(tmp_path, FIRST, net(v2("conv_1", blob(CONV), blob(EIGHT))), "no weight of", 'did you mean "conv_1"?')


@pytest.mark.abuse
def test_factor_must_be_one_number(tmp_path: Path) -> None:
    text = FIRST + layer("bn", "BatchNorm", CAFFE)
    refused(tmp_path, text, net(CONV1, v2("bn", *[blob(EIGHT)] * 3)), 'scale factor of layer "bn" is [8]')


@pytest.mark.properties
@settings(max_examples=60, deadline=None)
@given(st.permutations([(1,), (2,), (3, 1), (1, 4)]), st.lists(st.integers(1, 4), max_size=4), st.booleans())
def test_only_sizes_of_one_may_differ(order: Any, found: list[int], padded: bool) -> None:
    from trunkline.ingest.caffemodel.match import _fits

    wanted = [size for part in order for size in part]
    stripped = [size for size in wanted if size != 1]
    candidate = [1, *wanted, 1] if padded else found
    assert _fits(candidate, wanted) == ([size for size in candidate if size != 1] == stripped)


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02.")


FOREIGN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"w": 1})), "pickle.*never read.*safetensors"),
    "torch archive": (_archive, "archive.*never read.*safetensors"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50)), "HDF5.*give a .caffemodel"),
    "prototxt": (lambda path: path.write_text(FIRST), "text.*give a .caffemodel"),
    "empty": (lambda path: path.touch(), "empty"),
    "folder": (lambda path: path.mkdir(), "folder"),
    "cut safetensors": (lambda path: path.write_bytes(b"\xff\0\0\0\0\0\0\0" + b'{"a":'), "no safetensors file"),
}


@pytest.mark.abuse
@pytest.mark.parametrize("name", FOREIGN)
def test_other_formats(tmp_path: Path, name: str) -> None:
    make, pattern = FOREIGN[name]
    make(tmp_path / "w.caffemodel")
    with pytest.raises(InvalidModel, match=f"(?s){pattern}"):
        apply_weights(parse_prototxt(HEAD + FIRST), tmp_path / "w.caffemodel")


@pytest.mark.golden
def test_safetensors_by_name_and_content(tmp_path: Path) -> None:
    """The format is recognised by content, whatever the file is called; other numbers than floats are refused."""
    network, path = tmp_path / "net.prototxt", tmp_path / "w.caffemodel"
    network.write_text(HEAD + FIRST)
    save_file({"conv1.weight": CONV.astype(np.float16), "conv1.bias": EIGHT, "extra": EIGHT}, path)
    graph = read(network, weights=path)
    assert np.array_equal(weights(graph)["conv1.weight"], CONV)
    assert weights(graph)["conv1.weight"].dtype == np.float32
    assert graph.notes == ('w.caffemodel has weights that the network does not use: "extra"',)
    save_file({"conv1.weight": CONV, "conv1.bias": EIGHT.astype(np.int32)}, path)
    with pytest.raises(InvalidModel, match='"conv1.bias" is of type I32'):
        read(network, weights=path)


@pytest.mark.golden
def test_weights_stay_in_the_file(tmp_path: Path) -> None:
    """Each access reads the numbers from the file again, into an array of its own."""
    network, path = tmp_path / "net.prototxt", tmp_path / "w.caffemodel"
    network.write_text(HEAD + FIRST)
    path.write_bytes(net(CONV1))
    graph = read(network, weights=path)
    tensor = graph.initializers["conv1.weight"].const_value
    assert tensor is not None
    first, second = tensor.numpy(), tensor.numpy()
    assert first is not second
    assert np.array_equal(first, second)
    assert first.flags.aligned
    assert first.flags.writeable


@pytest.mark.abuse
def test_non_finite_weights_are_located(tmp_path: Path) -> None:
    """NaN is refused when the weight is read, with its blob and layer."""
    data = net(v2("conv1", blob(CONV), field(7, field(1, b"\x08")) + floats([np.nan] * 8)))
    graph = apply(tmp_path, FIRST, data)
    with pytest.raises(InvalidModel, match=r'blob 1 of layer "conv1".*NaN'):
        weights(graph)
