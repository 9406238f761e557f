"""Graph → prototxt and caffemodel → Graph: the same weights bit for bit, and the same outputs."""

from __future__ import annotations

import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from caffemodels import parsed
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import Graph, array_of, shape_of
from trunkline.graph.verify import verify
from trunkline.ingest.caffemodel.match import match
from trunkline.ingest.caffemodel.reader import read_caffemodel_bytes
from trunkline.ingest.caffemodel.write import write_caffemodel
from trunkline.ingest.prototxt import parse_prototxt
from trunkline.ingest.prototxt.writer import CaffeNet, to_caffe
from trunkline.ingest.read import read
from trunkline.ingest.weight_files import apply_weights

Nodes = list[onnx.NodeProto]


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), output.split(), name=output.partition(" ")[0], **attributes)


def encoded(net: CaffeNet) -> bytes:
    file = BytesIO()
    write_caffemodel(net, file)
    return file.getvalue()


def round_trip(graph: Graph, folder: Path) -> tuple[Graph, CaffeNet]:
    """Write and read back; check the weights' bits on the way, against protobuf's own reading too."""
    net = to_caffe(graph)
    data = encoded(net)
    back = verify(parse_prototxt(net.text(), "net.prototxt"))
    written = [layer for layer in net.layers if layer.blobs]
    if written:
        (folder / "net.caffemodel").write_bytes(data)
        back = apply_weights(back, folder / "net.caffemodel")
        assert [(name, [a.shape for a in arrays]) for name, arrays in parsed(data)] == [
            (layer.name, [item.shape for item in layer.blobs]) for layer in written
        ]
        for layer, (_, arrays) in zip(written, parsed(data), strict=True):
            for item, array in zip(layer.blobs, arrays, strict=True):
                if item.weight:
                    assert array.tobytes() == array_of(graph.initializers[item.weight]).tobytes()
    return back, net


def check(graph: Graph, folder: Path) -> CaffeNet:
    back, net = round_trip(graph, folder)
    x = image(2, *(size or 0 for size in shape_of(graph.input)[1:]))
    assert_close(run(to_proto(back), x), run(to_proto(graph), x))
    return net


def graph_of(folder: Path, nodes: Nodes, initializers: Any = (), **options: Any) -> Graph:
    return read(save(model(nodes, initializers=initializers, **options), folder))


