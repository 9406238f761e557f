"""What people's own files taught: each case once stopped such a file, or read it as another network."""

from __future__ import annotations

import numpy as np
import pytest
from prototxt_nets import evaluate, image, net, randomised

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Graph
from trunkline.graph.roles import parameter_count
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


@pytest.mark.parametrize(
    ("body", "note"),
    [
        ('type: "gaussian" mean: 0.5 std: 0.1', "mean 0.5"),
        ('type: "uniform" min: 0 max: 0.25', "from 0 to 0.25"),
        ('type: "positive_unitball"', '"positive_unitball"'),
        ('type: "orthogonal"', '"orthogonal"'),
    ],
)
def test_golden_a_filler_that_cannot_be_kept_is_noted(body: str, note: str) -> None:
    graph = net(f'type: "Convolution" convolution_param {{ num_output: 2 kernel_size: 1 weight_filler {{ {body} }} }}')
    assert note in notes(graph)


def test_golden_names_of_fillers_may_be_in_capitals() -> None:
    graph = net('type: "InnerProduct" inner_product_param { num_output: 2 weight_filler { type: "MSRA" } }')
    assert not graph.notes


def test_abuse_a_misspelt_filler_is_an_error() -> None:
    body = 'inner_product_param { num_output: 2 weight_filler { type: "xavire" } }'
    assert 'did you mean "xavier"?' in refusal(INPUT + layer("InnerProduct", "data", "y", body))


def test_parity_a_convolution_of_two_maps_has_one_weight() -> None:
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


def test_abuse_maps_that_cannot_share_a_weight() -> None:
    before = layer("Concat", "data data", "wide")
    text = INPUT + before + layer("Convolution", "data wide", "a b", CONV, "c")
    assert "has one weight for all its bottoms" in refusal(text)
    text = INPUT + before + layer("Convolution", "data wide", "a", CONV, "c")
    assert '"c" has 2 bottoms, but 1 tops' in refusal(text)


@pytest.mark.parametrize(
    "norm",
    [
        "param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 }",
        "batch_norm_param { use_global_stats: true }",
        "batch_norm_param { scale_bias: false }",
    ],
)
def test_golden_a_caffe_file_without_scale_layers_is_not_automtl_s(norm: str) -> None:
    """Its BatchNorm only normalises, and its pooling rounds up."""
    pool = layer("Pooling", "n", "p", "pooling_param { kernel_size: 3 stride: 2 }")
    graph = parse_prototxt(INPUT + layer("BatchNorm", "data", "n", norm) + pool)
    assert parameter_count(graph) == 0
    assert tuple(graph.outputs[0].shape)[2:] == (4, 4)


def test_golden_nvidia_s_own_scale_and_shift() -> None:
    fields = "scale_bias: true scale_filler { value: 2 } bias_filler { value: 1 }"
    graph = parse_prototxt(INPUT + layer("BatchNorm", "data", "n", f"batch_norm_param {{ {fields} }}"))
    assert parameter_count(graph) == 6
    assert "AutoMTL" not in notes(graph)


def test_golden_a_mask_that_nothing_reads_is_noted() -> None:
    pool = layer("Pooling", "data", "p mask", "pooling_param { kernel_size: 2 stride: 2 }", "pool")
    graph = parse_prototxt(INPUT + pool)
    assert [value.name for value in graph.outputs] == ["p"]
    assert 'nothing reads the mask of Pooling "pool"' in notes(graph)


def test_parity_unpooling_may_repeat_the_window_of_its_pooling() -> None:
    window = "pooling_param { pool: MAX kernel_size: 3 stride: 2 }"
    before = f'layer {{ name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" {window} }}'
    graph = net(f'type: "Unpooling" bottom: "p" bottom: "m" {window}', (2, 7, 7), before)
    x = np.arange(2 * 2 * 7 * 7, dtype=np.float32).reshape(2, 2, 7, 7)
    expected = np.zeros_like(x)
    expected[:, :, 2::2, 2::2] = x[:, :, 2::2, 2::2]  # the last number of each window is its greatest
    np.testing.assert_array_equal(evaluate(graph, x)[0], expected)


def test_abuse_unpooling_with_another_window() -> None:
    pool = layer("Pooling", "data", "p m", "pooling_param { kernel_size: 2 stride: 2 }", "p")
    text = INPUT + pool + layer("Unpooling", "p m", "u", "pooling_param { kernel_size: 3 stride: 2 }")
    assert "another window than the pooling" in refusal(text)


def test_parity_upsample_with_a_factor_of_one() -> None:
    x = image()
    found = evaluate(net('type: "Upsample" upsample_param { scale: 1 stride: 2 }'), x)[0]
    np.testing.assert_array_equal(found, x.repeat(2, axis=2).repeat(2, axis=3))
    text = INPUT + layer("Upsample", "data", "u", "upsample_param { scale: 2 stride: 2 }")
    assert "multiplies by its scale" in refusal(text)


def test_golden_other_names_of_layers() -> None:
    depthwise = net('type: "DepthwiseConv" convolution_param { num_output: 3 kernel_size: 3 }')
    assert parameter_count(depthwise) == 3 * 9 + 3
    assert parameter_count(net('type: "BNData" bn_param { moving_average: true decay: 0.05 }')) == 6


def test_golden_dropout_that_samples_is_deployed_as_the_identity() -> None:
    graph = net('type: "Dropout" dropout_param { sample_weights_test: true }')
    assert "sample_weights_test" in notes(graph)


@pytest.mark.parametrize("kind", ["ImageLabelmapData", "BboxData", "CustomDataLayer"])
def test_golden_data_layers_of_forks_are_inputs(kind: str) -> None:
    data = layer(kind, "", "data label", 'image_data_param { source: "list.txt" new_height: 8 new_width: 8 }', "d")
    graph = parse_prototxt(data + layer("Convolution", "data", "c", CONV))
    assert tuple(graph.input.shape)[1:] == (3, 8, 8)


def test_golden_channels_that_no_one_gave_are_noted() -> None:
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


def test_golden_the_refusal_of_a_detector_says_what_can_be_read() -> None:
    message = refusal(DETECTOR)
    assert "--features score,boxes" in message
    assert 'reads 2 inputs: "data", "im_info"' in message
    graph = parse_prototxt(DETECTOR, features=("score", "boxes"))
    assert [value.name for value in graph.outputs] == ["score", "boxes"]


def test_golden_no_features_are_offered_when_most_would_be_lost() -> None:
    text = INPUT + layer("Python", "data", "p") + layer("ReLU", "p", "r") + layer("ReLU", "r", "s")
    assert "can be read" not in refusal(text)


VIDEO = f'input: "data" {"input_dim: 8 " * 5} {layer("ReLU", "data", "r")}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('test_interval: 500 snapshot_prefix: "x" type: "AdaDelta"', "this is a solver file"),
        ('item { name: "none" label: 0 display_name: "background" }', "it is a label map"),
        ('layers { layer { name: "c" type: "conv" } } layers { layer { name: "r" type: "relu" } }', "V0 format"),
        (VIDEO, "5 axes"),
        # input_dim: 8 input_dim: 8 layer { type: "ReLU" }', "5 axes"),
    ],
)
def test_abuse_a_file_of_another_kind_is_called_what_it_is(text: str, message: str) -> None:
    found = refusal(text)
    assert message in found
    assert found.count("V0") <= 1
    assert "declares no input" not in found
