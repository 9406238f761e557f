"""Layers that change the size of a map, against loops written from Caffe's definitions: onnxruntime and the twin."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from parameters import parameter_count

from trunkline.errors import InvalidModel
from trunkline.graph.features import cut_graph
from trunkline.graph.fillers import FILLER_KEY
from trunkline.graph.graph import Graph, array_of, shape_of
from trunkline.graph.roles import is_parameter
from trunkline.graph.verify import verify
from trunkline.ingest.prototxt import parse_prototxt

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

from trunkline.twins.twin import Twin  # noqa: E402


def header(channels: int, height: int, width: int) -> str:
    return f'input: "x" input_dim: 1 input_dim: {channels} input_dim: {height} input_dim: {width}\n'


def layer(kind: str, body: str, bottoms: str = "x", tops: str = "y") -> str:
    names = " ".join(f'bottom: "{name}"' for name in bottoms.split()) + " "
    names += " ".join(f'top: "{name}"' for name in tops.split())
    return f'layer {{ name: "{tops.split(maxsplit=1)[0]}_layer" type: "{kind}" {names} {body} }}\n'


def image(*sizes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=sizes).astype(np.float32)


def both(graph: Graph, x: np.ndarray) -> np.ndarray:
    """Return what onnxruntime computes, once the twin is seen to agree."""
    verify(graph)
    rng = np.random.default_rng(1)
    for name, value in graph.initializers.items():
        if is_parameter(value):
            value.metadata_props.pop(FILLER_KEY, None)
            value.const_value = ir.Tensor(rng.normal(size=tuple(value.shape)).astype(np.float32), name=name)
    session = ort.InferenceSession(ir.to_proto(graph.model).SerializeToString(), providers=["CPUExecutionProvider"])
    result = session.run(None, {graph.input.name: x})[0]
    twin = Twin(graph).eval()(torch.from_numpy(x))[graph.outputs[0].name].detach().numpy()
    np.testing.assert_allclose(twin, result, rtol=1e-4, atol=1e-5)
    return result


def align_corners(x: np.ndarray, height: int, width: int) -> np.ndarray:
    out = np.empty((*x.shape[:2], height, width))
    steps = [(old - 1) / (new - 1) if new > 1 else 0.0 for old, new in zip(x.shape[2:], (height, width), strict=True)]
    for i in range(height):
        for j in range(width):
            top, left = int(i * steps[0]), int(j * steps[1])
            down, right = i * steps[0] - top, j * steps[1] - left
            below, beside = min(top + 1, x.shape[2] - 1), min(left + 1, x.shape[3] - 1)
            upper = x[:, :, top, left] * (1 - right) + x[:, :, top, beside] * right
            lower = x[:, :, below, left] * (1 - right) + x[:, :, below, beside] * right
            out[:, :, i, j] = upper * (1 - down) + lower * down
    return out


def max_mask(x: np.ndarray, kernel: int, stride: int, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Caffe's max pooling with its mask, positions counted row by row in one plane."""
    counts = []
    for size in x.shape[2:]:
        count = -(-(size + 2 * pad - kernel) // stride) + 1
        counts.append(count - 1 if pad and (count - 1) * stride >= size + pad else count)
    values, mask = np.empty((*x.shape[:2], *counts)), np.empty((*x.shape[:2], *counts), int)
    for n, c, i, j in np.ndindex(values.shape):
        best = -np.inf
        for h in range(max(0, i * stride - pad), min(x.shape[2], i * stride - pad + kernel)):
            for w in range(max(0, j * stride - pad), min(x.shape[3], j * stride - pad + kernel)):
                if x[n, c, h, w] > best:
                    best, mask[n, c, i, j] = x[n, c, h, w], h * x.shape[3] + w
        values[n, c, i, j] = best
    return values, mask


def unpool(values: np.ndarray, mask: np.ndarray, height: int, width: int) -> np.ndarray:
    out = np.zeros((*values.shape[:2], height * width))
    for n, c, i, j in np.ndindex(values.shape):
        out[n, c, mask[n, c, i, j]] = values[n, c, i, j]
    return out.reshape(*values.shape[:2], height, width)


@pytest.mark.parity
@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1))
def test_unpooling_puts_maxima_back(height: int, width: int, kernel: int, stride: int, pad: int) -> None:
    assume(pad < kernel <= min(height, width) and stride <= kernel)
    pool = layer("Pooling", f"pooling_param {{ kernel_size: {kernel} stride: {stride} pad: {pad} }}", tops="p m")
    size = f"upsample_param {{ upsample_h: {height} upsample_w: {width} }}"
    x = image(2, 3, height, width)
    values, mask = max_mask(x, kernel, stride, pad)
    graph = parse_prototxt(header(3, height, width) + pool + layer("Upsample", size, "p m"))
    np.testing.assert_allclose(both(graph, x), unpool(values, mask, height, width), rtol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("size", "kind", "settings_"),
    [
        ((8, 6), "Upsample", "upsample_param { scale: 2 }"),
        ((8, 6), "Upsample", ""),
        ((9, 6), "Upsample", "upsample_param { pad_out_h: true }"),
        ((7, 5), "Upsample", "upsample_param { scale_h: 2 scale_w: 2 pad_out_h: true pad_out_w: true }"),
        ((7, 6), "Upsample", "upsample_param { upsample_h: 7 upsample_w: 6 scale: 4 }"),
        ((6, 6), "Unpooling", "unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 6 }"),
        ((7, 6), "Unpooling", "unpooling_param { unpool_h: 7 unpool_w: 6 }"),
    ],
)
def test_unpooling_in_every_spelling(size: tuple, kind: str, settings_: str) -> None:
    """The decoder's values go where the encoder's maxima stood, as in SegNet."""
    text = header(2, *size) + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", tops="p m")
    text += layer("Split", "", "m", "m1 m2") + layer("Sigmoid", "", "p", "s")
    graph = parse_prototxt(text + layer(kind, settings_, "s m1"))
    x = image(3, 2, *size)
    values, mask = max_mask(x, 2, 2, 0)
    np.testing.assert_allclose(both(graph, x), unpool(1 / (1 + np.exp(-values)), mask, *size), rtol=1e-5)


