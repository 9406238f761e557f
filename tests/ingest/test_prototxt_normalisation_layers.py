"""Parity of BatchNorm, BN, Scale, Bias, LRN, Normalize and MVN against Caffe's formulas; what trains, what not."""

from __future__ import annotations

import numpy as np
import pytest
from prototxt_nets import Array, assert_close, evaluate, image, net, per_channel, randomised, trainable

from trunkline.errors import InvalidModel
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, attribute
from trunkline.graph.roles import role_of

CAFFE = "use_global_stats: true"
"""A field that only Caffe's own BatchNorm has, so that the file is not taken for AutoMTL's dialect."""


def norm(fields: str = CAFFE, name: str = "n", bottom: str = "x", top: str = "n") -> str:
    body = f"batch_norm_param {{ {fields} }}"
    return f'layer {{ name: "{name}" type: "BatchNorm" bottom: "{bottom}" top: "{top}" {body} }}\n'


def normed(x: Array, w: dict[str, Array], name: str = "n", eps: float = 1e-5) -> Array:
    mean, var = per_channel(w[f"{name}.mean"]), per_channel(w[f"{name}.var"])
    return (x - mean) / np.sqrt(var + eps)


def ops(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


@pytest.mark.parity
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
def test_batch_norm_with_and_without_scale(scaled: bool, bias: bool, eps: float) -> None:
    before = norm(f"{CAFFE} eps: {eps}")
    body = f'type: "Scale" bottom: "n" scale_param {{ bias_term: {str(bias).lower()} }}'
    graph = net(body if scaled else 'type: "ReLU" bottom: "n"', before=before)
    x, w = image(), randomised(graph)
    expected = normed(x, w, eps=eps)
    if scaled:
        expected = expected * per_channel(w["l.weight"]) + per_channel(w["l.bias"])
        assert ops(graph) == ["BatchNormalization"]
    else:
        expected = np.maximum(expected, 0)
    assert_close(evaluate(graph, x)[0], expected)
    of_scale = 6 if bias else 3
    assert trainable(graph) == (of_scale if scaled else 0)


@pytest.mark.parity
def test_norm_without_scale_holds_constants() -> None:
    """Without a Scale layer, scale 1 and shift 0 are constants that never train."""
    graph = net('type: "ReLU" bottom: "n"', before=norm())
    stored = graph.initializers
    assert [role_of(stored[name]) for name in ("n.scale", "n.bias", "n.mean")] == ["static", "static", "statistic"]
    w = randomised(graph)
    assert w["n.scale"].tolist() == [1, 1, 1] and w["n.bias"].tolist() == [0, 0, 0]


@pytest.mark.parity
@pytest.mark.parametrize("fields", ["axis: 2", "num_axes: 2", "num_axes: -1", "axis: -1", "num_axes: 0"])
@pytest.mark.parametrize("bias", [True, False])
def test_other_scales_stay_apart(fields: str, bias: bool) -> None:
    """A Scale layer whose factors are not one a channel stays a node of its own."""
    body = f'type: "Scale" bottom: "n" scale_param {{ {fields} bias_term: {str(bias).lower()} }}'
    graph = net(body, before=norm())
    x, w = image(), randomised(graph)
    assert ops(graph) == ["BatchNormalization", "Mul", "Add"][: 2 + bias]
    expected = normed(x, w) * w["l.weight"] + (w["l.bias"] if bias else 0)
    assert_close(evaluate(graph, x)[0], expected)


@pytest.mark.parity
def test_scale_bias_beside_a_scale_layer() -> None:
    """With NVIDIA's scale_bias a Scale layer after the norm is a second scale."""
    fields = f"{CAFFE} scale_bias: true scale_filler {{ value: 2 }} bias_filler {{ value: 0.5 }}"
    graph = net('type: "Scale" bottom: "n"', before=norm(fields))
    start = Filler.of(graph.initializers["n.scale"])
    assert start is not None and start.value == 2
    x, w = image(), randomised(graph)
    own = normed(x, w) * per_channel(w["n.scale"]) + per_channel(w["n.bias"])
    assert_close(evaluate(graph, x)[0], own * w["l.weight"])
    assert trainable(graph) == 9


@pytest.mark.parity
def test_norms_share_statistics() -> None:
    """Norms that share all three blobs by name have one mean and one variance."""
    names = " ".join(f'param {{ name: "{name}" }}' for name in ("m", "v", "f"))
    first = norm() + 'layer { name: "s" type: "Scale" bottom: "n" top: "s" param { name: "w" } }'
    second = norm(name="n2", bottom="s", top="n2")
    before = (first + second).replace('type: "BatchNorm"', f'type: "BatchNorm" {names}')
    graph = net('type: "Scale" bottom: "n2" param { name: "w" }', before=before)
    x, w = image(), randomised(graph)
    once = normed(x, w) * per_channel(w["s.weight"])
    assert_close(evaluate(graph, x)[0], normed(once, w) * per_channel(w["s.weight"]), rtol=1e-4)
    assert {"n.mean", "n.var", "s.weight"} <= set(graph.initializers)
    assert not {"n2.mean", "n2.var", "l.weight"} & set(graph.initializers)


@pytest.mark.golden
@pytest.mark.parametrize(("value", "words"), [("true", "deployed"), ("false", "trained")])
def test_use_global_stats_is_noted(value: str, words: str) -> None:
    notes = net('type: "ReLU" bottom: "n"', before=norm(f"use_global_stats: {value}")).notes
    assert any(f"use_global_stats: {value} is how the file was {words}" in note for note in notes)


@pytest.mark.parity
def test_pspnet_bn() -> None:
    fields = "slope_filler { value: 1 } bias_filler { value: 0 } momentum: 0.95 eps: 1e-3 frozen: true"
    graph = net(f'type: "BN" bn_param {{ {fields} }}')
    x, w = image(), randomised(graph)
    expected = normed(x, w, "l", 1e-3) * per_channel(w["l.scale"]) + per_channel(w["l.bias"])
    assert_close(evaluate(graph, x)[0], expected)
    assert attribute(graph.nodes[0], "momentum") == pytest.approx(0.95)
    assert trainable(graph) == 6


@pytest.mark.parity
@pytest.mark.parametrize(
    ("fields", "eps", "momentum"),
    [
        ("scale_filler { value: 1 } shift_filler { value: 0 } moving_average: true decay: 0.02", 1e-10, 0.98),
        ("moving_average: true", 1e-10, 0.95),
        ("use_history_in_test: true frozen: true", 1e-10, 0.95),
        ("var_eps: 1e-3", 1e-3, 0.95),
    ],
)
def test_bn_of_the_first_pspnet(fields: str, eps: float, momentum: float) -> None:
    graph = net(f'type: "BN" bn_param {{ {fields} }}')
    x, w = image(), randomised(graph)
    expected = normed(x, w, "l", eps) * per_channel(w["l.scale"]) + per_channel(w["l.bias"])
    assert_close(evaluate(graph, x)[0], expected)
    assert attribute(graph.nodes[0], "momentum") == pytest.approx(momentum)
    assert attribute(graph.nodes[0], "epsilon") == pytest.approx(eps)


@pytest.mark.parity
def test_segnet_bn() -> None:
    fillers = "scale_filler { value: 1 } shift_filler { value: 0.001 }"
    learn = net(f'type: "BN" bn_param {{ {fillers} }}')
    x, w = image(), randomised(learn)
    expected = normed(x, w, "l", 1e-9) * per_channel(w["l.scale"]) + per_channel(w["l.bias"])
    assert_close(evaluate(learn, x)[0], expected)

    deployed = net(f'type: "BN" bn_param {{ {fillers} bn_mode: INFERENCE }}')
    w = randomised(deployed)
    assert set(w) == {"l.scale", "l.bias"}
    assert_close(evaluate(deployed, x)[0], x * w["l.scale"] + w["l.bias"])


@pytest.mark.parity
@pytest.mark.parametrize(
    "fields", ["", "axis: 2", "axis: -1", "num_axes: 2", "num_axes: 3", "num_axes: -1", "num_axes: 0"]
)
@pytest.mark.parametrize("bias", [True, False])
def test_scale_alone(fields: str, bias: bool) -> None:
    graph = net(f'type: "Scale" scale_param {{ {fields} bias_term: {str(bias).lower()} filler {{ value: 2 }} }}')
    axis = {"axis: 2": 2, "axis: -1": 3}.get(fields, 1)
    count = {"num_axes: 2": 2, "num_axes: 3": 3, "num_axes: -1": 3, "num_axes: 0": 0}.get(fields, 1)
    shape = [size if axis <= index < axis + count else 1 for index, size in enumerate((2, 3, 4, 5))][1:]
    x, w = image(), randomised(graph)
    assert list(w["l.weight"].shape) == shape
    assert_close(evaluate(graph, x)[0], x * w["l.weight"] + (w["l.bias"] if bias else 0))
    assert trainable(graph) == int(np.prod(shape)) * (1 + bias)


@pytest.mark.parity
def test_bias_alone() -> None:
    graph = net('type: "Bias" bias_param { filler { value: 2 } }')
    x, w = image(), randomised(graph)
    assert_close(evaluate(graph, x)[0], x + w["l.bias"])
    assert w["l.bias"].shape == (3, 1, 1)


@pytest.mark.parity
@pytest.mark.parametrize("axis", [0, -4])
@pytest.mark.parametrize("kind", ["Scale", "Bias"])
@pytest.mark.parametrize("reduced", [1, 2, 3, 4])
def test_scale_and_bias_by_second_blob(kind: str, reduced: int, axis: int) -> None:
    """The second blob has the first ``reduced`` axes of the first one."""
    mean = f'layer {{ name: "r" type: "Reduction" bottom: "x" top: "r" reduction_param {{ axis: {reduced} }} }}'
    before = mean if reduced < 4 else 'layer { name: "r" type: "TanH" bottom: "x" top: "r" }'
    graph = net(f'type: "{kind}" bottom: "x" bottom: "r" {kind.lower()}_param {{ axis: {axis} }}', before=before)
    x = image().astype(np.float64)
    second = x.sum(axis=tuple(range(reduced, 4))) if reduced < 4 else np.tanh(x)
    second = second.reshape(second.shape + (1,) * (4 - reduced))
    assert_close(evaluate(graph, image())[0], x * second if kind == "Scale" else x + second, rtol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["Scale", "Bias", "PReLU", "Normalize"])
def test_param_name_shares_any_weight(kind: str) -> None:
    block = "norm_param { channel_shared: false }" if kind == "Normalize" else ""
    body = f'type: "{kind}" param {{ name: "w" }} {block}'
    graph = net(f'{body} bottom: "a"', before=f'layer {{ name: "a" {body} bottom: "x" top: "a" }}')
    assert trainable(graph) == 3
    assert [name for name, value in graph.initializers.items() if role_of(value) == "parameter"] == [
        "a.bias" if kind == "Bias" else "a.weight"
    ]


@pytest.mark.parity
@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize(("alpha", "beta", "k"), [(1.0, 0.75, 1.0), (0.5, 0.5, 2.0)])
def test_lrn_across_channels(size: int, alpha: float, beta: float, k: float) -> None:
    shape = (6, 4, 5)
    graph = net(f'type: "LRN" lrn_param {{ local_size: {size} alpha: {alpha} beta: {beta} k: {k} }}', shape=shape)
    x = image(shape).astype(np.float64)
    total = np.zeros_like(x)
    for channel in range(6):
        low, high = max(0, channel - size // 2), channel + size // 2 + 1
        total[:, channel] = (x[:, low:high] ** 2).sum(1)
    assert_close(evaluate(graph, image(shape))[0], x / (k + alpha / size * total) ** beta)


@pytest.mark.parity
@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.75), (0.5, 0.5)])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 1, 9)])
def test_lrn_within_channels(size: int, alpha: float, beta: float, shape: tuple[int, int, int]) -> None:
    """The sum over size x size numbers, zeros beyond the edge, times alpha / size²; k is 1 whatever the file gives."""
    region = f"norm_region: WITHIN_CHANNEL local_size: {size} alpha: {alpha} beta: {beta} k: 3"
    graph = net(f'type: "LRN" lrn_param {{ {region} }}', shape=shape)
    x, pad = image(shape).astype(np.float64), size // 2
    squares = np.pad(x**2, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    total = sum(squares[:, :, i : i + shape[1], j : j + shape[2]] for i in range(size) for j in range(size))
    assert_close(evaluate(graph, image(shape))[0], x * (1 + alpha / size**2 * total) ** -beta)
    assert trainable(graph) == 0
    assert any("1 for k" in note for note in graph.notes)


@pytest.mark.parity
@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("eps", [1e-10, 0.5, 0.0])
@pytest.mark.parametrize("flat", [True, False])
def test_normalize(across: bool, shared: bool, eps: float, flat: bool) -> None:
    fields = f"across_spatial: {str(across).lower()} channel_shared: {str(shared).lower()} eps: {eps}"
    body = f'type: "Normalize" norm_param {{ {fields} scale_filler {{ value: 20 }} }}'
    before = 'layer { name: "f" type: "Flatten" bottom: "x" top: "f" }' if flat else ""
    graph = net(body + (' bottom: "f"' if flat else ""), before=before)
    x, w = image().astype(np.float64), randomised(graph)["l.weight"]
    x = x.reshape(2, -1) if flat else x
    axes = tuple(range(1, x.ndim)) if across else (1,)
    expected = x / np.sqrt((x**2).sum(axes, keepdims=True) + eps) * w
    assert_close(evaluate(graph, image())[0], expected)
    assert trainable(graph) == (1 if shared else x.shape[1])


@pytest.mark.parity
@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("variance", [True, False])
@pytest.mark.parametrize("eps", [1e-9, 0.5])
def test_mvn(across: bool, variance: bool, eps: float) -> None:
    fields = f"across_channels: {str(across).lower()} normalize_variance: {str(variance).lower()} eps: {eps}"
    graph = net(f'type: "MVN" mvn_param {{ {fields} }}')
    x = image().astype(np.float64)
    axes = (1, 2, 3) if across else (2, 3)
    expected = x - x.mean(axes, keepdims=True)
    if variance:
        expected = expected / (np.sqrt((expected**2).mean(axes, keepdims=True)) + eps)
    assert_close(evaluate(graph, image())[0], expected)
    assert trainable(graph) == 0


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('type: "Normalize"', "no norm_param"),
        ('type: "Normalize" norm_param { eps: -1 }', "eps -1"),
        ('type: "MVN" mvn_param { eps: -1 }', "eps -1"),
        ('type: "MVN" bottom: "f"', "its own mean"),
        ('type: "BN" bn_param { eps: -1 }', "eps -1"),
        ('type: "BN" bn_param { momentum: 2 }', "momentum 2"),
        ('type: "BN" bn_param { bn_mode: TEST }', "one of LEARN, INFERENCE"),
        ('type: "BN" bn_param { moving_average: true eps: 1e-5 }', 'unknown field "eps"'),
        ('type: "BN" bn_param { decay: 0.1 axis: 2 }', "must normalise axis 1"),
        ('type: "BN" bn_param { decay: 1.5 }', "momentum -0.5"),
        ('type: "BN" bn_param { bn_mode: LEARN slope_filler { value: 1 } }', 'unknown field "slope_filler"'),
        ('type: "BatchNorm" batch_norm_param { eps: -1 }', "eps -1"),
        ('type: "BatchNorm" batch_norm_param { scale_bias: true momentum: 0.1 }', "in AutoMTL's dialect"),
        ('type: "BatchNorm" param { name: "m" } param { name: "v" }', "only in part"),
        ('type: "Scale" scale_param { axis: 0 }', "batch axis"),
        ('type: "Scale" scale_param { axis: 3 num_axes: 2 }', "spans 2 axes"),
        ('type: "Scale" bottom: "x" bottom: "f"', "needs axis: 0"),
        ('type: "Scale" bottom: "x" bottom: "f" scale_param { axis: 0 }', "cannot spread"),
        ('type: "Scale" bottom: "x" bottom: "x" scale_param { axis: 0 bias_term: true }', "depend on the batch size"),
        ('type: "LRN" bottom: "f"', "needs a feature map"),
        ('type: "LRN" lrn_param { norm_region: WITHIN_CHANNEL local_size: 2 }', "even local_size"),
    ],
)
def test_faults_are_located(body: str, words: str) -> None:
    with pytest.raises(InvalidModel, match=words) as caught:
        net(body, before='layer { name: "f" type: "Flatten" bottom: "x" top: "f" }')
    assert caught.value.problems[0].line == 3