W, B = weight("w", 6, 3, 3, 3), weight("b", 6)
BN = [weight(name, 3) for name in ("scale", "shift", "mean")] + [
    onnx.numpy_helper.from_array(np.array([0.5, 1, 2], np.float32), "var")
]
CASES: dict[str, tuple[Nodes, list[onnx.TensorProto], tuple[str, ...]]] = {
    "Conv": ([node("Conv", "x w b", pads=[1, 1, 1, 1])], [W, B], ('type: "Convolution"', "pad: 1", "kernel_size: 3")),
    "Conv, two axes": (
        [node("Conv", "x w", pads=[0, 2, 0, 2], strides=[1, 2], dilations=[1, 2])],
        [weight("w", 6, 3, 2, 3)],
        ("pad_h: 0", "pad_w: 2", "stride_w: 2", "kernel_h: 2", "dilation: 1\n    dilation: 2", "bias_term: false"),
    ),
    "depthwise": ([node("Conv", "x w", group=3)], [weight("w", 3, 1, 3, 3)], ("group: 3", "num_output: 3")),
    "ConvTranspose": (
        [node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 1, 1, 1])],
        [weight("w", 3, 6, 4, 4), B],
        ('type: "Deconvolution"', "num_output: 6", "stride: 2"),
    ),
    "Gemm": (
        [node("Flatten", "x", "f", axis=1), node("Gemm", "f w c", transB=1)],
        [weight("w", 5, 192), weight("c", 5)],
        ('type: "Flatten"', 'type: "InnerProduct"', "num_output: 5"),
    ),
    "MatMul and bias": (
        [node("Flatten", "x", "f", axis=1), node("MatMul", "f w", "m"), node("Add", "m c")],
        [weight("w", 192, 5), weight("c", 5)],
        ("transpose: true", "bias_term: false", 'type: "Bias"'),
    ),
    "BatchNormalization": (
        [node("BatchNormalization", "x scale shift mean var", epsilon=0.001, momentum=0.75)],
        BN,
        ('type: "BatchNorm"', "eps: 0.001", "moving_average_fraction: 0.75", 'type: "Scale"', "bias_term: true"),
    ),
    "max pooling": ([node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])], [], ("pool: MAX", "stride: 2")),
    "max pooling down": (
        [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2])],
        [],
        ("round_mode: FLOOR",),
    ),
    "max pooling up": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], [], ("pool: MAX",)),
    "average pooling": (
        [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)],
        [],
        ("pool: AVE", "pad: 1"),
    ),
    "padding at one end": (
        [node("Conv", "x w", strides=[2, 2], pads=[0, 0, 1, 1])],
        [W],
        ("pad_t: 0", "pad_l: 0", "pad_b: 1", "pad_r: 1"),
    ),
    "padding at one end, taken away": (
        [node("ConvTranspose", "x w", strides=[2, 2], pads=[0, 1, 1, 0])],
        [weight("w", 3, 6, 4, 4)],
        ("pad_t: 0", "pad_l: 1", "pad_b: 1", "pad_r: 0"),
    ),
    "max pooling, padded at one end": (
        [node("MaxPool", "x", kernel_shape=[4, 4], strides=[2, 2], pads=[0, 0, 3, 3])],
        [],
        ("pad_t: 0", "pad_b: 3", "pad_r: 3"),
    ),
    "average of pixels": (
        [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
        [],
        ("pool: AVE_EXC_PAD", "pad: 1"),
    ),
    "average of pixels, padded at one end": (
        [node("AveragePool", "x", kernel_shape=[3, 3], strides=[1, 1], pads=[0, 0, 2, 2])],
        [],
        ("pool: AVE_EXC_PAD", "pad_b: 2"),
    ),
    "average, padded at one end": (
        [node("AveragePool", "x", kernel_shape=[4, 4], strides=[3, 3], pads=[0, 0, 1, 1], count_include_pad=1)],
        [],
        ("pool: AVE\n", "pad_b: 1", "ceil_mode: false"),
    ),
    "linear, half pixel": (
        [node("Resize", "x roi none sizes", mode="linear")],
        [tensor("sizes", [1, 3, 11, 5]), tensor("none", [], np.float32), tensor("roi", [], np.float32)],
        ("ResizeBilinear", "output_height: 11", 'data_format: "NCHW"', "half_pixel_centers: true"),
    ),
    "linear, asymmetric": (
        [node("Resize", "x roi scales", mode="linear", coordinate_transformation_mode="asymmetric")],
        [tensor("scales", [1, 1, 1.5, 2.5], np.float32), tensor("roi", [], np.float32)],
        ("ResizeBilinear", "output_height: 12", "output_width: 20"),
    ),
    "nearest, aligned": (
        [
            node(
                "Resize",
                "x roi none sizes",
                coordinate_transformation_mode="align_corners",
                nearest_mode="round_prefer_ceil",
            )
        ],
        [tensor("sizes", [1, 3, 5, 11]), tensor("none", [], np.float32), tensor("roi", [], np.float32)],
        ("ResizeNearestNeighbor", "align_corners: true"),
    ),
    "a border of ones": (
        [node("Pad", "x pads border")],
        [tensor("pads", [0, 1, 2, 0, 0, 0, 1, 3]), tensor("border", 1, np.float32)],
        ('type: "Pad"', "constant_values: 1.0"),
    ),
    "one window over all": ([node("AveragePool", "x", kernel_shape=[8, 8])], [], ("global_pooling: true",)),
    "global pooling": ([node("GlobalAveragePool", "x")], [], ("global_pooling: true", "pool: AVE")),
    "mean": ([node("ReduceMean", "x axes", keepdims=0)], [tensor("axes", [2, 3])], ('type: "Flatten"', "pool: AVE")),
    "LeakyRelu": ([node("LeakyRelu", "x", alpha=0.1)], [], ("negative_slope: 0.1",)),
    "PRelu": ([node("PRelu", "x s")], [weight("s", 3, 1, 1)], ('type: "PReLU"',)),
    "PRelu, one slope": ([node("PRelu", "x s")], [weight("s", 1)], ("channel_shared: true",)),
    "ReLU6": (
        [node("Clip", "x low high")],
        [tensor("low", 0, np.float32), tensor("high", 6, np.float32)],
        ("min: 0.0", "max: 6.0"),
    ),
    "HardSwish": ([node("HardSwish", "x")], [], ('type: "Clip"', "operation: PROD")),
    "HardSigmoid": ([node("HardSigmoid", "x", alpha=0.25, beta=0.5)], [], ("scale: 0.25", "shift: 0.5")),
    "Softmax": ([node("Softmax", "x", axis=-1)], [], ("axis: 3",)),
    "LRN": ([node("LRN", "x", size=3, alpha=0.01, beta=0.5, bias=2.0)], [], ("local_size: 3", "k: 2.0")),
    "difference": ([node("Relu", "x", "r"), node("Sub", "x r")], [], ("coeff: 1.0", "coeff: -1.0")),
    "sum of three": ([node("Relu", "x", "r"), node("Sum", "x r x")], [], ('type: "Eltwise"',)),
    "number": (
        [node("Add", "x c", "a"), node("Div", "a d")],
        [tensor("c", 2, np.float32), tensor("d", 4, np.float32)],
        ("shift: 2.0", "scale: 0.25"),
    ),
    "number minus blob": ([node("Sub", "c x")], [tensor("c", 1, np.float32)], ("scale: -1.0", "shift: 1.0")),
    "per channel": (
        [node("Mul", "x c", "m"), node("Add", "m d")],
        [weight("c", 3, 1, 1), weight("d", 1, 3, 1, 1)],
        ('type: "Scale"', 'type: "Bias"'),
    ),
    "per column": ([node("Mul", "x c")], [weight("c", 8)], ("axis: 3",)),
    "per channel and row": ([node("Mul", "x c")], [weight("c", 3, 8, 1)], ("num_axes: 2",)),
    "gate": ([node("GlobalAveragePool", "x", "g"), node("Sigmoid", "g", "s"), node("Mul", "s x")], [], ("axis: 0",)),
    "Concat": ([node("Relu", "x", "r"), node("Concat", "x r", axis=1)], [], ('type: "Concat"',)),
    "Concat of rows": ([node("Relu", "x", "r"), node("Concat", "x r", axis=-2)], [], ("axis: 2",)),
    "Split": (
        [node("Split", "x sizes", "p q", axis=1), node("Relu", "q", "r"), node("Concat", "r p", axis=1)],
        [tensor("sizes", [1, 2])],
        ("slice_point: 1",),
    ),
    "shuffle": (
        [
            node("Reshape", "x s1", "a"),
            node("Transpose", "a", "t", perm=[0, 2, 1, 3, 4]),
            node("Reshape", "t s2"),
        ],
        [tensor("s1", [0, 3, 1, 8, 8]), tensor("s2", [0, 3, 8, 8])],
        ('type: "Permute"', "order: 2", 'type: "Reshape"'),
    ),
    "nearest": (
        [
            node(
                "Resize",
                "x  scales".replace("  ", " roi "),
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        ],
        [tensor("scales", [1, 1, 2, 2], np.float32), tensor("roi", [], np.float32)],
        ('type: "Upsample"', "scale: 2"),
    ),
    "linear": (
        [node("Resize", "x roi no sizes", mode="linear", coordinate_transformation_mode="align_corners")],
        [tensor("sizes", [1, 3, 15, 20]), tensor("no", [], np.float32), tensor("roi", [], np.float32)],
        ('type: "Interp"', "height: 15", "width: 20"),
    ),
    "padding": ([node("Pad", "x pads")], [tensor("pads", [0, 0, 1, 1, 0, 0, 2, 2])], ("pad_beg: 1", "pad_end: 2")),
}


@pytest.mark.parity
@pytest.mark.parametrize("name", CASES)
def test_every_operator(name: str, tmp_path: Path) -> None:
    nodes, initializers, fragments = CASES[name]
    net = check(graph_of(tmp_path, nodes, initializers), tmp_path)
    for fragment in fragments:
        assert fragment in net.text()


@pytest.mark.parity
def test_pad_and_average_become_one_pooling(tmp_path: Path) -> None:
    """A pooling of Caffe whose last window leaves the padding becomes Pad and AveragePool; both go back into one."""
    text = (
        'input: "x" input_shape { dim: 1 dim: 2 dim: 8 dim: 8 } layer { name: "p" type: "Pooling" bottom: "x" '
        'top: "p" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }'
    )
    graph = parse_prototxt(text)
    assert [item.op_type for item in graph.nodes] == ["Pad", "AveragePool"]
    net = check(graph, tmp_path)
    assert [layer.type for layer in net.layers] == ["Pooling"]


@pytest.mark.golden
def test_text_of_a_small_net(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, [node("Conv", "x w", "c"), node("Relu", "c")], [weight("w", 2, 3, 1, 1)])
    assert to_caffe(graph).text() == (
        'name: "net"\n'
        'layer {\n  name: "x"\n  type: "Input"\n  top: "x"\n  input_param {\n    shape {\n'
        "      dim: 1\n      dim: 3\n      dim: 8\n      dim: 8\n    }\n  }\n}\n"
        'layer {\n  name: "c"\n  type: "Convolution"\n  bottom: "x"\n  top: "c"\n'
        "  convolution_param {\n    num_output: 2\n    bias_term: false\n    kernel_size: 1\n  }\n}\n"
        'layer {\n  name: "y"\n  type: "ReLU"\n  bottom: "c"\n  top: "y"\n}\n'
    )


@pytest.mark.parity
def test_shared_weights_stay_shared(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "a"), node("Conv", "a w", "b"), node("PRelu", "b s", "c"), node("PRelu", "c s")]
    graph = graph_of(tmp_path, nodes, [weight("w", 3, 3, 1, 1), weight("s", 3, 1, 1)])
    net = check(graph, tmp_path)
    assert net.text().count('param {\n    name: "w"') == 2
    back, _ = round_trip(graph, tmp_path)
    assert len(back.initializers) == len(graph.initializers) == 2