@pytest.mark.parity
def test_taller_unpooling_adds_zero_rows() -> None:
    text = header(2, 5, 4) + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", tops="p m")
    graph = parse_prototxt(text + layer("Upsample", "upsample_param { scale: 2 }", "p m"))
    x = image(2, 2, 5, 4)
    np.testing.assert_allclose(both(graph, x), unpool(*max_mask(x, 2, 2, 0), 6, 4), rtol=1e-6)


@pytest.mark.parity
def test_unpooling_gradients_reach_maxima_only() -> None:
    text = header(1, 4, 4) + layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", tops="p m")
    graph = parse_prototxt(text + layer("Upsample", "upsample_param { scale: 2 }", "p m"))
    x = image(2, 1, 4, 4)
    leaf = torch.from_numpy(x).requires_grad_()
    Twin(graph)(leaf)["y"].sum().backward()
    values, mask = max_mask(x, 2, 2, 0)
    np.testing.assert_array_equal(leaf.grad.numpy(), unpool(np.ones_like(values), mask, 4, 4))


@pytest.mark.golden
def test_unread_mask_is_not_computed() -> None:
    graph = parse_prototxt(header(2, 4, 4) + layer("Pooling", "pooling_param { kernel_size: 2 }", tops="y m"))
    assert [len(node.outputs) for node in graph.nodes] == [1]
    assert [value.name for value in graph.outputs] == ["y"]


@pytest.mark.parity
@pytest.mark.parametrize("body", ["scale: 3", "stride: 3", "scale_h: 3 scale_w: 3"])
def test_upsample_without_a_mask_repeats(body: str) -> None:
    graph = parse_prototxt(header(2, 4, 5) + layer("Upsample", f"upsample_param {{ {body} }}"))
    x = image(2, 2, 4, 5)
    np.testing.assert_array_equal(both(graph, x), x.repeat(3, 2).repeat(3, 3))
    assert parameter_count(graph) == 0


