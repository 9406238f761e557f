"""What an error advises must not change what the network computes; one error requests all that is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from parameters import parameter_count
from prototxt_nets import assert_close, evaluate, image, net

import trunkline
from trunkline.cli.main import run
from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import Graph, attribute
from trunkline.ingest.prototxt import parse_prototxt

FIELD = Path(__file__).parents[1] / "corpus" / "field"
FORKS, PLACEHOLDERS = FIELD / "did_you_mean_changes_numbers", FIELD / "placeholder_input_size"
INPUT = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'


def layer(kind: str, bottom: str, top: str, body: str = "") -> str:
    blobs = [f'bottom: "{blob}"' for blob in bottom.split()] + [f'top: "{blob}"' for blob in top.split()]
    return f'layer {{ name: "{top}" type: "{kind}" {" ".join(blobs)} {body} }}\n'


def refusal(text: str, **options: object) -> InvalidModel:
    with pytest.raises(InvalidModel) as caught:
        parse_prototxt(text, "net.prototxt", **options)
    assert all(problem.place.startswith("net.prototxt") for problem in caught.value.problems)
    return caught.value


def last(path: Path) -> dict[str, object]:
    node = trunkline.read(path).nodes[-1]
    return {name: attribute(node, name) for name in node.attributes}


# --- fields and types of forks that a guess once mistook


@pytest.mark.golden
def test_four_sides_are_padded() -> None:
    assert last(FORKS / "pad_lrtb.prototxt")["pads"] == [0, 0, 1, 1]
    assert tuple(trunkline.read(FORKS / "pad_lrtb.prototxt").outputs[0].shape)[1:] == (8, 16, 16)


@pytest.mark.golden
def test_ave_tf_divides_by_pixels() -> None:
    """AVE_TF is an average of the pixels alone, without the padding in the divisor."""
    settings = last(FORKS / "ave_tf.prototxt")
    assert (settings["count_include_pad"], settings["pads"]) == (0, [1, 1, 1, 1])


@pytest.mark.golden
def test_quantized_net_is_read_as_float() -> None:
    """quantization_param is left out with a note."""
    graph = trunkline.read(FORKS / "quant_param.prototxt")
    assert [node.op_type for node in graph.nodes] == ["Conv"]
    assert "quantization_param was left out" in "\n".join(graph.notes)


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["Convolution", "Pooling", "InnerProduct", "Eltwise", "ReLU", "BatchNorm", "Scale"])
def test_any_layer_may_have_quantization_param(kind: str) -> None:
    own = {
        "Convolution": "convolution_param { num_output: 2 kernel_size: 1 }",
        "Pooling": "pooling_param { kernel_size: 2 }",
        "InnerProduct": "inner_product_param { num_output: 2 }",
    }
    rounded = "quantization_param { bw_layer_in: 8 bw_params: 8 scale_in: 1.5 is_negative_input: true }"
    bottom = "data data" if kind == "Eltwise" else "data"
    graphs = [parse_prototxt(INPUT + layer(kind, bottom, "y", f"{own.get(kind, '')} {end}")) for end in ("", rounded)]
    assert parameter_count(graphs[0]) == parameter_count(graphs[1])
    assert [node.op_type for node in graphs[0].nodes] == [node.op_type for node in graphs[1].nodes]


@pytest.mark.golden
def test_intels_filler_is_left_to_the_scale() -> None:
    """Intel's fork gives a BatchNorm a filler for the factor that the Scale layer after it holds."""
    norm = layer("BatchNorm", "data", "n", "batch_norm_param { filler { value: 0 } }")
    graph = parse_prototxt(INPUT + norm + layer("Scale", "n", "s"))
    assert "filler of BatchNorm was left out" in "\n".join(graph.notes)
    assert "filler" in str(refusal(INPUT + norm + layer("Power", "n", "p")))


@pytest.mark.golden
@pytest.mark.parametrize(
    ("kind", "words"),
    [("AutoCropping", "replace it"), ("Region", "detector's head"), ("ConvolutionRistretto", "write Convolution")],
)
def test_types_of_forks_are_explained(kind: str, words: str) -> None:
    """A layer type of a fork gets its own advice, not a guess at a type that computes something else."""
    error = refusal(INPUT + layer(kind, "data data", "y"))
    assert isinstance(error, UnsupportedOp)
    assert words in str(error)
    assert "did you mean" not in str(error)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("Convolution", "convolution_param { num_output: 2 kernel_size: 3 kernel_d: 3 }", "third axis"),
        ("Convolution", "convolution_param { num_output: 2 kernel_size: 3 output_scale: 0.5 }", "whole numbers"),
        ("Pooling", "pooling_param { kernel_size: 2 output_shift_instead_division: 2 }", "shifts the sum"),
        ("Interp", "interp_param { full_zoom_factor: 2 zoom_factor: 1 }", "zooms to size x factor"),
        ("Eltwise", "eltwise_param { operation: MIN }", "-max(-a, -b)"),
        ("Convolution", "convolution_param { num_output: 2 kernel_size: 3 pad_left: 1 }", "might change the result"),
    ],
)
def test_fields_of_forks_are_explained(kind: str, body: str, words: str) -> None:
    """A field of a fork that is not read is refused with its meaning, not with a guess."""
    text = str(refusal(INPUT + layer(kind, "data data" if kind == "Eltwise" else "data", "y", body)))
    assert words in text
    assert "did you mean" not in text