@pytest.mark.parity
def test_shared_statistics_stay_shared(tmp_path: Path) -> None:
    nodes = [
        node("BatchNormalization", "x scale shift mean var", "a"),
        node("Relu", "a", "r"),
        node("BatchNormalization", "r scale shift mean var", "y"),
    ]
    graph = graph_of(tmp_path, nodes, BN)
    check(graph, tmp_path)
    back, _ = round_trip(graph, tmp_path)
    assert len(back.initializers) == 4


@pytest.mark.parity
def test_read_output_stays_an_output(tmp_path: Path) -> None:
    """Caffe's outputs are what nothing reads, so a Split keeps an output that other layers read."""
    nodes = [node("Relu", "x", "r"), node("Sigmoid", "r")]
    net = check(graph_of(tmp_path, nodes, outputs=("r", "y")), tmp_path)
    assert [layer.type for layer in net.layers] == ["ReLU", "Split", "Sigmoid"]


@pytest.mark.golden
def test_names_of_a_prototxt_come_back(tmp_path: Path) -> None:
    text = (
        'name: "n" input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } '
        'layer { name: "conv/1" type: "Convolution" bottom: "data" top: "conv\\"1" '
        "convolution_param { num_output: 4 kernel_size: 3 } } "
        'layer { name: "bn" type: "BatchNorm" bottom: "conv\\"1" top: "bn" } '
        'layer { name: "scale.1" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }'
    )
    graph = parse_prototxt(text)
    back, net = round_trip(graph, tmp_path)
    assert list(back.initializers) == list(graph.initializers)
    assert [layer.name for layer in net.layers] == ["conv/1", "bn", "scale.1"]
    again, _ = round_trip(back, tmp_path)
    assert to_caffe(again).text() == net.text()