@pytest.mark.parity
@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(1, 8)] * 2), st.tuples(*[st.integers(1, 12)] * 2))
def test_interp_to_a_size(before: tuple, after: tuple) -> None:
    graph = parse_prototxt(
        header(2, *before) + layer("Interp", f"interp_param {{ height: {after[0]} width: {after[1]} }}")
    )
    x = image(2, 2, *before)
    np.testing.assert_allclose(both(graph, x), align_corners(x, *after), rtol=1e-3, atol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("body", "inner", "after"),
    [
        ("zoom_factor: 8", (9, 11), (65, 81)),
        ("shrink_factor: 4", (9, 11), (3, 3)),
        ("shrink_factor: 2 zoom_factor: 3", (9, 11), (13, 16)),
        ("zoom_factor: 2 pad_beg: -1 pad_end: -2", (6, 8), (11, 15)),
        ("height: 4 width: 5 pad_beg: -1", (8, 10), (4, 5)),
    ],
)
def test_interp_by_factors_and_cuts(body: str, inner: tuple, after: tuple) -> None:
    graph = parse_prototxt(header(2, 9, 11) + layer("Interp", f"interp_param {{ {body} }}"))
    x = image(2, 2, 9, 11)
    begin = 1 if "pad_beg" in body else 0
    part = x[:, :, begin : begin + inner[0], begin : begin + inner[1]]
    np.testing.assert_allclose(both(graph, x), align_corners(part, *after), rtol=1e-3, atol=1e-4)


@pytest.mark.parity
def test_interp_to_a_second_bottom() -> None:
    text = header(2, 7, 9) + layer("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 3 }", tops="small")
    graph = parse_prototxt(text + layer("Interp", "", "small x"))
    means = parse_prototxt(text).outputs[0]
    assert shape_of(means) == (None, 2, 3, 3)
    x = image(2, 2, 7, 9)
    assert both(graph, x).shape == x.shape


@pytest.mark.parity
@pytest.mark.parametrize(
    ("axis", "offsets", "expected"),
    [
        ("", "", np.s_[:, :, :4, :5]),
        ("", "offset: 2", np.s_[:, :, 2:6, 2:7]),
        ("axis: 2", "offset: 1 offset: 3", np.s_[:, :, 1:5, 3:8]),
        ("axis: -1", "offset: 3", np.s_[:, :, :, 3:8]),
        ("axis: 1", "offset: 1 offset: 2 offset: 0", np.s_[:, 1:3, 2:6, 0:5]),
        ("axis: 0", "offset: 0 offset: 1 offset: 2 offset: 0", np.s_[:, 1:3, 2:6, 0:5]),
    ],
)
def test_crop(axis: str, offsets: str, expected: tuple) -> None:
    """The reference is 2 x 4 x 5; axes before ``axis`` keep their size."""
    window = "convolution_param { num_output: 2 kernel_h: 3 kernel_w: 4 }"
    text = header(3, 6, 8) + layer("Convolution", window, tops="ref")
    text += layer("Crop", f"crop_param {{ {axis} {offsets} }}", "x ref")
    graph = cut_graph(parse_prototxt(text), ["y"])
    x = image(2, 3, 6, 8)
    np.testing.assert_array_equal(both(graph, x), x[expected])
    assert any("gives no offset" in note for note in graph.notes) == (not offsets)


@pytest.mark.parity
@pytest.mark.parametrize(("begin", "end"), [(1, 2), (0, 3), (-1, -2), (-2, 0), (0, 0)])
def test_padding_adds_zeros_or_cuts(begin: int, end: int) -> None:
    graph = parse_prototxt(header(2, 6, 7) + layer("Padding", f"padding_param {{ pad_beg: {begin} pad_end: {end} }}"))
    x = image(2, 2, 6, 7)
    widened = np.pad(x, [(0, 0), (0, 0), *[(max(0, begin), max(0, end))] * 2])
    low, high = max(0, -begin), max(0, -end)
    expected = widened[:, :, low : widened.shape[2] - high, low : widened.shape[3] - high]
    np.testing.assert_array_equal(both(graph, x), expected)


