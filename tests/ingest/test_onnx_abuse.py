"""Abuse: hostile and broken ONNX files end in our own error, soon, and without reading what is not theirs."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel, TrunklineError, UnsupportedOp
from trunkline.graph.graph import array_of
from trunkline.graph.verify import verify
from trunkline.ingest.onnx_file.reader import read_onnx
from trunkline.limits import Limits

pytestmark = pytest.mark.abuse

SECRET = b"SECRET--" * 27
SHAPE = (2, 3, 3, 3)
NBYTES = 216


def convolution(**entries: str) -> onnx.ModelProto:
    """A Conv whose weight, 216 bytes, lies where ``entries`` say."""
    stored = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=SHAPE, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        stored.external_data.add(key=key, value=value)
    proto = model([helper.make_node("Conv", ["x", "w"], ["y"], name="conv")], initializers=[weight("w", *SHAPE)])
    proto.graph.initializer[0].CopyFrom(stored)
    return proto


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """A model folder with good data, and secrets beside it. What hangs is killed by the test's own timeout."""
    inside = tmp_path / "model"
    (inside / "sub").mkdir(parents=True)
    (tmp_path / "model_secrets").mkdir()
    for name in ("secret.bin", "model_secrets/secret.bin"):
        (tmp_path / name).write_bytes(SECRET)
    (inside / "w.bin").write_bytes(weight("w", *SHAPE).raw_data)
    (inside / "sub" / "w.bin").write_bytes(weight("w", *SHAPE).raw_data)
    (inside / "short.bin").write_bytes(b"\0" * (NBYTES - 1))
    (inside / "empty.bin").touch()
    (inside / "link.bin").symlink_to("w.bin")
    (inside / "out.bin").symlink_to(tmp_path / "secret.bin")
    (inside / "way").symlink_to(tmp_path, target_is_directory=True)
    (inside / "same").symlink_to("sub", target_is_directory=True)
    (inside / "dangling.bin").symlink_to("nowhere")
    os.link(tmp_path / "secret.bin", inside / "hard.bin")
    os.mkfifo(inside / "pipe.bin")
    return inside