@pytest.mark.abuse
@pytest.mark.parametrize("name", ["autocrop", "placeholder_1x1", "placeholder_valid_conv"])
def test_command_refuses_without_a_traceback(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = FIELD.glob(f"*/{name}.prototxt")
    assert run(["inspect", str(path)]) == 2
    shown = capsys.readouterr()
    assert f"{name}.prototxt:" in shown.err
    assert "Traceback" not in shown.err + shown.out
    assert not any(word in shown.err for word in ("did you mean", "global_pooling", "shrink"))


# --- paddings of four sides: what makes no sense


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("pad: 1 pad_l: 1", "gives pad and pad_l/pad_r/pad_t/pad_b"),
        ("pad_h: 1 pad_w: 1 pad_b: 1", "gives pad_h and pad_l"),
        ("pad_type: 1 pad_r: 1", "gives pad_type and pad_l"),
        ("pad_type: 1 pad: 1", "gives pad and pad_type"),
        ("pad_type: 2", "has pad_type 2"),
        ("pad_type: 1 dilation: 2", "dilated"),
        ("pad_l: -1", "must be a whole number"),
    ],
)
def test_padding_in_two_forms(body: str, words: str) -> None:
    param = f"convolution_param {{ num_output: 2 kernel_size: 3 {body} }}"
    assert words in str(refusal(INPUT + layer("Convolution", "data", "y", param)))


@pytest.mark.golden
def test_zero_sides_are_no_second_form() -> None:
    """Converters write them beside pad; the fork uses the four only where one of them is not 0."""
    sides = "pad: 1 pad_l: 0 pad_r: 0 pad_t: 0 pad_b: 0"
    graph = parse_prototxt(
        INPUT + layer("Convolution", "data", "y", f"convolution_param {{ num_output: 2 kernel_size: 3 {sides} }}")
    )
    assert tuple(graph.outputs[0].shape)[2:] == (8, 8)


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("Pooling", "pooling_param { kernel_size: 2 pad_b: 2 }", "pad must be smaller"),
        ("Pooling", "pooling_param { global_pooling: true pad_l: 1 }", "is global, but has pad_l"),
        ("Deconvolution", "convolution_param { num_output: 2 kernel_size: 3 pad_type: 1 }", "pad_type 1"),
        ("Deconvolution", "convolution_param { num_output: 2 kernel_size: 1 pad_t: 8 }", "leaves nothing"),
        ("Pad", "pad_param { paddings: 1 paddings: 1 }", "2 paddings for 4 axes"),
        ("Pad", "", "has no paddings"),
        ("Pad", "pad_param { paddings: 1 " + "paddings: 0 " * 7 + "}", "batch axis"),
        ("Pad", "pad_param { paddings: -1 }", "must be a whole number"),
        ("ResizeBilinear", "resize_bilinear_param { align_corners: true half_pixel_centers: true }", "keep one"),
        ("ResizeBilinear", 'resize_bilinear_param { data_format: "NCHWD" }', "data_format NCHWD"),
        ("ResizeBilinear", "resize_bilinear_param { output_height: 0 }", "from 1 to"),
        ("ResizeBilinear", "resize_bilinear_param { scale_height: -1 }", "above 0"),
        ("ResizeBilinear", "resize_bilinear_param { scale_height: 1e30 }", "at most"),
        ("ResizeNearestNeighbor", "resize_nearest_neighbor_param { scale_width: 0.01 }", "leaves nothing"),
        ("ResizeNearestNeighbor", "resize_nearest_neighbor_param { pytorch_half_pixel: true }", "unknown field"),
        ("BatchNorm", "batch_norm_param { add_eps_before_sqrt: false }", "after the square root"),
        ("ReLU", "relu_param { relu6: true minimum: 7 }", "must not exceed"),
    ],
)
def test_senseless_settings_of_the_fork(kind: str, body: str, words: str) -> None:
    error = refusal(INPUT + layer(kind, "data", "y", body))
    assert words in str(error)
    assert error.problems[0].line == 2