@pytest.mark.parity
@pytest.mark.parametrize("reverse", [False, True])
def test_reorg_moves_numbers_as_darknet_does(reverse: bool) -> None:
    graph = parse_prototxt(
        header(8, 4, 6) + layer("Reorg", f"reorg_param {{ stride: 2 reverse: {str(reverse).lower()} }}")
    )
    x = image(2, 8, 4, 6)
    out = np.empty(x.size, np.float32)
    flat = x.ravel()
    for b, k, j, i in np.ndindex(x.shape):
        here = i + 6 * (j + 4 * (k + 8 * b))
        row, column = j * 2 + k // 2 // 2, i * 2 + k // 2 % 2
        there = column + 12 * (row + 8 * (k % 2 + 2 * b))
        if reverse:
            out[there] = flat[here]
        else:
            out[here] = flat[there]
    shape = (2, 2, 8, 12) if reverse else (2, 32, 2, 3)
    np.testing.assert_array_equal(both(graph, x), out.reshape(shape))


@pytest.mark.parity
@pytest.mark.parametrize(
    ("channels", "count", "group", "dilation", "stride", "pad"),
    [(4, 6, 1, 1, 2, 1), (4, 6, 2, 1, 3, 0), (4, 4, 4, 1, 2, 1), (2, 3, 1, 2, 2, 1), (4, 2, 2, 3, 1, 2)],
)
def test_deconvolution_scatters_by_group_and_dilation(
    channels: int, count: int, group: int, dilation: int, stride: int, pad: int
) -> None:
    body = (
        f"num_output: {count} kernel_h: 3 kernel_w: 2 group: {group} dilation: {dilation} stride: {stride} pad: {pad}"
    )
    graph = parse_prototxt(header(channels, 4, 5) + layer("Deconvolution", f"convolution_param {{ {body} }}"))
    x = image(2, channels, 4, 5)
    found = both(graph, x)
    weight, bias = (array_of(graph.initializers[f"y_layer.{role}"]).astype(np.float64) for role in ("weight", "bias"))
    size = [stride * (n - 1) + dilation * (k - 1) + 1 for n, k in zip((4, 5), (3, 2), strict=True)]
    out = np.zeros((2, count, *size))
    ins, outs = channels // group, count // group
    for c, m, i, j, p, q in np.ndindex(channels, outs, 4, 5, 3, 2):
        o = c // ins * outs + m
        out[:, o, i * stride + p * dilation, j * stride + q * dilation] += x[:, c, i, j] * weight[c, m, p, q]
    expected = out[:, :, pad : size[0] - pad, pad : size[1] - pad] + bias.reshape(1, -1, 1, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("axis", "bias"), [(1, True), (2, True), (3, False), (-1, True), (-2, False)])
def test_inner_product_along_any_axis(axis: int, bias: bool, transpose: bool) -> None:
    body = f"num_output: 5 axis: {axis} bias_term: {str(bias).lower()} transpose: {str(transpose).lower()}"
    graph = parse_prototxt(header(2, 3, 4) + layer("InnerProduct", f"inner_product_param {{ {body} }}"))
    x = image(2, 2, 3, 4)
    found = both(graph, x)
    weight = array_of(graph.initializers["y_layer.weight"])
    first = axis % 4
    expected = x.reshape(*x.shape[:first], -1) @ (weight if transpose else weight.T)
    if bias:
        expected = expected + array_of(graph.initializers["y_layer.bias"])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert parameter_count(graph) == weight.size + 5 * bias


@pytest.mark.golden
@pytest.mark.parametrize(
    ("kernel", "hole"),
    [
        ("kernel_size: 3", "hole: 2"),
        ("kernel_size: [3, 2]", "hole_h: 2 hole_w: 1"),
        ("kernel_size: 3", "dilation: [2, 1]"),
    ],
)
def test_hole_is_dilation(kernel: str, hole: str) -> None:
    body = f"num_output: 2 {kernel}"
    graph = parse_prototxt(header(1, 9, 9) + layer("Convolution", f"convolution_param {{ {body} {hole} }}"))
    dilation = tuple(graph.nodes[0].attributes["dilations"].value)
    assert dilation == ((2, 2) if hole == "hole: 2" else (2, 1))


