"""What surrounds the layers: old syntax, data layers, phases and stages, labels, harmless fields, features."""

from __future__ import annotations

import pytest

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import Graph, shape_of
from trunkline.graph.verify import verify
from trunkline.ingest.prototxt import parse_prototxt

INPUT = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 16 input_dim: 16\n'


def layer(kind: str, name: str, bottoms: str = "", tops: str = "", body: str = "") -> str:
    blobs = "".join(f' bottom: "{each}"' for each in bottoms.split())
    blobs += "".join(f' top: "{each}"' for each in tops.split())
    return f'layer {{ name: "{name}" type: "{kind}"{blobs} {body} }}\n'


def conv(name: str, bottom: str = "data", body: str = "num_output: 4 kernel_size: 3 pad: 1", extra: str = "") -> str:
    return layer("Convolution", name, bottom, name, f"convolution_param {{ {body} }} {extra}")


def read(text: str, **wishes: object) -> Graph:
    return verify(parse_prototxt(text, "net.prototxt", **wishes))


def refuse(text: str, **wishes: object) -> InvalidModel:
    with pytest.raises(InvalidModel) as caught:
        parse_prototxt(text, "net.prototxt", **wishes)
    return caught.value


def outputs(graph: Graph) -> list[str]:
    return [value.name or "" for value in graph.outputs]


# Data layers


@pytest.mark.golden
@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ('type: "Data" transform_param { crop_size: 20 }', (3, 20, 20)),
        ('type: "Data" transform_param { crop_size: 20 force_gray: true }', (1, 20, 20)),
        ('type: "Data" data_param { source: "x" crop_size: 21 }', (3, 21, 21)),
        ('type: "ImageData" image_data_param { new_height: 18 new_width: 24 }', (3, 18, 24)),
        ('type: "ImageData" image_data_param { new_height: 18 new_width: 24 is_color: false }', (1, 18, 24)),
        (
            'type: "ImageData" image_data_param { new_height: 18 new_width: 24 } transform_param { crop_size: 9 }',
            (3, 9, 9),
        ),
        ('type: "ImageSegData" transform_param { crop_size: 33 }', (3, 33, 33)),
        ('type: "WindowData" window_data_param { crop_size: 27 fg_threshold: 0.5 }', (3, 27, 27)),
        ('type: "MemoryData" memory_data_param { batch_size: 2 channels: 5 height: 8 width: 9 }', (5, 8, 9)),
        ('type: "DummyData" dummy_data_param { shape { dim: 7 dim: 2 dim: 8 dim: 9 } }', (2, 8, 9)),
        ('type: "DummyData" dummy_data_param { num: 7 num: 1 channels: 2 height: 8 width: 9 height: 1 }', (2, 8, 9)),
    ],
)
def test_image_of_a_data_layer(data: str, shape: tuple) -> None:
    graph = read(f'layer {{ name: "d" top: "data" top: "label" {data} }}\n' + conv("c"))
    assert shape_of(graph.input) == (None, *shape)


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["Data", "HDF5Data", "DenseImageData", "Python", "AnnotatedData"])
def test_data_layer_without_size_needs_one(kind: str) -> None:
    """Where only the images' files know their size, the caller has to give one."""
    text = layer(kind, "d", tops="data label", body='python_param { module: "m" }' * (kind == "Python")) + conv("c")
    problem = refuse(text).problems[0]
    assert "does not say how large" in problem.message
    assert "--input-size" in problem.advice
    assert shape_of(read(text, input_size=(10, 12)).input) == (None, 3, 10, 12)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("source", "size", "shape"),
    [
        ('type: "Data"', (10, 12), (3, 10, 12)),
        ('type: "Data"', (1, 10, 12), (1, 10, 12)),
        ('type: "Data" transform_param { force_gray: true }', (10, 12), (1, 10, 12)),
        ('type: "ImageData" image_data_param { is_color: false }', (10, 12), (1, 10, 12)),
        ('type: "Data" transform_param { force_gray: true }', (1, 10, 12), (1, 10, 12)),
        ('type: "Input" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } }', (10, 12), (3, 10, 12)),
        ('type: "Input" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } }', (3, 10, 12), (3, 10, 12)),
        ('type: "Input"', (10, 12), (3, 10, 12)),
        ('type: "Input"', (5, 10, 12), (5, 10, 12)),
    ],
)
def test_channels_of_a_given_size(source: str, size: tuple, shape: tuple) -> None:
    """The file's channels hold; where it gives none the caller's, or else 3 with a note."""
    graph = read(f'layer {{ name: "d" top: "data" {source} }}\n' + conv("c"), input_size=size)
    assert shape_of(graph.input) == (None, *shape)
    guessed = source in ('type: "Data"', 'type: "Input"') and len(size) == 2
    assert guessed == any("how many channels" in note for note in graph.notes)


