"""What people's own files taught: each case once stopped such a file, or read it as another network."""

from __future__ import annotations

import numpy as np
import pytest
from parameters import parameter_count
from prototxt_nets import evaluate, image, net, randomised

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Graph
from trunkline.ingest.prototxt import parse_prototxt

INPUT = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
CONV = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }"


def layer(kind: str, bottom: str, top: str, body: str = "", name: str = "") -> str:
    """Return a layer with the blobs named, separated by blanks."""
    blobs = [f'bottom: "{blob}"' for blob in bottom.split()] + [f'top: "{blob}"' for blob in top.split()]
    return f'layer {{ name: "{name or top}" type: "{kind}" {" ".join(blobs)} {body} }}\n'


def refusal(text: str, **options: object) -> str:
    with pytest.raises(InvalidModel) as caught:
        parse_prototxt(text, "net.prototxt", **options)
    return str(caught.value)


def notes(graph: Graph) -> str:
    return "\n".join(graph.notes)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("body", "note"),
    [
        ('type: "gaussian" mean: 0.5 std: 0.1', "mean 0.5"),
        ('type: "uniform" min: 0 max: 0.25', "from 0 to 0.25"),
        ('type: "positive_unitball"', '"positive_unitball"'),
        ('type: "orthogonal"', '"orthogonal"'),
    ],
)
def test_lost_fillers_are_noted(body: str, note: str) -> None:
    """A filler only matters to a fresh start, so one that cannot be kept is a note, not an error."""
    graph = net(f'type: "Convolution" convolution_param {{ num_output: 2 kernel_size: 1 weight_filler {{ {body} }} }}')
    assert note in notes(graph)


@pytest.mark.golden
def test_filler_names_in_capitals() -> None:
    graph = net('type: "InnerProduct" inner_product_param { num_output: 2 weight_filler { type: "MSRA" } }')
    assert not graph.notes


@pytest.mark.abuse
def test_misspelt_filler_is_an_error() -> None:
    body = 'inner_product_param { num_output: 2 weight_filler { type: "xavire" } }'
    assert 'did you mean "xavier"?' in refusal(INPUT + layer("InnerProduct", "data", "y", body))


@pytest.mark.parity
def test_convolution_of_two_maps() -> None:
    """A convolution with two bottoms and two tops applies one set of weights to both."""
    before = layer("ReLU", "x", "r")
    graph = net(f'type: "Convolution" bottom: "x" bottom: "r" top: "a" top: "b" {CONV}', before=before)
    alone = net(f'type: "Convolution" {CONV}')
    assert parameter_count(graph) == parameter_count(alone)
    randomised(graph)
    randomised(alone)
    x = image()
    found, expected = evaluate(graph, x), [evaluate(alone, part)[0] for part in (x, np.maximum(x, 0))]
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.abuse
def test_maps_that_cannot_share_a_weight() -> None:
    before = layer("Concat", "data data", "wide")
    text = INPUT + before + layer("Convolution", "data wide", "a b", CONV, "c")
    assert "has one weight for all its bottoms" in refusal(text)
    text = INPUT + before + layer("Convolution", "data wide", "a", CONV, "c")
    assert '"c" has 2 bottoms, but 1 tops' in refusal(text)


@pytest.mark.golden
@pytest.mark.parametrize(
    "norm",
    [
        "param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 }",
        "batch_norm_param { use_global_stats: true }",
        "batch_norm_param { scale_bias: false }",
    ],
)
def test_caffe_file_without_scale_layers(norm: str) -> None:
    """Its BatchNorm only normalises, and its pooling rounds up."""
    pool = layer("Pooling", "n", "p", "pooling_param { kernel_size: 3 stride: 2 }")
    graph = parse_prototxt(INPUT + layer("BatchNorm", "data", "n", norm) + pool)
    assert parameter_count(graph) == 0
    assert tuple(graph.outputs[0].shape)[2:] == (4, 4)


@pytest.mark.golden
def test_nvidias_scale_bias() -> None:
    fields = "scale_bias: true scale_filler { value: 2 } bias_filler { value: 1 }"
    graph = parse_prototxt(INPUT + layer("BatchNorm", "data", "n", f"batch_norm_param {{ {fields} }}"))
    assert parameter_count(graph) == 6
    assert "AutoMTL" not in notes(graph)


@pytest.mark.golden
def test_unread_mask_is_noted() -> None:
    pool = layer("Pooling", "data", "p mask", "pooling_param { kernel_size: 2 stride: 2 }", "pool")
    graph = parse_prototxt(INPUT + pool)
    assert [value.name for value in graph.outputs] == ["p"]
    assert 'nothing reads the mask of Pooling "pool"' in notes(graph)


