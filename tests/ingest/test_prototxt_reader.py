"""The reader: real files, dialects, inputs, names, and located errors for everything else."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import Graph, attribute, shape_of
from trunkline.graph.verify import verify
from trunkline.ingest.prototxt import parse_prototxt, read_prototxt
from trunkline.limits import Limits

INPUT = 'input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }\n'
STATISTICS_OR_SETTINGS = (".mean", ".var", ".ratio", ".min", ".max")


def layer(kind: str, name: str = "l", bottom: str = "data", top: str = "", body: str = "") -> str:
    bottoms = " ".join(f'bottom: "{each}"' for each in bottom.split())
    top = top or name.replace("§", "")
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top}" {body} }}\n'


def block(body: str, kind: str = "Convolution", bottom: str = "data") -> str:
    return layer(kind, bottom=bottom, body=body)


def conv(name: str, bottom: str = "data", top: str = "", body: str = "num_output: 4 kernel_size: 3 pad: 1") -> str:
    return layer("Convolution", name, bottom, top, f"convolution_param {{ {body} }}")


def parameters(graph: Graph) -> int:
    return sum(
        math.prod(value.shape)
        for name, value in graph.initializers.items()
        if value.dtype.is_floating_point() and not name.endswith(STATISTICS_OR_SETTINGS)
    )


def refuse(text: str) -> InvalidModel:
    with pytest.raises(InvalidModel) as caught:
        parse_prototxt(text, "net.prototxt")
    return caught.value


@pytest.mark.golden
@pytest.mark.parametrize(
    ("file", "count", "nodes"),
    [
        ("deeplab_resnet34_adashare", 21_284_672, 122),
        ("mobilenetv2", 2_223_872, 149),
        ("mnasnet", 3_102_312, 149),
        ("mobilenet_v1", 4_231_976, 84),
        ("resnet50", 25_557_096, 176),
        ("squeezenet_v1.1", 1_235_496, 66),
    ],
)
def test_published_parameter_counts(shared_data: Path, file: str, count: int, nodes: int) -> None:
    graph = verify(read_prototxt(shared_data / "prototxt" / f"{file}.prototxt"))
    assert (parameters(graph), len(graph.nodes), len(graph.outputs)) == (count, nodes, 1)


@pytest.mark.golden
def test_input_size_replaces_the_files(shared_data: Path) -> None:
    path = shared_data / "prototxt" / "deeplab_resnet34_adashare.prototxt"
    assert shape_of(read_prototxt(path).outputs[0]) == (None, 512, 29, 29)
    assert shape_of(read_prototxt(path, input_size=(320, 256)).outputs[0]) == (None, 512, 41, 33)


@pytest.mark.golden
@pytest.mark.parametrize(
    "header",
    [
        'input: "data" input_dim: 7 input_dim: 3 input_dim: 32 input_dim: 32',
        'input: "data" input_shape { dim: [1, 3, 32, 32] }',
        'layer { name: "in" type: "Input" top: "data" input_param { shape: { dim: -1 dim: 3 dim: 32 dim: 32 } } }',
        'layer { name: "in" type: "MemoryData" top: "data" top: "label" transform_param { crop_size: 32 } }',
    ],
)
def test_every_way_to_declare_the_input(header: str) -> None:
    graph = verify(parse_prototxt(header + "\n" + conv("c")))
    assert (graph.input.name, shape_of(graph.input)) == ("data", (None, 3, 32, 32))


@pytest.mark.golden
def test_input_of_the_loss_is_dropped() -> None:
    """An input that only a dropped layer reads is no input of the Graph."""
    labels = 'input: "label" input_shape { dim: 1 dim: 1 dim: 1 dim: 1 }\n'
    graph = parse_prototxt(INPUT + labels + conv("c") + layer("SoftmaxWithLoss", "loss", "c label"))
    assert [note for note in graph.notes if '"label"' in note]
    assert [value.name for value in graph.outputs] == ["c"]


@pytest.mark.golden
def test_misnamed_input_is_repaired() -> None:
    """A header that names the input differently is repaired, but only where nothing reads the declared name."""
    assert "taken as the input" in parse_prototxt(INPUT + conv("c", "image")).notes[0]
    # "data" has a reader, so "dat" is a misspelling and not the input.
    assert 'did you mean "data"?' in str(refuse(INPUT + conv("c") + conv("d", "dat")))


@pytest.mark.golden
def test_in_place_layers_get_own_values() -> None:
    graph = parse_prototxt(INPUT + conv("c") + layer("ReLU", "r", "c", "c") + layer("Sigmoid", "s", "c", "c"))
    assert [(node.name, node.inputs[0].name, node.outputs[0].name) for node in graph.nodes] == [
        ("c", "data", "c"),
        ("r", "c", "r"),
        ("s", "r", "s"),
    ]


@pytest.mark.golden
def test_names_never_clash() -> None:
    text = conv("c", top="c.weight") + layer("ReLU", "y", "c.weight", "c.weight") + layer("ReLU", "z", "c.weight", "y")
    graph = verify(parse_prototxt(INPUT + text))
    assert [node.outputs[0].name for node in graph.nodes] == ["c.weight", "y_2", "y"]
    assert graph.nodes[0].inputs[1].name == "c.weight_2"


@pytest.mark.golden
def test_outputs_are_unread_blobs() -> None:
    """The outputs are the blobs that nothing reads, in the order of the file."""
    text = conv("a") + layer("Split", "s", "a", "one", 'top: "two"') + layer("ReLU", "r", "one") + conv("b")
    assert [value.name for value in parse_prototxt(INPUT + text).outputs] == ["a", "r", "b"]


@pytest.mark.golden
def test_second_reader_keeps_scale_apart() -> None:
    """A Scale layer joins its BatchNorm only if nothing else reads the value between the two."""
    text = layer("BatchNorm", "n") + layer("Scale", "s", "n") + layer("ReLU", "r", "n")
    graph = parse_prototxt(INPUT + text)
    assert [node.op_type for node in graph.nodes] == ["BatchNormalization", "Mul", "Relu"]
    assert any("no scale and shift" in note for note in graph.notes)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("norm", "dialect", "momentum", "height"),
    [
        ("track_running_stats: true", "AutoMTL", 0.9, 15),
        ("affine: true momentum: 0.25", "AutoMTL", 0.75, 15),
        ("eps: 1e-3", "AutoMTL", 0.9, 15),
        ("use_global_stats: true", "", 0.9, 16),
        ("moving_average_fraction: 0.99", "", 0.99, 16),
    ],
)
def test_dialects(norm: str, dialect: str, momentum: float, height: int) -> None:
    text = layer("BatchNorm", "n", body=f"batch_norm_param {{ {norm} }}")
    text += layer("Pooling", "p", "n", body="pooling_param { kernel_size: 3 stride: 2 }")
    graph = parse_prototxt(INPUT + text)
    assert any(note.startswith("AutoMTL dialect") for note in graph.notes) == bool(dialect)
    assert attribute(graph.nodes[0], "momentum") == pytest.approx(momentum)
    assert shape_of(graph.outputs[0]) == (None, 3, height, height)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("include { phase: TEST }", True),
        ("include { phase: TRAIN }", False),
        ("include { phase: TRAIN } include { phase: TEST }", True),
        ("exclude { phase: TEST }", False),
        ("exclude { phase: TRAIN }", True),
        ('include { stage: "extra" }', False),
        ('include { not_stage: "extra" }', True),
        ('exclude { phase: TEST stage: "extra" }', True),
        ("include { min_level: 1 }", False),
        ("include: { max_level: 3 }", True),
    ],
)
def test_phase_rules(rule: str, kept: bool) -> None:
    graph = parse_prototxt(INPUT + conv("c") + layer("ReLU", "r", "c", body=rule))
    assert (len(graph.nodes) == 2) == kept


@pytest.mark.golden
def test_harmless_fields_are_accepted() -> None:
    body = """param { lr_mult: 1 decay_mult: 0 } propagate_down: true loss_weight: 0
        convolution_param { num_output: 2 kernel_size: 1 engine: CAFFE force_nd_im2col: false }"""
    graph = parse_prototxt("force_backward: true\n" + INPUT + layer("Convolution", "c", body=body))
    assert not graph.notes


@pytest.mark.golden
def test_reading_draws_no_weight() -> None:
    graph = parse_prototxt(INPUT + conv("c", body="num_output: 900000 kernel_size: 9 pad: 4 dilation: 1"))
    assert parameters(graph) == 900_000 * (3 * 81 + 1)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("dims", "expected"),
    [("dim: 0 dim: -1", (96,)), ("dim: -1 dim: 96", (96,)), ("dim: 1 dim: 6 dim: 16", (6, 16)),
     ("dim: 0 dim: 0 dim: -1", (6, 16)), ("dim: 0 dim: 3 dim: 2 dim: -1 dim: 4", (3, 2, 4, 4))],
)  # fmt: skip
def test_reshape_leaves_the_batch_free(dims: str, expected: tuple[int, ...]) -> None:
    text = 'input: "data" input_dim: 1 input_dim: 6 input_dim: 4 input_dim: 4\n'
    graph = parse_prototxt(text + layer("Reshape", body=f"reshape_param {{ shape {{ {dims} }} }}"))
    assert shape_of(graph.outputs[0]) == (None, *expected)


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" ", "the file is empty"),
        ("  \n\t\n", "the file is empty"),
        ("§# only a comment\n", "declares no layers"),
        ("§" + INPUT, "declares no layers"),
        ('§net: "n.prototxt"\nbase_lr: 0.01\n', "solver file"),
        ("§item { id: 1 }", "declares no layers"),
        ("§\n" + conv("c"), "declares no input"),
        ('input: "§data"\n' + conv("c"), "does not say how large"),
        ('input: "§data" input_dim: 3\n' + conv("c"), "must be N x C x H x W, found 3"),
        ('input: "§data" input_dim: 1 input_dim: 0 input_dim: 4 input_dim: 4\n' + conv("c"), "no channels"),
        (INPUT + INPUT.replace("data", "§info") + conv("c") + conv("d", "info"), "reads 2 inputs"),
        (INPUT + conv("c", "§dta") + conv("d"), 'did you mean "data"?'),
        (INPUT + "§layer { bottom: 'data' top: 'x' }", "has no type"),
        (INPUT + layer("ReLU", "r", "data").replace('top: "r"', 'top: "§"'), "is an empty name"),
        ('input: "§" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n' + conv("c"), "is an empty name"),
        (INPUT + "§layers { layer { name: 'c' type: 'conv' } }", "V0 format"),
        ("§" + INPUT + layer("Silence"), "no layer that computes"),
        (INPUT + layer("Split", "§l"), "computes nothing"),
        (INPUT + block("§convolution_param { num_output: 4 }"), "has no kernel_size"),
        (INPUT + conv("c", body="num_output: §-4 kernel_size: 1"), "from 1 to 1,000,000"),
        (INPUT + conv("c", body="num_output: 4 kernel_size: §3.5"), "must be a whole number"),
        (INPUT + conv("c", body="num_output: 4 kernel_size: §0"), "has no kernel_size"),
        (INPUT + conv("c", body="num_output: 5 num_output: §5 kernel_size: 1"), 'gives "num_output" twice'),
        (INPUT + conv("c", body="num_output: §4 kernel_size: 1 group: 3"), "num_output 4 cannot be split"),
        (INPUT + conv("c", body="num_output: 4 kernel_size: 1 bias_term: §maybe"), "must be true or false"),
        (INPUT + conv("c", body="num_output: 4 kernel_size: [§3, 3, 3]"), "3 values"),
        (INPUT + conv("c", body="num_output: 4 kernel_size: 1 axis: §2"), "channels on axis 1"),
        (INPUT + conv("c", body="§num_output { } kernel_size: 1"), "must be a value, not a block"),
        (INPUT + conv("c", body="§num_outptu: 4 kernel_size: 1"), '"num_output"?'),
        (INPUT + conv("c", body='num_output: 4 kernel_size: 1 weight_filler { type: "§xaver" }'), '"xavier"?'),
        (INPUT + block("convolution_param: §5"), "must be a block"),
        (INPUT + block("§inner_product_param { }", "InnerProduct"), "has no num_output"),
        (INPUT + block("relu_param { negative_slope: §1e999 }", "ReLU"), "finite number"),
        (INPUT + block("§pooling_param { pool: MAX }", "ReLU"), 'unknown field "pooling_param"'),
        (INPUT + block("softmax_param { axis: §0 }", "Softmax"), "batch axis"),
        (INPUT + block("softmax_param { axis: §7 }", "Softmax"), "has no axis 7"),
        (INPUT + block("dropout_param { dropout_ratio: §1 }", "Dropout"), "0 ≤ ratio < 1"),
        (INPUT + layer("Eltwise", bottom="§data"), "has 1 bottoms; expected 2 or more"),
        (INPUT + block("eltwise_param { operation: PROD coeff: §1 }", "Eltwise", "data data"), "coefficients"),
        (INPUT + block("concat_param { axis: §0 }", "Concat", "data data"), "batch axis"),
        (INPUT + block("lrn_param { local_size: §4 }", "LRN"), "must be odd"),
        (INPUT + block("lrn_param { beta: §0 }", "LRN"), "must be positive"),
        (INPUT + conv("§c", body="num_output: 1 kernel_size: 1 pad: 1000000"), "too large for any device"),
        (INPUT + block("lrn_param { alpha: §0 }", "LRN"), "must be positive"),
        (INPUT + block("§reshape_param { shape { dim: 0 dim: 5 } }", "Reshape"), "cannot make 0 x 5 of"),
        (INPUT + block("flatten_param { axis: 3 end_axis: §2 }", "Flatten"), "flattens axes 3 to 2"),
        (INPUT + block('top: "b" §slice_param { slice_point: 9 }', "Slice"), "into 2 parts at [9]"),
        (INPUT + block("permute_param { order: §1 order: 0 }", "Permute"), "0 first"),
        (INPUT + block("batch_norm_param { track_running_stats: §false }", "BatchNorm"), "depend on the batch"),
        (INPUT + block('param { name: "§mean" }', "BatchNorm"), "shares its statistics"),
        (INPUT + block("scale_param { axis: §1 }", "Scale", "data data"), "needs axis: 0"),
        (INPUT + conv("§c", body="num_output: 1000000 kernel_size: 1000 pad: 999"), "3,000,000,000,000 numbers"),
    ],
)
def test_every_fault_is_located(text: str, words: str) -> None:
    """The sign § marks the token that an error must point at (inside the quotes of a string)."""
    start = text.find("§")
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    column -= text[max(0, start - 1)] in ('"', "'")
    problem = refuse(text.replace("§", "")).problems[0]
    assert words in f"{problem.message} {problem.advice}"
    assert problem.place == (f"net.prototxt:{line}:{column}" if start >= 0 else "net.prototxt")


@pytest.mark.abuse
def test_empty_file() -> None:
    assert refuse("").problems[0].message == "the file is empty"


@pytest.mark.abuse
def test_shape_for_each_input() -> None:
    error = refuse('input: "a" input: "b" input_dim: 1\n' + layer("Eltwise", bottom="a b"))
    assert "names 2 inputs but gives 1 shapes" in str(error)


@pytest.mark.abuse
def test_independent_faults_are_reported_together() -> None:
    """One error lists independent faults, but not what follows from them."""
    text = INPUT + conv("a", body="kernel_size: 3") + layer("ReLU", "r", "a") + conv("b", body="num_output: 2")
    assert [problem.line for problem in refuse(text).problems] == [2, 4]


@pytest.mark.abuse
def test_unknown_layers_in_one_error() -> None:
    error = refuse(INPUT + layer("Interpolate", "i") + layer("relu", "r") + layer("Eltwis", "e"))
    assert isinstance(error, UnsupportedOp)
    advice = [problem.advice for problem in error.problems]
    assert advice[1:3] == ['did you mean "ReLU"?', 'did you mean "Eltwise"?']
    assert "Convolution" in error.problems[-1].message


@pytest.mark.abuse
def test_mismatch_names_both_shapes() -> None:
    text = INPUT + conv("a") + conv("b", body="num_output: 4 kernel_size: 3") + layer("Eltwise", "sum", "a b")
    assert 'Eltwise "sum" cannot add "a" N x 4 x 32 x 32 and "b" N x 4 x 30 x 30' in str(refuse(text))


@pytest.mark.abuse
def test_shared_weights_need_one_shape() -> None:
    shared = 'param {{ name: "w" }} convolution_param {{ num_output: {} kernel_size: 1 }}'
    text = layer("Convolution", "a", body=shared.format(4)) + layer("Convolution", "b", body=shared.format(5))
    assert 'shares "w"' in str(refuse(INPUT + text))


@pytest.mark.abuse
def test_report_of_many_faults_is_short() -> None:
    error = refuse(INPUT + "".join(conv(f"c{i}", f"x{i}") for i in range(2000)))
    assert len(error.problems) == 101
    assert error.problems[-1].message == "and 1900 more problems"


@pytest.mark.abuse
def test_long_chain_needs_no_recursion() -> None:
    text = "".join(layer("ReLU", f"r{i + 1}", f"r{i}") for i in range(2000))
    assert len(parse_prototxt(INPUT.replace("data", "r0") + text).nodes) == 2000


@pytest.mark.abuse
def test_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(INPUT + conv("c"))
    with pytest.raises(InvalidModel, match="at most 100 are read"):
        read_prototxt(path, limits=Limits(text_bytes=100))


@pytest.mark.abuse
def test_missing_file_is_invalid(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=re.escape("no such file")):
        read_prototxt(tmp_path / "none.prototxt")