@pytest.mark.golden
@pytest.mark.parametrize(
    "source",
    [
        'type: "Data" transform_param { force_gray: true }',
        'type: "Input" input_param { shape { dim: 1 dim: 1 dim: 9 dim: 9 } }',
    ],
)
def test_channels_must_agree_with_the_file(source: str) -> None:
    problem = refuse(f'layer {{ name: "d" top: "data" {source} }}\n' + conv("c"), input_size=(3, 10, 12)).problems[0]
    assert problem.message == 'the channels of input "data" are 1, not 3'


@pytest.mark.golden
def test_preprocessing_is_noted() -> None:
    """A data layer that is dropped leaves a note of how it changed the images."""
    body = "transform_param { crop_size: 16 scale: 0.017 mean_value: 104 mean_value: 117 mirror: true }"
    notes = read(layer("Data", "d", tops="data", body=body) + conv("c")).notes
    assert any("scale 0.017, mean_value 104 117" in note for note in notes)


@pytest.mark.golden
def test_training_files_data_layer_is_input() -> None:
    """A file for training alone has its image in a data layer of phase TRAIN."""
    body = "include { phase: TRAIN } transform_param { crop_size: 16 }"
    text = layer("Data", "d", tops="data label", body=body) + conv("c")
    graph = read(text + layer("SoftmaxWithLoss", "loss", "c label"))
    assert (shape_of(graph.input), outputs(graph)) == ((None, 3, 16, 16), ["c"])


@pytest.mark.golden
def test_labels_from_a_second_data_layer() -> None:
    """What is computed from labels is dropped with them."""
    text = layer("Data", "d", tops="data", body="transform_param { crop_size: 16 }") + layer("Data", "l", tops="label")
    graph = read(text + conv("c") + layer("Reshape", "flat", "label", "flat") + layer("FancyLoss", "x", "c flat", "x"))
    assert outputs(graph) == ["c"]
    assert 'Reshape "flat" was dropped: it needs "label", which only training data has' in graph.notes


@pytest.mark.abuse
def test_second_image_is_no_label() -> None:
    text = layer("HDF5Data", "d", tops="data depth") + conv("c") + conv("e", "depth")
    assert 'reads 2 inputs: "data", "depth"' in str(refuse(text, input_size=(8, 8)))


# Losses


@pytest.mark.golden
@pytest.mark.parametrize(
    ("kind", "body"),
    [("FocalLoss", ""), ("SegAccuracy", ""), ("Python", "loss_weight: 1")],
)
def test_losses_of_forks_are_dropped(kind: str, body: str) -> None:
    graph = read(INPUT + conv("c") + layer(kind, "l", "c", "l", body))
    assert outputs(graph) == ["c"]


@pytest.mark.abuse
def test_reading_a_dropped_result() -> None:
    text = INPUT + conv("c") + layer("ArgMax", "a", "c", "a") + layer("ReLU", "r", "a", "r")
    problem = refuse(text).problems[0]
    assert 'ReLU "r" reads blob "a", but ArgMax "a" has no part' in problem.message
    assert problem.line == 4


@pytest.mark.golden
@pytest.mark.parametrize(
    ("text", "expected", "nodes"),
    [
        (conv("a") + conv("b") + layer("Silence", "s", "b"), ["a"], 1),
        (conv("a") + conv("b") + layer("ReLU", "r", "b", "b") + layer("Silence", "s", "b"), ["a"], 1),
        (conv("a") + conv("b", "a") + layer("Silence", "s", "a"), ["b"], 2),
        (conv("a") + layer("Slice", "x", "a", "p q") + layer("Silence", "s", "q"), ["p"], 2),
        (conv("a") + conv("b") + layer("Silence", "s", "a b"), ["a", "b"], 2),
        (conv("a") + layer("Pooling", "p", "a", "p m", "pooling_param { kernel_size: 2 }") + layer("Silence", "s", "m"),
         ["p"], 2),
    ],
)  # fmt: skip
def test_silenced_blobs_are_no_outputs(text: str, expected: list, nodes: int) -> None:
    graph = read(INPUT + text)
    assert (outputs(graph), len(graph.nodes)) == (expected, nodes)
    assert all(len(node.outputs) == 1 or node.op_type == "Split" for node in graph.nodes)