@pytest.mark.parity
def test_unpooling_with_a_pooling_param() -> None:
    """A fork's Unpooling repeats the window of the pooling that made its mask."""
    window = "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"
    before = f'layer {{ name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" {window} }}'
    graph = net(f'type: "Unpooling" bottom: "p" bottom: "m" {window}', (2, 7, 7), before)
    x = np.arange(2 * 2 * 7 * 7, dtype=np.float32).reshape(2, 2, 7, 7)
    expected = np.zeros_like(x)
    expected[:, :, 2::2, 2::2] = x[:, :, 2::2, 2::2]  # the last number of each window is its greatest
    np.testing.assert_array_equal(evaluate(graph, x)[0], expected)


@pytest.mark.abuse
def test_unpooling_with_another_window() -> None:
    pool = layer("Pooling", "data", "p m", "pooling_param { kernel_size: 2 stride: 2 }", "p")
    text = INPUT + pool + layer("Unpooling", "p m", "u", "pooling_param { kernel_size: 3 stride: 2 }")
    assert "another window than the pooling" in refusal(text)


@pytest.mark.parity
def test_upsample_with_a_factor_of_one() -> None:
    x = image()
    found = evaluate(net('type: "Upsample" upsample_param { scale: 1 stride: 2 }'), x)[0]
    np.testing.assert_array_equal(found, x.repeat(2, axis=2).repeat(2, axis=3))
    text = INPUT + layer("Upsample", "data", "u", "upsample_param { scale: 2 stride: 2 }")
    assert "multiplies by its scale" in refusal(text)


@pytest.mark.golden
def test_other_names_of_layers() -> None:
    depthwise = net('type: "DepthwiseConv" convolution_param { num_output: 3 kernel_size: 3 }')
    assert parameter_count(depthwise) == 3 * 9 + 3
    assert parameter_count(net('type: "BNData" bn_param { moving_average: true decay: 0.05 }')) == 6


@pytest.mark.golden
def test_sampling_dropout_is_the_identity() -> None:
    """sample_weights_test asks for noise at inference, which is noted and left out."""
    graph = net('type: "Dropout" dropout_param { sample_weights_test: true }')
    assert "sample_weights_test" in notes(graph)


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["ImageLabelmapData", "BboxData", "CustomDataLayer"])
def test_data_layers_of_forks_are_inputs(kind: str) -> None:
    data = layer(kind, "", "data label", 'image_data_param { source: "list.txt" new_height: 8 new_width: 8 }', "d")
    graph = parse_prototxt(data + layer("Convolution", "data", "c", CONV))
    assert tuple(graph.input.shape)[1:] == (3, 8, 8)


@pytest.mark.golden
def test_assumed_channels_are_noted() -> None:
    """A data layer without channels becomes an image of 3, with a note."""
    text = layer("Data", "", "data label", 'data_param { source: "lmdb" }') + layer("Convolution", "data", "c", CONV)
    graph = parse_prototxt(text, input_size=(8, 8))
    assert "it has 3 here" in notes(graph)
    assert "--input-size" in refusal(text)


DETECTOR = (
    INPUT
    + 'input: "im_info" input_shape { dim: 1 dim: 3 }\n'
    + layer("Convolution", "data", "map", CONV)
    + layer("Pooling", "map", "pool mask", "pooling_param { kernel_size: 2 stride: 2 }", "pool")
    + layer("Convolution", "pool", "score", CONV)
    + layer("Convolution", "pool", "boxes", CONV)
    + layer("Proposal", "score boxes im_info", "rois")
    + layer("ROIPooling", "pool rois", "parts")
)


@pytest.mark.golden
def test_detector_refusal_offers_features() -> None:
    """The error of a detector lists the features at which its backbone can be read."""
    message = refusal(DETECTOR)
    assert "--features score,boxes" in message
    assert 'reads 2 inputs: "data", "im_info"' in message
    graph = parse_prototxt(DETECTOR, features=("score", "boxes"))
    assert [value.name for value in graph.outputs] == ["score", "boxes"]


@pytest.mark.golden
def test_no_features_when_most_is_lost() -> None:
    """Where the unknown layer is the first, nothing useful is left to offer."""
    text = INPUT + layer("Python", "data", "p") + layer("ReLU", "p", "r") + layer("ReLU", "r", "s")
    assert "can be read" not in refusal(text)


VIDEO = f'input: "data" {"input_dim: 8 " * 5} {layer("ReLU", "data", "r")}'


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('test_interval: 500 snapshot_prefix: "x" type: "AdaDelta"', "this is a solver file"),
        ('item { name: "none" label: 0 display_name: "background" }', "it is a label map"),
        ('layers { layer { name: "c" type: "conv" } } layers { layer { name: "r" type: "relu" } }', "V0 format"),
        (VIDEO, "5 axes"),
    ],
)
def test_other_kinds_of_files_are_named(text: str, message: str) -> None:
    """A solver file, a label map, a file of V0 or of videos gets one error that names its kind."""
    found = refusal(text)
    assert message in found
    assert found.count("V0") <= 1
    assert "declares no input" not in found
