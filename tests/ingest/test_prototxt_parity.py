"""Whole small nets against NumPy code written from Caffe's definitions, through onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from prototxt_nets import assert_close, evaluate, image, net, per_channel, randomised, trainable

from trunkline.ingest.prototxt import parse_prototxt

pytestmark = pytest.mark.parity

BLOCK = """
    name: "block"
    input: "data" input_dim: 1 input_dim: 4 input_dim: 9 input_dim: 8
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
      num_output: 6 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 2 pad_w: 1 dilation: 2 group: 2 } }
    layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { eps: 0.01 } }
    layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
    layer { name: "leaky" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.2 } }
    layer { name: "lrn" type: "LRN" bottom: "conv" top: "lrn" lrn_param { local_size: 3 alpha: 0.6 beta: 0.5 k: 2 } }
    layer { name: "prelu" type: "PReLU" bottom: "conv" top: "prelu" }
    layer { name: "mix" type: "Eltwise" bottom: "lrn" bottom: "prelu" bottom: "conv" top: "mix"
      eltwise_param { coeff: 0.5 coeff: -2 coeff: 1 } }
    layer { name: "both" type: "Concat" bottom: "mix" bottom: "lrn" top: "both" }
    layer { name: "fc" type: "InnerProduct" bottom: "both" top: "fc"
      inner_product_param { num_output: 5 transpose: true } }
    layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def conv(x, weight, bias, stride, pad, dilation, group):
    n, c, h, w = x.shape
    out_c, _, kh, kw = weight.shape
    padded = np.zeros((n, c, h + 2 * pad[0], w + 2 * pad[1]))
    padded[:, :, pad[0] : pad[0] + h, pad[1] : pad[1] + w] = x
    out_h = (h + 2 * pad[0] - dilation * (kh - 1) - 1) // stride[0] + 1
    out_w = (w + 2 * pad[1] - dilation * (kw - 1) - 1) // stride[1] + 1
    out = np.zeros((n, out_c, out_h, out_w))
    width = c // group
    for o in range(out_c):
        first = (o // (out_c // group)) * width
        for i in range(out_h):
            for j in range(out_w):
                top, left = i * stride[0], j * stride[1]
                rows = slice(top, top + dilation * (kh - 1) + 1, dilation)
                columns = slice(left, left + dilation * (kw - 1) + 1, dilation)
                out[:, o, i, j] = (padded[:, first : first + width, rows, columns] * weight[o]).sum((1, 2, 3)) + bias[o]
    return out


def lrn(x, size, alpha, beta, k):
    total = np.zeros_like(x)
    for c in range(x.shape[1]):
        low, high = max(0, c - size // 2), min(x.shape[1], c + size // 2 + 1)
        total[:, c] = (x[:, low:high] ** 2).sum(1)
    return x / (k + alpha / size * total) ** beta


def deconv(x, weight, stride, pad):
    """Scatter every input number times its kernel, then cut the padding off."""
    n, c, h, w = x.shape
    k = weight.shape[2]
    out = np.zeros((n, weight.shape[1], stride * (h - 1) + k, stride * (w - 1) + k))
    for i in range(h):
        for j in range(w):
            patch = np.einsum("nc,cokl->nokl", x[:, :, i, j], weight)
            out[:, :, i * stride : i * stride + k, j * stride : j * stride + k] += patch
    return out[:, :, pad:-pad, pad:-pad]


def test_block_of_caffe_layers() -> None:
    graph = parse_prototxt(BLOCK)
    w = randomised(graph)
    x = np.random.default_rng(2).normal(size=(3, 4, 9, 8)).astype(np.float32)

    y = conv(x.astype(np.float64), w["conv.weight"], w["conv.bias"], (2, 1), (2, 1), 2, 2)
    y = (y - per_channel(w["bn.mean"])) / np.sqrt(per_channel(w["bn.var"]) + 0.01)
    y = y * per_channel(w["scale.weight"]) + per_channel(w["scale.bias"])
    y = np.where(y > 0, y, 0.2 * y)
    normed = lrn(y, 3, 0.6, 0.5, 2.0)
    bent = np.where(y > 0, y, y * per_channel(w["prelu.weight"]))
    both = np.concatenate([0.5 * normed - 2 * bent + y, normed], axis=1)
    scores = both.reshape(3, -1) @ w["fc.weight"] + w["fc.bias"]
    powers = np.exp(scores - scores.max(1, keepdims=True))

    np.testing.assert_allclose(evaluate(graph, x)[0], powers / powers.sum(1, keepdims=True), rtol=2e-4, atol=1e-6)


def test_deconvolution_scatters() -> None:
    graph = parse_prototxt("""
        input: "x" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 5
        layer { name: "up" type: "Deconvolution" bottom: "x" top: "y"
          convolution_param { num_output: 2 kernel_size: 4 stride: 2 pad: 1 bias_term: false } }""")
    weight = randomised(graph)["up.weight"]
    x = np.random.default_rng(3).normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(evaluate(graph, x)[0], deconv(x, weight, 2, 1), rtol=1e-4, atol=1e-5)


def test_bilinear_filler_keeps_a_ramp() -> None:
    """Up-sampling by a bilinear filler interpolates a ramp exactly."""
    graph = parse_prototxt("""
        input: "x" input_dim: 1 input_dim: 1 input_dim: 6 input_dim: 6
        layer { name: "up" type: "Deconvolution" bottom: "x" top: "y" convolution_param {
          num_output: 1 kernel_size: 4 stride: 2 pad: 1 bias_term: false weight_filler { type: "bilinear" } } }""")
    ramp = np.broadcast_to(np.arange(6, dtype=np.float32), (1, 1, 6, 6)).copy()
    inner = evaluate(graph, ramp)[0][0, 0, 2:-2, 2:-2]
    np.testing.assert_allclose(np.diff(inner, axis=1), 0.5, atol=1e-6)


def test_squeeze_and_excite_and_shuffle() -> None:
    graph = parse_prototxt("""
        input: "x" input_dim: 1 input_dim: 6 input_dim: 3 input_dim: 3
        layer { name: "mean" type: "Pooling" bottom: "x" top: "mean" pooling_param { pool: AVE global_pooling: true } }
        layer { name: "gate" type: "Flatten" bottom: "mean" top: "gate" }
        layer { name: "gated" type: "Scale" bottom: "x" bottom: "gate" top: "gated" scale_param { axis: 0 } }
        layer { name: "relu6" type: "ReLU6" bottom: "gated" top: "relu6" }
        layer { name: "shuffle" type: "ShuffleChannel" bottom: "relu6" top: "y" shuffle_channel_param { group: 3 } }""")
    x = 4 * np.random.default_rng(4).normal(size=(2, 6, 3, 3)).astype(np.float32)
    y = np.clip(x * x.mean((2, 3), keepdims=True), 0, 6)[:, [0, 2, 4, 1, 3, 5]]
    np.testing.assert_allclose(evaluate(graph, x)[0], y, rtol=1e-5, atol=1e-5)


def test_shared_param_names_share_weights() -> None:
    graph = parse_prototxt("""
        input: "x" input_dim: 1 input_dim: 2 input_dim: 4 input_dim: 4
        layer { name: "a" type: "Convolution" bottom: "x" top: "a" param { name: "w" lr_mult: 1 } param { name: "b" }
          convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
        layer { name: "b" type: "Convolution" bottom: "a" top: "b" param { name: "w" } param { name: "b" }
          convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }""")
    assert list(graph.initializers) == ["a.weight", "a.bias"]
    w = randomised(graph)
    x = np.random.default_rng(5).normal(size=(1, 2, 4, 4)).astype(np.float32)
    y = x.astype(np.float64)
    for _ in range(2):
        y = conv(y, w["a.weight"], w["a.bias"], (1, 1), (1, 1), 1, 1)
    np.testing.assert_allclose(evaluate(graph, x)[0], y, rtol=1e-4, atol=1e-5)


EVERY_LAYER = [
    *(
        'type: "ReLU"',
        'type: "ReLU" relu_param { negative_slope: 0.1 }',
        'type: "ReLU6"',
        'type: "PReLU"',
        'type: "ELU"',
    ),
    *('type: "Sigmoid"', 'type: "TanH"', 'type: "BNLL"', 'type: "AbsVal"', 'type: "Softmax"', 'type: "Dropout"'),
    *(
        'type: "Swish" swish_param { beta: 2 }',
        'type: "Mish"',
        'type: "HardSwish"',
        'type: "Clip" clip_param { min: 0 max: 1 }',
    ),
    *('type: "HardSigmoid" hardsigmoid_param { alpha: 0.2 beta: 0.5 }', 'type: "Exp" exp_param { base: 2 }'),
    *('type: "Log" log_param { base: 2 shift: 9 }', 'type: "Power" power_param { power: 2 scale: 3 shift: 1 }'),
    *(
        'type: "BatchNorm"',
        'type: "BN"',
        'type: "BN" bn_param { bn_mode: INFERENCE }',
        'type: "BN" bn_param { bn_mode: LEARN }',
    ),
    *('type: "Scale" scale_param { bias_term: true }', 'type: "Bias"', 'type: "LRN"', 'type: "MVN"'),
    *(
        'type: "LRN" lrn_param { norm_region: WITHIN_CHANNEL }',
        'type: "Normalize" norm_param { across_spatial: false }',
    ),
    *('type: "Reduction" reduction_param { operation: ASUM axis: 2 }', 'type: "Tile" tile_param { tiles: 2 }'),
    *(
        'type: "Reduction" reduction_param { operation: MEAN axis: 1 }',
        'type: "Eltwise" bottom: "x" bottom: "x" bottom: "x"',
    ),
    'type: "Eltwise" bottom: "x" bottom: "x" eltwise_param { coeff: 2 coeff: -1 }',
    'type: "Concat" bottom: "x" bottom: "x" concat_param { axis: 2 }',
    'type: "Slice" top: "a" top: "b" slice_param { slice_point: 1 }',
]


@pytest.mark.parametrize("body", EVERY_LAYER)
def test_trainable_twin(body: str) -> None:
    """The twin computes what onnxruntime does, has the weights as parameters, and gives the image a gradient."""
    torch = pytest.importorskip("torch")
    from trunkline.twins.twin import Twin

    graph = net(body)
    randomised(graph)
    twin, x = Twin(graph).eval(), image()
    pixels = torch.from_numpy(x).requires_grad_()
    found = list(twin(pixels).values())
    for value, expected in zip(found, evaluate(graph, x), strict=True):
        assert_close(value.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert sum(parameter.numel() for parameter in twin.parameters()) == trainable(graph)
    sum((value**2).sum() for value in found).backward()
    assert torch.isfinite(pixels.grad).all()


def test_unscaled_dropout_in_training() -> None:
    """With scale_train false, training keeps numbers as they are, and inference multiplies by 1 − ratio."""
    torch = pytest.importorskip("torch")
    from trunkline.twins.twin import Twin

    twin = Twin(net('type: "Dropout" dropout_param { dropout_ratio: 0.25 scale_train: false }'))
    x = torch.ones(2, 3, 4, 5)
    torch.manual_seed(0)
    assert set(twin.train()(x)["y"].unique().tolist()) == {0.0, 1.0}
    assert twin.eval()(x)["y"].unique().tolist() == [0.75]