# Phases, levels, stages


@pytest.mark.golden
@pytest.mark.parametrize(
    ("state", "rule", "kept"),
    [
        ("", 'include { stage: "deploy" }', False),
        ('stage: "deploy"', 'include { stage: "deploy" }', True),
        ('stage: "deploy"', 'include { stage: "deploy" stage: "extra" }', False),
        ('stage: "deploy" stage: "extra"', 'include { stage: "deploy" stage: "extra" }', True),
        ('stage: "deploy"', 'include { not_stage: "deploy" }', False),
        ('stage: "deploy"', 'exclude { not_stage: "deploy" }', True),
        ("level: 2", "include { min_level: 2 }", True),
        ("level: 2", "include { min_level: 3 }", False),
        ("level: 2", "include { max_level: 1 }", False),
        ("phase: TRAIN", "include { phase: TRAIN }", False),
        ("", "include: { }", True),
        ("", "exclude { }", False),
    ],
)
def test_rules_follow_the_files_state(state: str, rule: str, kept: bool) -> None:
    """Rules of level and stage match the state that the file itself sets."""
    text = INPUT + conv("c") + layer("ReLU", "r", "c", "c", rule)
    graph = read((f"state {{ {state} }}\n" if state else "") + text)
    assert (len(graph.nodes) == 2) == kept
    assert any('left out: ReLU "r"' in note for note in graph.notes) == (not kept)


@pytest.mark.golden
def test_notes_shorten_long_lists() -> None:
    text = "".join(layer("ReLU", f"r{i}", "c", "c", "include { phase: TRAIN }") for i in range(30))
    assert any(note.endswith('ReLU "r3" and others') for note in read(INPUT + conv("c") + text).notes)


# The syntax before 2014


@pytest.mark.golden
def test_v1_param_is_a_string() -> None:
    """In V1, layers share weights by param: "name", without a block."""
    body = 'param: "w" param: "b" blob_share_mode: STRICT convolution_param { num_output: 3 kernel_size: 1 }'
    one = 'layers {{ name: "{0}" type: CONVOLUTION bottom: "{1}" top: "{0}" blobs_lr: 1 {2} }}\n'
    graph = read(INPUT + one.format("a", "data", body) + one.format("b", "a", body))
    assert list(graph.initializers) == ["a.weight", "a.bias"]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("kind", "node"),
    [("RELU", "Relu"), ("TANH", "Tanh"), ("ABSVAL", "Abs"), ("SIGMOID", "Sigmoid"), ("SOFTMAX", "Softmax"),
     ("FLATTEN", "Flatten"), ("LRN", "LRN"), ("DROPOUT", "Dropout"), ("PRELU", "PRelu")],
)  # fmt: skip
def test_v1_constants(kind: str, node: str) -> None:
    graph = read(INPUT + f'layers {{ name: "l" type: {kind} bottom: "data" top: "l" }}')
    assert [each.op_type for each in graph.nodes] == [node]


@pytest.mark.abuse
def test_v1_constant_in_a_new_block() -> None:
    assert 'did you mean "ReLU"?' in str(refuse(INPUT + layer("RELU", "r", "data", "r")))


# Names


@pytest.mark.golden
def test_weightless_layers_may_share_names() -> None:
    graph = read(INPUT + conv("c") + layer("ReLU", "r", "c", "r1") + layer("ReLU", "r", "r1", "r2"))
    assert [node.name for node in graph.nodes] == ["c", "r", "r_2"]


@pytest.mark.abuse
def test_layers_with_weights_may_not() -> None:
    text = INPUT + conv("c") + conv("c", "c").replace('top: "c"', 'top: "d"')
    assert 'two layers with weights are called "c"; the first is at line 2' in str(refuse(text))