ESCAPES: dict[str, tuple[dict[str, str], str]] = {
    "parent": ({"location": "../secret.bin"}, "does not name a file in the model's folder"),
    "parent in the middle": ({"location": "sub/../../secret.bin"}, "does not name a file"),
    "sibling with the same prefix": ({"location": "../model_secrets/secret.bin"}, "does not name a file"),
    "absolute": ({"location": "/etc/passwd"}, "absolute"),
    "device": ({"location": "/dev/zero"}, "absolute"),
    "windows": ({"location": "..\\secret.bin"}, "plain name"),
    "drive": ({"location": "C:secret.bin"}, "plain name"),
    "nul": ({"location": "w.bin\0.txt"}, "plain name"),
    "empty location": ({"location": ""}, "plain name"),
    "no location": ({"offset": "0"}, "plain name"),
    "folder": ({"location": "sub"}, "not a regular file"),
    "the folder itself": ({"location": "."}, "does not name a file"),
    "missing": ({"location": "nothing.bin"}, "cannot be read: No such file"),
    "too long a name": ({"location": "a" * 5000}, "cannot be read"),
    "file as folder": ({"location": "w.bin/w.bin"}, "cannot be read"),
    "link": ({"location": "link.bin"}, "link"),
    "link to a secret": ({"location": "out.bin"}, "link"),
    "dangling link": ({"location": "dangling.bin"}, "link"),
    "linked parent": ({"location": "way/secret.bin"}, 'link "way"'),
    "linked parent inside": ({"location": "same/w.bin"}, 'link "same"'),
    "hard link": ({"location": "hard.bin"}, "hard link"),
    "pipe": ({"location": "pipe.bin"}, "not a regular file"),
    "negative offset": ({"location": "w.bin", "offset": "-1"}, 'offset "-1"'),
    "no number": ({"location": "w.bin", "offset": "1e3"}, 'offset "1e3"'),
    "huge offset": ({"location": "w.bin", "offset": "9" * 18}, "the file has 216"),
    "endless offset": ({"location": "w.bin", "offset": "9" * 5000}, "not a whole number"),
    "beyond the end": ({"location": "w.bin", "offset": "4"}, "ends at byte 220"),
    "negative length": ({"location": "w.bin", "length": "-216"}, 'length "-216"'),
    "short length": ({"location": "w.bin", "length": "212"}, "need 216"),
    "long length": ({"location": "w.bin", "length": "220"}, "need 216"),
    "short file": ({"location": "short.bin"}, "the file has 215"),
    "empty file": ({"location": "empty.bin"}, "the file has 0"),
    "unknown key": ({"location": "w.bin", "base": "/"}, 'unknown external data key "base"'),
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("door", ["absolute", "bare"])
def test_external_data_stays_in_its_folder(
    name: str, door: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, reason = ESCAPES[name]
    path = save(convolution(**entries), folders)
    if door == "bare":
        monkeypatch.chdir(folders)
        path = Path(path.name)
    with pytest.raises(InvalidModel) as caught:
        read_onnx(path)
    assert reason in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert caught.value.problems[0].place == "w"


@pytest.mark.parametrize("door", ["absolute", "bare", "relative"])
@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/w.bin", "sub//./w.bin"])
def test_external_data_beside_the_model_is_read(
    location: str, door: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(convolution(location=location, length=str(NBYTES)), folders)
    monkeypatch.chdir(folders)
    graph = verify(read_onnx({"absolute": path, "bare": Path(path.name), "relative": Path("./net.onnx")}[door]))
    expected = numpy_helper.to_array(weight("w", *SHAPE))
    np.testing.assert_array_equal(array_of(graph.initializers["w"]), expected)
    assert run(to_proto(graph), image(1, 3, 8, 8))["y"].shape == (1, 2, 6, 6)


def test_a_key_given_twice_is_refused(folders: Path) -> None:
    proto = convolution(location="w.bin")
    proto.graph.initializer[0].external_data.add(key="location", value="../secret.bin")
    with pytest.raises(InvalidModel, match="given twice"):
        read_onnx(save(proto, folders))


def test_all_bad_tensors_are_reported_at_once(folders: Path) -> None:
    proto = convolution(location="link.bin")
    other = proto.graph.initializer.add()
    other.CopyFrom(convolution(location="hard.bin").graph.initializer[0])
    other.name = "w2"
    proto.graph.node.append(helper.make_node("Conv", ["x", "w2"], ["z"], name="conv2"))
    proto.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    with pytest.raises(InvalidModel) as caught:
        read_onnx(save(proto, folders))
    assert [problem.place for problem in caught.value.problems] == ["w", "w2"]
    assert "cp hard.bin COPY" in caught.value.problems[1].advice


def test_link_swapped_in_is_not_followed(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is swapped for a link after it was checked is not followed."""
    path = save(convolution(location="w.bin"), folders)
    real_open = os.open

    def swap(name: str, flags: int, *rest: object, **options: object) -> int:
        if name == "w.bin":
            (folders / "w.bin").unlink()
            (folders / "w.bin").symlink_to(folders.parent / "secret.bin")
        return real_open(name, flags, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", swap)
    monkeypatch.setattr(os, "supports_dir_fd", {swap})
    with pytest.raises(InvalidModel, match="cannot be read"):
        read_onnx(path)


def constant_of_shape(*shape: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"], name="fill"),
        helper.make_node("Add", ["x", "c"], ["y"], name="add"),
    ]
    return model(nodes, initializers=[tensor("s", shape)])


def doubling(*, stored: bool) -> onnx.ModelProto:
    """Forty Concats, each of what was before with itself."""
    first = "w" if stored else "x"
    names = [first, *(f"d{i}" for i in range(40))]
    nodes = [helper.make_node("Concat", [a, a], [b], name=b, axis=1) for a, b in zip(names, names[1:], strict=False)]
    nodes.append(helper.make_node("Add" if stored else "Relu", ["x", "d39"] if stored else ["d39"], ["y"], name="last"))
    return model(nodes, initializers=[weight("w", 1, 64, 1, 1)] if stored else [])


def huge_header() -> onnx.ModelProto:
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[weight("w", 1)])
    proto.graph.initializer[0].dims[:] = [2**40]
    return proto


def padded(amount: int) -> onnx.ModelProto:
    return model(
        [helper.make_node("Pad", ["x", "p"], ["y"], name="pad")],
        initializers=[tensor("p", [0, 0, 0, 0, 0, 0, amount, amount])],
    )


def resized(factor: float) -> onnx.ModelProto:
    stored = tensor("s", [1, 1, factor, 1], np.float32)
    return model([helper.make_node("Resize", ["x", "", "s"], ["y"], name="resize")], initializers=[stored])


def windowed(**attributes: object) -> onnx.ModelProto:
    return model([helper.make_node("MaxPool", ["x"], ["y"], name="pool", **attributes)])


SILLY: dict[str, Callable[[], onnx.ModelProto]] = {
    "fill 2^40": lambda: constant_of_shape(2**40),
    "fill 2^20 x 2^20": lambda: constant_of_shape(2**20, 2**20),
    "fill negative": lambda: constant_of_shape(-1, 3),
    "fill overflow": lambda: constant_of_shape(2**62, 4),
    "fill with 1000 axes": lambda: constant_of_shape(*[1] * 1000),
    "header 2^40": huge_header,
    "doubled activations": lambda: doubling(stored=False),
    "doubled constants": lambda: doubling(stored=True),
    "padding 2^40": lambda: padded(2**40),
    "padding 2^62": lambda: padded(2**62),
    "padding negative": lambda: padded(-9),
    "padding to nothing": lambda: padded(-8),
    "scale 1e30": lambda: resized(1e30),
    "scale infinite": lambda: resized(float("inf")),
    "scale nan": lambda: resized(float("nan")),
    "scale negative": lambda: resized(-1.0),
    "scale to nothing": lambda: resized(1e-9),
    "kernel 0": lambda: windowed(kernel_shape=[0, 0]),
    "kernel too large": lambda: windowed(kernel_shape=[100, 100]),
    "kernel rank": lambda: windowed(kernel_shape=[2]),
    "stride 0": lambda: windowed(kernel_shape=[2, 2], strides=[0, 1]),
    "stride 0, automatic": lambda: windowed(kernel_shape=[2, 2], strides=[0, 1], auto_pad="SAME_UPPER"),
    "stride negative": lambda: windowed(kernel_shape=[2, 2], strides=[-1, 1]),
    "pads 2^62": lambda: windowed(kernel_shape=[2, 2], pads=[2**62] * 4),
    "dilation 2^62": lambda: windowed(kernel_shape=[2, 2], dilations=[2**62] * 2),
    "automatic nonsense": lambda: windowed(kernel_shape=[2, 2], auto_pad="MAYBE"),
    "image 0": lambda: model([helper.make_node("Relu", ["x"], ["y"])], shape=(1, 3, 0, 8)),
    "image negative": lambda: model([helper.make_node("Relu", ["x"], ["y"])], shape=(1, 3, -1, 8)),
    "image 2^62": lambda: model([helper.make_node("Relu", ["x"], ["y"])], shape=(1, 3, 2**31, 2**31)),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", SILLY)
def test_silly_sizes_allocate_nothing(name: str, tmp_path: Path) -> None:
    """Huge and impossible sizes are refused before anything is allocated."""
    path = save(SILLY[name](), tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidModel):
            read_onnx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (400e6 if name == "doubled constants" else 50e6)


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_long_chain_reads(count: int, tmp_path: Path) -> None:
    names = ["x", *(f"r{i}" for i in range(count - 1)), "y"]
    nodes = [helper.make_node("Relu", [a], [b], name=b) for a, b in zip(names, names[1:], strict=False)]
    graph = verify(read_onnx(save(model(nodes), tmp_path)))
    assert len(graph.nodes) == count


def test_limits_are_the_callers(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Relu", ["r"], ["y"])]
    path = save(model(nodes), tmp_path)
    for limits, word in (
        (Limits(nodes=1), "2 nodes; at most 1"),
        (Limits(file_bytes=10), "bytes; at most 10"),
        (Limits(tensor_elements=100), "more than 100"),
    ):
        with pytest.raises(InvalidModel, match=word):
            read_onnx(path, limits=limits)
    stored = save(model([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[weight("w", 3, 8, 8)]), tmp_path)
    with pytest.raises(InvalidModel, match="192 numbers; at most 100"):
        read_onnx(stored, limits=Limits(total_elements=100))


def branch(depth: int) -> onnx.GraphProto:
    output = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    if depth == 0:
        return helper.make_graph([helper.make_node("Constant", [], ["o"], value_float=1.0)], "g", [], [output])
    inner = branch(depth - 1)
    return helper.make_graph(
        [helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner)], "g", [], [output]
    )


def test_150_nested_branches_end_in_our_error(tmp_path: Path) -> None:
    """Written by hand: each level is wrapped in the bytes of If's attribute, without parsing what is inside."""

    def field(number: int, content: bytes) -> bytes:
        size, length = len(content), b""
        while size >= 0x80:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = branch(0).SerializeToString()
    for _ in range(150):
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(1, b"c") + field(2, b"o") + field(4, b"If") + field(5, attribute)) + field(2, b"g")
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x08" + field(7, graph) + field(8, b"\x10\x12"))
    with pytest.raises(InvalidModel):
        read_onnx(path)


def test_all_unsupported_nodes_are_listed(tmp_path: Path) -> None:
    """Every node that is not supported is listed in one report."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="fine"),
        helper.make_node("Trilu", ["a"], ["b"], name="trilu"),
        helper.make_node("QuantizeLinear", ["b", "s"], ["c"], name="quantise"),
        helper.make_node("SequenceConstruct", ["c"], ["d"], name="sequence"),
        helper.make_node("Gelu", ["d"], ["e"], name="custom", domain="com.microsoft"),
        helper.make_node("LSTM", ["e"], ["y"]),
    ]
    with pytest.raises(UnsupportedOp) as caught:
        read_onnx(save(model(nodes, initializers=[weight("s", 1)]), tmp_path))
    places = [problem.place for problem in caught.value.problems]
    assert places[:-2] == ["trilu", "quantise", "sequence", "custom", "y"]
    assert "--features a" in str(caught.value)
    assert "supported operators: Abs, " in str(caught.value)
    assert "quantised" in str(caught.value)
    assert "com.microsoft" in str(caught.value)


def test_sparse_weights_are_refused(tmp_path: Path) -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])])
    proto.graph.sparse_initializer.add()
    with pytest.raises(UnsupportedOp, match="sparse"):
        read_onnx(save(proto, tmp_path))


Defect = Callable[[onnx.ModelProto], None]


def _defects() -> dict[str, tuple[Defect, str]]:
    def rename(p: onnx.ModelProto) -> None:
        p.graph.node[1].output[0] = p.graph.node[0].output[0]

    def bytes_as_name(p: onnx.ModelProto) -> None:
        p.graph.node[0].name = "caf\xe9#"

    return {
        "missing input": (lambda p: p.graph.node[1].input.__setitem__(0, "nowhere"), 'reads "nowhere"'),
        "circle": (lambda p: p.graph.node[0].input.__setitem__(0, p.graph.node[1].output[0]), "circle|inputs"),
        "written twice": (rename, "more than once"),
        "duplicate weight": (lambda p: p.graph.initializer.append(p.graph.initializer[0]), "more than once"),
        "no output": (lambda p: p.graph.ClearField("output"), "output"),
        "unknown output": (lambda p: setattr(p.graph.output[0], "name", "ghost"), "written by no node"),
        "output is the image": (lambda p: setattr(p.graph.output[0], "name", "x"), "no node writes|inputs"),
        "weight too short": (lambda p: p.graph.initializer[0].ClearField("raw_data"), "the file holds 0"),
        "weight of text": (lambda p: setattr(p.graph.initializer[0], "data_type", TensorProto.STRING), "STRING"),
        "weight of nothing": (lambda p: setattr(p.graph.initializer[0], "data_type", 99), "element type 99"),
        "wrong rank": (lambda p: p.graph.initializer[0].dims.__setitem__(slice(None), [2, 27]), "impossible|shape"),
        "wrong channels": (
            lambda p: p.graph.initializer[0].dims.__setitem__(slice(None), [3, 2, 3, 3]),
            "reads 3 channels",
        ),
        "unknown attribute": (lambda p: p.graph.node[0].attribute.append(helper.make_attribute("bogus", 1)), "bogus"),
        "attribute of another type": (
            lambda p: p.graph.node[0].attribute.append(helper.make_attribute("group", "one")),
            "group",
        ),
        "no opset": (lambda p: p.ClearField("opset_import"), "names 0 opsets"),
        "IR version": (lambda p: setattr(p, "ir_version", 99), "IR version 99"),
        "no nodes": (lambda p: p.graph.ClearField("node"), "no graph"),
        "byte image": (lambda p: setattr(p.graph.input[0].type.tensor_type, "elem_type", TensorProto.UINT8), "float32"),
        "flat image": (lambda p: p.graph.input[0].type.tensor_type.shape.dim.pop(), "four axes"),
        "image without shape": (lambda p: p.graph.input[0].type.tensor_type.ClearField("shape"), "no shape"),
        "too many inputs": (lambda p: p.graph.node[1].input.append("x"), "Relu"),
    }


DEFECTS = _defects()


def good() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    return model(nodes, initializers=[weight("w", *SHAPE)])


@pytest.mark.parametrize("name", DEFECTS)
def test_one_defect_is_one_located_error(name: str, tmp_path: Path) -> None:
    defect, reason = DEFECTS[name]
    proto = good()
    defect(proto)
    with pytest.raises(InvalidModel, match=reason):
        verify(read_onnx(save(proto, tmp_path)))


def test_two_images_are_refused(tmp_path: Path) -> None:
    proto = model([helper.make_node("Add", ["x", "z"], ["y"])])
    proto.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 8, 8]))
    with pytest.raises(InvalidModel, match=r'2 inputs .*"x" .*"z"'):
        read_onnx(save(proto, tmp_path))


def test_an_open_image_size_is_asked_for(tmp_path: Path) -> None:
    path = save(model([helper.make_node("Relu", ["x"], ["y"])], shape=("b", 3, "h", None)), tmp_path)
    with pytest.raises(InvalidModel, match="--input-size H,W"):
        read_onnx(path)
    assert str(read_onnx(path, input_size=(5, 7)).outputs[0].shape) == "[N,3,5,7]"


def test_open_channels_are_asked_for(tmp_path: Path) -> None:
    path = save(model([helper.make_node("Relu", ["x"], ["y"])], shape=("b", None, 8, 8)), tmp_path)
    with pytest.raises(InvalidModel, match="--input-size C,H,W"):
        read_onnx(path, input_size=(5, 7))
    assert str(read_onnx(path, input_size=(4, 5, 7)).outputs[0].shape) == "[N,4,5,7]"


def test_other_channels_are_refused(tmp_path: Path) -> None:
    """Other channels than the file's are refused."""
    path = save(good(), tmp_path)
    with pytest.raises(InvalidModel, match="are 3, not 1"):
        read_onnx(path, input_size=(1, 8, 8))


def test_names_must_be_utf8(tmp_path: Path) -> None:
    """Names that are not UTF-8 end in our error."""
    data = good().SerializeToString()
    path = tmp_path / "bytes.onnx"
    path.write_bytes(data.replace(b"conv", b"c\xff\xfev"))
    with pytest.raises(InvalidModel):
        verify(read_onnx(path))


SEED = good().SerializeToString()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(0, len(SEED) - 1),
    edit=st.sampled_from(["flip", "cut", "insert", "repeat"]),
    byte=st.integers(0, 255),
)
def test_damaged_bytes_are_read_or_refused(tmp_path: Path, position: int, edit: str, byte: int) -> None:
    """A file with any damaged bytes is read or refused with our error."""
    head, tail = SEED[:position], SEED[position + 1 :]
    damaged = {
        "flip": head + bytes([SEED[position] ^ (byte or 1)]) + tail,
        "cut": head,
        "insert": head + bytes([byte]) * 3 + SEED[position:],
        "repeat": head + SEED[position : position + 40] + SEED[position:],
    }[edit]
    path = tmp_path / "damaged.onnx"
    path.write_bytes(damaged)
    try:
        verify(read_onnx(path))
    except TrunklineError as error:
        assert error.exit_code == 2


def test_reading_leaves_no_open_files(folders: Path) -> None:
    path = save(convolution(location="pipe.bin"), folders)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    for _ in range(50):
        with pytest.raises(InvalidModel):
            read_onnx(path)
    assert before == 0 or len(list(Path("/proc/self/fd").iterdir())) <= before


MISFITS = {
    "conv_bias": ("Conv", {}, [(6, 4, 3, 3), (5,)], r"input 2 of shape \[5\]; \[6\] was expected"),
    "conv_bias_of_one": ("Conv", {}, [(6, 4, 3, 3), (1,)], r"\[6\] was expected"),
    "conv_bias_of_two_axes": ("Conv", {}, [(6, 4, 3, 3), (1, 6)], r"\[6\] was expected"),
    "conv_groups": ("Conv", {"group": 4}, [(6, 1, 3, 3)], "4 groups do not divide"),
    "conv_no_groups": ("Conv", {"group": 0}, [(6, 4, 3, 3)], "0 groups"),
    "conv_negative_groups": ("Conv", {"group": -2}, [(6, 4, 3, 3)], "groups"),
    "deconv_bias": ("ConvTranspose", {"group": 2}, [(4, 3, 3, 3), (3,)], r"\[6\] was expected"),
    "instance_scale": ("InstanceNormalization", {}, [(3,), (4,)], r"input 1 of shape \[3\]; \[4\] was expected"),
    "instance_bias": ("InstanceNormalization", {}, [(4,), (1,)], "input 2"),
    "layer_scale": ("LayerNormalization", {"axis": -1}, [(7,), (6,)], r"cannot be spread over \[6\]"),
    "layer_bias": ("LayerNormalization", {"axis": 2}, [(7, 6), (7,)], r"input 2 .* cannot be spread over \[7, 6\]"),
    "slopes": ("PRelu", {}, [(4,)], r"cannot be spread over \[N, 4, 7, 6\]"),
    "slopes_of_a_batch": ("PRelu", {}, [(2, 4, 1, 1)], "cannot be spread"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_operands_that_do_not_fit_are_refused(name: str, tmp_path: Path) -> None:
    """ONNX's checker and its shape inference accept all of these; onnxruntime and torch do not."""
    op, attributes, shapes, message = MISFITS[name]
    stored = [weight(f"w{index}", *shape) for index, shape in enumerate(shapes)]
    node = helper.make_node(op, ["x", *(tensor.name for tensor in stored)], ["y"], name="odd", **attributes)
    path = save(model([node], initializers=stored, shape=("b", 4, 7, 6)), tmp_path)
    with pytest.raises(InvalidModel, match=message) as caught:
        verify(read_onnx(path))
    assert caught.value.problems[0].place == "odd"


@pytest.mark.parametrize("shape", [(6,), (1,), (1, 6), (1, 1), ()])
@pytest.mark.parametrize("fits", [True, False])
def test_bias_of_gemm_must_not_enlarge(shape: tuple, fits: bool, tmp_path: Path) -> None:
    """Gemm's third operand must not enlarge the result."""
    if not fits:
        shape = (2, shape[1]) if len(shape) == 2 else (*shape, 5)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "c"], ["y"])]
    path = save(model(nodes, initializers=[weight("w", 168, 6), weight("c", *shape)], shape=("b", 4, 7, 6)), tmp_path)
    if fits:
        verify(read_onnx(path))
    else:
        with pytest.raises(InvalidModel, match="cannot be spread"):
            verify(read_onnx(path))
