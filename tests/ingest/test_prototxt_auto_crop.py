"""AutoCrop: the published offsets of FCN, and maps that must lie over the image again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from prototxt_nets import evaluate

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Graph, array_of
from trunkline.graph.verify import verify
from trunkline.ingest.prototxt import parse_prototxt


def image(size: int, channels: int = 1) -> str:
    return f'input: "data" input_shape {{ dim: 1 dim: {channels} dim: {size} dim: {size} }}\n'


def layer(kind: str, bottom: str, top: str, body: str = "") -> str:
    blobs = [f'bottom: "{blob}"' for blob in bottom.split()] + [f'top: "{blob}"' for blob in top.split()]
    return f'layer {{ name: "{top}" type: "{kind}" {" ".join(blobs)} {body} }}\n'


def conv(bottom: str, top: str, kernel: int = 1, pad: int = 0) -> str:
    fields = f"num_output: 2 kernel_size: {kernel} pad: {pad}"
    return layer("Convolution", bottom, top, f"convolution_param {{ {fields} }}")


def up(bottom: str, top: str, factor: int, pad: int = 0) -> str:
    fields = f"num_output: 1 kernel_size: {2 * factor} stride: {factor} pad: {pad} bias_term: false"
    return layer("Deconvolution", bottom, top, f'convolution_param {{ {fields} weight_filler {{ type: "bilinear" }} }}')


def two_up(bottom: str, top: str, factor: int) -> str:
    fields = f"num_output: 2 kernel_size: {2 * factor} stride: {factor} bias_term: false"
    return layer("Deconvolution", bottom, top, f"convolution_param {{ {fields} }}")


def vgg() -> str:
    """The windows of VGG-16 as FCN has them: 100 pixels of padding at first, five poolings, a 7 x 7 convolution."""
    text, blob = image(40, 3), "data"
    for block, count in enumerate((2, 2, 3, 3, 3), 1):
        for index in range(1, count + 1):
            top = f"conv{block}_{index}"
            text += conv(blob, top, 3, 100 if top == "conv1_1" else 1) + layer("ReLU", top, top)
            blob = top
        text += layer("Pooling", blob, f"pool{block}", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
        blob = f"pool{block}"
    return text + conv(blob, "fc6", 7) + conv("fc6", "fc7") + conv("fc7", "score_fr")


def offsets(graph: Graph) -> list[list[int]]:
    return [array_of(node.inputs[1]).tolist() for node in graph.nodes if node.op_type == "Slice" and node.inputs[1]]


@pytest.mark.golden
def test_fcn_32s_offset_is_19() -> None:
    """FCN-32s publishes an offset of 19."""
    graph = verify(parse_prototxt(vgg() + two_up("score_fr", "up", 32) + layer("AutoCrop", "up data", "score")))
    assert offsets(graph) == [[19, 19]]
    assert tuple(graph.outputs[0].shape)[1:] == (2, 40, 40)


@pytest.mark.golden
def test_fcn_8s_offsets_are_5_9_31() -> None:
    """FCN-8s publishes the offsets 5, 9 and 31."""
    text = vgg() + two_up("score_fr", "up2", 2) + conv("pool4", "score_pool4")
    text += layer("AutoCrop", "score_pool4 up2", "score_pool4c") + layer("Eltwise", "up2 score_pool4c", "fuse4")
    text += two_up("fuse4", "up4", 2) + conv("pool3", "score_pool3")
    text += layer("AutoCrop", "score_pool3 up4", "score_pool3c") + layer("Eltwise", "up4 score_pool3c", "fuse3")
    graph = verify(parse_prototxt(text + two_up("fuse3", "up8", 8) + layer("AutoCrop", "up8 data", "score")))
    assert offsets(graph) == [[5, 5], [9, 9], [31, 31]]
    assert 'AutoCrop "score" cuts from 31 x 31 on' in "\n".join(graph.notes)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("way", "start"),
    [
        (conv("data", "c", 3), 1),
        (layer("Convolution", "data", "c", "convolution_param { num_output: 1 kernel_size: 3 dilation: 3 }"), 3),
        (conv("data", "s", 3) + layer("Crop", "data s", "c", "crop_param { offset: 2 }"), 2),
        (layer("TanH", "data", "c"), 0),
    ],
)
def test_image_is_cut_to_a_layers_output(way: str, start: int) -> None:
    """A layer without padding leaves less of the image; its middle is what AutoCrop keeps."""
    graph = parse_prototxt(image(12) + way + layer("AutoCrop", "data c", "y"))
    assert offsets(graph)[-1] == [start, start]


windows = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 2), st.integers(0, 2)), min_size=1, max_size=3)


@pytest.mark.properties
@settings(max_examples=100, deadline=None)
@given(windows, st.integers(0, 2), st.sampled_from(["AVE", "AVE_EXC_PAD"]))
def test_cut_map_aligns_with_the_image(poolings: list[tuple[int, int, int]], trimmed: int, kind: str) -> None:
    """Averages of a ramp are the places they come from; enlarged by interpolation and cut, they are the ramp again."""
    text, blob, factor, size = image(60), "data", 1, 60
    for index, (kernel, stride, pad) in enumerate(poolings):
        assume(pad < kernel and size + 2 * pad - kernel >= 8)
        fields = f"pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad} round_mode: FLOOR"
        text += layer("Pooling", blob, f"p{index}", f"pooling_param {{ {fields} }}")
        blob, factor, size = f"p{index}", factor * stride, (size + 2 * pad - kernel) // stride + 1
    assume(factor > 1 and trimmed < factor)
    text += up(blob, "up", factor, trimmed) + layer("AutoCrop", "up data", "y")
    try:
        graph = parse_prototxt(text)
    except InvalidModel as error:
        assert "line up" in str(error) or "do not fit" in str(error)
        return
    ramp = np.broadcast_to(np.arange(60, dtype=np.float32), (1, 1, 60, 60))
    (found,) = evaluate(graph, ramp.copy())
    edge = 4 * factor + 8
    inside = slice(edge, 60 - edge)
    np.testing.assert_allclose(found[0, 0, inside, inside], ramp[0, 0, inside, inside], atol=1e-3)


CROP = layer("AutoCrop", "up data", "y")


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (image(8) + up("data", "up", 4) + CROP, "a pixel of its first bottom is 1/4"),
        (image(8) + conv("data", "c", 1, 1) + layer("AutoCrop", "data c", "y"), "line up, which is -1 pixels"),
        (image(8) + conv("data", "c", 2, 1) + layer("AutoCrop", "c data", "y"), "line up, which is 0.5 pixels"),
        (
            image(8)
            + conv("data", "c", 1, 2)
            + layer("Crop", "c data", "s", "crop_param { offset: 0 }")
            + layer("AutoCrop", "s data", "y"),
            "8 x 8 from 2 x 2 on do not fit its input",
        ),
        (image(8) + layer("Flatten", "data", "f") + layer("AutoCrop", "data f", "y"), "has no height and width"),
        (
            image(8)
            + layer("Permute", "data", "p", "permute_param { order: 0 order: 1 order: 3 order: 2 }")
            + layer("AutoCrop", "p data", "y"),
            "what Transpose before it does",
        ),
    ],
)
def test_blobs_that_do_not_align(text: str, words: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        parse_prototxt(text, "net.prototxt")
    assert words in str(caught.value)
    assert caught.value.problems[0].place.startswith("net.prototxt:")