@pytest.mark.golden
def test_resizing_without_format_is_noted() -> None:
    graph = net('type: "ResizeBilinear" resize_bilinear_param { scale_height: 2 }')
    assert "axes 1 and 2" in "\n".join(graph.notes)
    assert tuple(graph.outputs[0].shape)[1:] == (6, 4, 5)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("flag", "size", "target"), [("", 2, 82), ("half_pixel_centers: true", 2, 41), ("align_corners: true", 8, 47)]
)
def test_rounding_error_decides_as_in_the_fork(flag: str, size: int, target: int) -> None:
    """The middle pixel lies on the border between two: single precision takes another than exact arithmetic."""
    param = f'data_format: "NCHW" output_height: {target} {flag}'
    graph = net(f'type: "ResizeNearestNeighbor" resize_nearest_neighbor_param {{ {param} }}', (1, size, 1))
    assert [node.op_type for node in graph.nodes] == ["Gather", "Gather"]
    places = np.arange(target, dtype=np.float32)
    if flag.startswith("align"):
        taken = places * (np.float32(size - 1) / np.float32(target - 1)) + np.float32(0.5)
    else:
        taken = (places + np.float32(0.5 if flag else 0)) * (np.float32(size) / np.float32(target))
    x = image((1, size, 1))
    assert_close(evaluate(graph, x)[0], x[:, :, np.floor(taken).astype(int)])


# --- images that are too small


@pytest.mark.golden
@pytest.mark.parametrize("name", ["placeholder_1x1", "placeholder_valid_conv"])
def test_placeholder_gets_advice_that_works(name: str) -> None:
    """Following the advice, a larger size, reads the file."""
    path = PLACEHOLDERS / f"{name}.prototxt"
    with pytest.raises(InvalidModel) as caught:
        trunkline.read(path)
    assert all("--input-size H,W" in problem.advice for problem in caught.value.problems)
    assert "the file's size 1 x 1 is too small" in str(caught.value)
    graph = trunkline.read(path, input_size=(32, 32))
    assert isinstance(graph, Graph)


@pytest.mark.golden
def test_given_size_is_named_as_such() -> None:
    """The advice distinguishes the caller's size from the file's."""
    error = refusal(INPUT + layer("Pooling", "data", "y", "pooling_param { kernel_size: 5 }"), input_size=(4, 6))
    assert error.problems[0].advice == "the size given 4 x 6 is too small: give a larger one with --input-size H,W"


@pytest.mark.golden
def test_no_size_advice_after_global_pooling() -> None:
    """Behind a global pooling no image makes the map larger, so the error does not ask for a larger one."""
    text = INPUT + layer("Pooling", "data", "p", "pooling_param { global_pooling: true }")
    error = refusal(text + layer("Convolution", "p", "y", "convolution_param { num_output: 2 kernel_size: 3 }"))
    assert "whatever the image" in error.problems[0].advice
    assert "--input-size" not in str(error)


@pytest.mark.golden
@pytest.mark.parametrize(
    "dims", ["", "dim: 1 dim: 3 dim: -1 dim: -1", "dim: 1 dim: 3 dim: 0 dim: 0", "dim: 1 dim: 3 dim: 8 dim: -1"]
)
def test_open_size_is_requested(dims: str) -> None:
    """No dims, 0 and -1 all leave the size to the caller."""
    text = f'input: "data" {f"input_shape {{ {dims} }}" if dims else ""}\n' + layer("ReLU", "data", "y")
    assert "--input-size H,W" in refusal(text).problems[0].advice
    assert tuple(parse_prototxt(text, input_size=(8, 6)).input.shape)[1:] == (3, 8, 6)


@pytest.mark.golden
def test_placeholder_is_reported_with_any_fault() -> None:
    """Any fault may follow from the size; with the size given, only what is itself wrong is reported."""
    text = INPUT.replace("dim: 8", "dim: 1") + layer("Crop", "data data", "y", "crop_param { offset: 2 }")
    assert 'input "data" is 1 x 1, a placeholder' in str(refusal(text))
    assert "placeholder" not in str(refusal(text, input_size=(1, 1)))


@pytest.mark.golden
def test_one_pixel_that_fits_is_read() -> None:
    """An image of 1 x 1 is a placeholder only where something does not fit it."""
    graph = parse_prototxt(INPUT.replace("dim: 8", "dim: 1") + layer("ReLU", "data", "y"))
    assert tuple(graph.outputs[0].shape)[1:] == (3, 1, 1)


# --- several things are missing

DETECTOR = (
    'layer { name: "d" type: "Python" top: "data" top: "im_info" python_param { module: "m" layer: "L" } }\n'
    + layer("Convolution", "data", "map", "convolution_param { num_output: 4 kernel_size: 3 }")
    + layer("Convolution", "map", "score", "convolution_param { num_output: 2 kernel_size: 1 }")
    + layer("Proposal", "score im_info", "rois")
)


@pytest.mark.golden
def test_features_and_size_in_one_error() -> None:
    """Both options that a detector's file needs are in the first error."""
    text = str(refusal(DETECTOR))
    assert 'reads 2 inputs: "data", "im_info"' in text
    assert "--features score" in text
    assert "--input-size H,W" in text
    graph = parse_prototxt(DETECTOR, features=("score",), input_size=(8, 8))
    assert [value.name for value in graph.outputs] == ["score"]


@pytest.mark.golden
def test_only_the_missing_option_is_requested() -> None:
    """With one of the two options given, the error is about the other alone."""
    assert "--input-size" not in str(refusal(DETECTOR, input_size=(8, 8)))
    assert "--features" not in str(refusal(DETECTOR, features=("score",)))