# Fields


@pytest.mark.golden
@pytest.mark.parametrize(
    "field",
    ["engine: CUDNN", "cudnn_tune: 3", "force_nd_im2col: true", "inplace: true", "forward_type: FLOAT16"],
)
def test_device_settings_are_harmless(field: str) -> None:
    graph = read(INPUT + conv("c", body=f"num_output: 2 kernel_size: 1 {field}", extra="debug_info: true"))
    assert not graph.notes


@pytest.mark.golden
def test_unknown_filler_field_is_noted() -> None:
    body = 'num_output: 2 kernel_size: 1 weight_filler { type: "gaussian" std: 0.1 sparse: 9 }'
    assert len(read(INPUT + conv("c", body=body)).notes) == 1


@pytest.mark.abuse
@pytest.mark.parametrize("field", ["pre_pad: 2", "fuse_relu: true", "quantize: 8"])
def test_unknown_fields_are_errors(field: str) -> None:
    """A field that is not known might change numbers."""
    assert "unknown field" in str(refuse(INPUT + conv("c", body=f"num_output: 2 kernel_size: 1 {field}")))


# Features

DETECTOR = (
    'input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 } input: "im_info" input_shape { dim: 1 dim: 3 }\n'
    + conv("conv1")
    + layer("ReLU", "relu1", "conv1", "conv1")
    + layer("Pooling", "pool1", "conv1", "pool1", "pooling_param { kernel_size: 2 stride: 2 }")
    + conv("conv2", "pool1")
    + layer("BatchNorm", "bn2", "conv2", "conv2")
    + layer("Scale", "scale2", "conv2", "conv2", "scale_param { bias_term: true }")
    + layer("Proposal", "proposal", "conv2 im_info", "rois")
    + layer("ROIPooling", "roi", "conv2 rois", "roi", "roi_pooling_param { nonsense: 3 }")
    + conv("broken", "nowhere", "kernel_size: 3")
    + layer("ReLU", "again", "roi", "pool1")
)


@pytest.mark.golden
def test_features_cut_off_a_detectors_head() -> None:
    """Layers that the features do not need may be of any type, and even broken."""
    error = refuse(DETECTOR)
    assert isinstance(error, UnsupportedOp)
    assert "--features" in str(error)
    graph = read(DETECTOR, features=["scale2"])
    assert outputs(graph) == ["scale2"]
    assert [node.op_type for node in graph.nodes] == ["Conv", "Relu", "MaxPool", "Conv", "BatchNormalization"]
    assert "4 layers that the features do not need were left out" in graph.notes


@pytest.mark.golden
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["conv1"], ["conv1"]),  # the blob before relu1 works in place on it
        (["relu1", "pool1"], ["relu1", "pool1"]),
        (["scale2", "relu1"], ["scale2", "relu1"]),
        (["bn2"], ["scale2"]),  # one node with the Scale layer after it
        (["pool1", "pool1"], ["pool1"]),
    ],
)
def test_features_are_values_blobs_or_layers(names: list, expected: list) -> None:
    graph = read(DETECTOR, features=names)
    assert outputs(graph) == expected
    whole = {value.name for node in graph.nodes for value in node.outputs}
    assert whole.issuperset(expected)


@pytest.mark.golden
def test_layer_name_means_first_top() -> None:
    text = INPUT + layer("Convolution", "layer", "data", "blob", "convolution_param { num_output: 1 kernel_size: 1 }")
    assert outputs(read(text + conv("c", "blob"), features=["layer"])) == ["blob"]


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("name", "words"),
    [("conv3", "no blob or layer is called"), ("relu_1", 'did you mean "relu1"?'), ("rois", "Proposal")],
)
def test_impossible_features(name: str, words: str) -> None:
    assert words in str(refuse(DETECTOR, features=[name]))


@pytest.mark.abuse
def test_masks_and_inputs_are_no_features() -> None:
    text = INPUT + layer("Pooling", "p", "data", "p m", "pooling_param { kernel_size: 2 stride: 2 }")
    text += layer("Upsample", "u", "p m", "u") + layer("Split", "s", "data", "s")
    assert 'feature "m" is a mask of positions' in str(refuse(text, features=["m"]))
    assert 'feature "s" is the input' in str(refuse(text, features=["s"]))