@pytest.mark.golden
def test_bilinear_filler_of_a_convolution() -> None:
    body = 'num_output: 2 kernel_size: 4 weight_filler { type: "bilinear" }'
    graph = parse_prototxt(header(2, 9, 9) + layer("Convolution", f"convolution_param {{ {body} }}"))
    weight = array_of(graph.initializers["y_layer.weight"])
    assert weight.shape == (2, 2, 4, 4)
    np.testing.assert_allclose(weight[0, 0].sum(), 4.0)


POOL = layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", tops="p m")


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            POOL + layer("Upsample", "upsample_param { scale: 3 }", "p m"),
            "makes 12 x 9 of a mask that points into 8 x 6",
        ),
        (POOL + layer("Upsample", "upsample_param { upsample_h: 8 }", "p m"), "only one of upsample_h and upsample_w"),
        (POOL + layer("Upsample", "upsample_param { scale: 3 pad_out_w: true }", "p m"), "pad_out_w and scale 3"),
        (POOL + layer("Upsample", "", "p x"), "no mask of a max pooling"),
        (POOL + layer("Upsample", "", "x m"), "but its mask N x 2 x 4 x 3"),
        (POOL + layer("Upsample", "", "m m"), "first bottom is a mask"),
        (POOL + layer("Upsample", "upsample_param { scale: 2 }", "m"), "first bottom is a mask"),
        (POOL + layer("ReLU", "", "m"), 'reads "m", a mask: positions'),
        (POOL + layer("Concat", "", "p m"), 'reads "m", a mask: positions'),
        (layer("Upsample", ""), "has no scale"),
        (layer("Upsample", "upsample_param { upsample_h: 16 upsample_w: 12 }"), "repeats by a whole factor"),
        (layer("Upsample", 'upsample_param { scale: 2 mode: "bilinear" }'), 'unknown field "mode"'),
        (POOL + layer("Unpooling", "unpooling_param { unpool: AVE unpool_size: 8 }", "p m"), "must be MAX"),
        (POOL + layer("Unpooling", "unpooling_param { kernel_size: 2 }", "p m"), "has no unpool_size"),
        (POOL + layer("Unpooling", "unpooling_param { unpool_size: 8 pad: 1 }", "p m"), "is padded"),
        (layer("Interp", ""), "needs its size given in one way"),
        (layer("Interp", "interp_param { height: 4 width: 4 zoom_factor: 2 }"), "needs its size given in one way"),
        (layer("Interp", "interp_param { height: 4 }"), "only one of height and width"),
        (layer("Interp", "interp_param { zoom_factor: 2 pad_beg: 1 }"), "can cut its input, but not pad it"),
        (layer("Interp", "interp_param { zoom_factor: 2 pad_beg: -4 pad_end: -4 }"), "leave nothing"),
        (layer("Padding", "padding_param { pad_beg: 1 pad_end: -1 }"), "pads on one side and cuts on the other"),
        (layer("Crop", "crop_param { offset: 1 }", "x x"), "do not fit axis 2"),
        (layer("Crop", "crop_param { offset: [0, 0, 0] }", "x x"), "3 offsets for 2 axes"),
        (layer("Crop", "crop_param { axis: 0 offset: 1 offset: 0 offset: 0 offset: 0 }", "x x"), "cuts the batch axis"),
        (layer("Crop", "crop_param { axis: 4 }", "x x"), "has no axis 4"),
        (layer("Flatten", "", tops="f") + layer("Crop", "", "x f"), "cannot cut"),
        (layer("Reorg", "reorg_param { stride: 4 }"), "no multiple of stride² = 16"),
        (layer("Reorg", ""), "has no stride"),
        (layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 hole: 2 dilation: 2 }"), "same"),
        (layer("ConvolutionDepthwise", "convolution_param { num_output: 2 kernel_size: 3 group: 1 }"), "one group a"),
        (layer("Pooling", "pooling_param { global_pooling: true }", tops="y m"), "only MAX over windows"),
        (layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"), "use MAX or AVE"),
        (layer("Im2col", "convolution_param { kernel_size: 3 }"), "use Convolution"),
    ],
)
def test_sizes_that_make_no_sense(text: str, words: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        parse_prototxt(header(2, 8, 6) + text, "net.prototxt")
    assert words in str(caught.value)
    assert caught.value.problems[0].line