@pytest.mark.parity
def test_constant_scale_is_not_written(tmp_path: Path) -> None:
    """A BatchNorm with the constants 1 and 0 needs no Scale layer."""
    text = (
        'name: "n" input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } layer { name: "bn" type: "BatchNorm" '
        'bottom: "data" top: "bn" batch_norm_param { use_global_stats: true } }'
    )
    net = check(parse_prototxt(text), tmp_path)
    assert [layer.type for layer in net.layers] == ["BatchNorm"]


REFUSED: dict[str, tuple[Nodes, list[onnx.TensorProto], str]] = {
    "operator": ([node("Softsign", "x")], [], "Softsign.*no such layer"),
    "output padding": (
        [node("ConvTranspose", "x w", strides=[2, 2], output_padding=[1, 1])],
        [weight("w", 3, 6, 2, 2)],
        "output_padding",
    ),
    "average that counts padding, rounded up": (
        [node("AveragePool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1, ceil_mode=1)],
        [],
        "counts padding that Caffe does not have",
    ),
    "mirrored padding": (
        [node("Pad", "x p", mode="reflect")],
        [tensor("p", [0, 0, 1, 1, 0, 0, 1, 1])],
        "stored number",
    ),
    "dilated pooling": ([node("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 2])], [], "dilation"),
    "a scale that is not exact": (
        [node("Resize", "x roi scales", mode="linear")],
        [tensor("scales", [1, 1, 1.6, 1.6], np.float32), tensor("roi", [], np.float32)],
        "do not follow from the two sizes",
    ),
    "computed weight": ([node("Relu", "w", "r"), node("Conv", "x r")], [W], "weight is computed"),
    "even LRN": ([node("LRN", "x", size=4)], [], "even"),
    "alpha": (
        [node("Flatten", "x", "f", axis=1), node("Gemm", "f w", alpha=0.5)],
        [weight("w", 192, 5)],
        "alpha or beta",
    ),
    "spread over channels": (
        [node("ReduceMean", "x axes", "m"), node("Mul", "x m")],
        [tensor("axes", [1])],
        "ReduceMean.*Mul",
    ),
    "operand that skips an axis": ([node("Mul", "x c")], [weight("c", 3, 1, 8)], "neighbouring axes"),
}


@pytest.mark.abuse
@pytest.mark.parametrize("name", REFUSED)
def test_inexpressible_nodes_are_refused(name: str, tmp_path: Path) -> None:
    nodes, initializers, pattern = REFUSED[name]
    graph = graph_of(tmp_path, nodes, initializers)
    with pytest.raises(UnsupportedOp, match=f"(?s){pattern}"):
        to_caffe(graph)


@pytest.mark.abuse
def test_refusals_are_in_one_error(tmp_path: Path) -> None:
    nodes = [node("Softsign", "x", "a"), node("Sin", "a", "b"), node("Softsign", "b", "c"), node("LRN", "c", size=2)]
    with pytest.raises(UnsupportedOp) as caught:
        to_caffe(graph_of(tmp_path, nodes))
    assert [problem.place for problem in caught.value.problems] == ['"a", "c"', '"b"', '"c"'] or len(
        caught.value.problems
    ) == 3
    assert '"a", "c": Softsign' in str(caught.value)


@pytest.mark.abuse
def test_caffemodel_has_a_largest_size(tmp_path: Path) -> None:
    from trunkline.ingest.prototxt.writer import CaffeBlob, CaffeLayer

    graph = graph_of(tmp_path, [node("Conv", "x w")], [W])
    tensors = graph.initializers["w"].const_value
    assert tensors is not None
    huge = CaffeLayer("a", "Convolution", (), (), blobs=(CaffeBlob((2**29,), tensors, "w"),))
    with pytest.raises(InvalidModel, match="at most 2,147,483,647"):
        write_caffemodel(CaffeNet("n", "x", (3, 8, 8), (huge,)), BytesIO())


@pytest.mark.parity
def test_written_blobs_are_matched(tmp_path: Path) -> None:
    """Every blob that is written is found again, under the weight that it came from."""
    for name in ("Conv", "BatchNormalization", "Gemm", "per channel"):
        nodes, initializers, _ = CASES[name]
        graph = graph_of(tmp_path, nodes, initializers)
        back, net = round_trip(graph, tmp_path)
        found = match(back, read_caffemodel_bytes(encoded(net)))
        assert not found.unused
        assert not found.problems
        assert len(found.tensors) == len([item for layer in net.layers for item in layer.blobs if item.weight])


@pytest.mark.properties
@settings(max_examples=80, deadline=None)
@given(st.data())
def test_pooling_is_right_or_refused(data: st.DataObject) -> None:
    """Every pooling that ONNX can say: Caffe's reading of what is written gives the same numbers."""
    size, kernel = data.draw(st.integers(2, 9)), data.draw(st.integers(1, 4))
    begin, end = data.draw(st.integers(0, kernel - 1)), data.draw(st.integers(0, kernel - 1))
    end = data.draw(st.sampled_from([begin, end]))
    if kernel > size + begin + end:
        return
    op = data.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    attributes: dict[str, Any] = {"kernel_shape": [kernel, kernel], "pads": [begin, begin, end, end]}
    attributes["strides"] = [data.draw(st.integers(1, 4))] * 2
    attributes["ceil_mode"] = data.draw(st.integers(0, 1))
    if op == "AveragePool":
        attributes["count_include_pad"] = data.draw(st.integers(0, 1))
    proto = model([node(op, "x", **attributes)], shape=("batch", 2, size, size))
    with tempfile.TemporaryDirectory() as folder:
        try:
            graph = read(save(proto, Path(folder)))
            to_caffe(graph)
        except InvalidModel:
            return
        check(graph, Path(folder))


@pytest.mark.properties
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_chains_of_layers(data: st.DataObject) -> None:
    """Random stacks of layers, branches included, come back with the same bits and compute the same."""
    nodes, initializers, last, channels = [], [], "x", 3
    for index in range(data.draw(st.integers(1, 6))):
        kind, name = data.draw(st.sampled_from(["conv", "bn", "relu", "scale", "prelu", "sum", "cat"])), f"v{index}"
        w = f"w{index}"
        if kind == "conv":
            count = data.draw(st.integers(1, 4))
            initializers += [weight(w, count, channels, 3, 3, scale=0.1), weight(f"{w}b", count)]
            nodes.append(node("Conv", f"{last} {w} {w}b", name, pads=[1, 1, 1, 1]))
            channels = count
        elif kind == "bn":
            initializers += [weight(f"{w}{part}", channels) for part in "sbm"]
            initializers.append(tensor(f"{w}v", np.linspace(0.5, 2, channels), np.float32))
            nodes.append(node("BatchNormalization", f"{last} {w}s {w}b {w}m {w}v", name))
        elif kind == "scale":
            initializers.append(weight(w, channels, 1, 1))
            nodes.append(node(data.draw(st.sampled_from(["Mul", "Add"])), f"{last} {w}", name))
        elif kind == "prelu":
            initializers.append(weight(w, channels, 1, 1))
            nodes.append(node("PRelu", f"{last} {w}", name))
        elif kind == "relu":
            nodes.append(node("Relu", last, name))
        else:
            nodes.append(node("Sigmoid", last, f"{name}b"))
            joined = (
                node("Add", f"{last} {name}b", name)
                if kind == "sum"
                else node("Concat", f"{last} {name}b", name, axis=1)
            )
            nodes.append(joined)
            channels *= 1 if kind == "sum" else 2
        last = name
    with tempfile.TemporaryDirectory() as folder:
        check(graph_of(Path(folder), nodes, initializers, outputs=(last,)), Path(folder))
