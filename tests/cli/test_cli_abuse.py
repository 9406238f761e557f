"""Abuse: whatever is fed to a command, it ends with the right code, a place and advice, and spoils nothing."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from commands import ended, invoke, refused, spawn
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

pytestmark = pytest.mark.abuse

SIZE = ("--input-size", "32,48")
HEAD = """\
name: "net"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 } }
"""


def layer(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(HEAD + text + "\n")


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def network(nodes: list[onnx.NodeProto], *stored: TensorProto) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(stored),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def convolution() -> onnx.ModelProto:
    weight = np.ones((2, 3, 3, 3), np.float32)
    return network([helper.make_node("Conv", ["x", "w"], ["y"], name="conv")], numpy_helper.from_array(weight, "w"))


def saved(make: Callable[[], onnx.ModelProto]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(make().SerializeToString())


def control_flow() -> onnx.ModelProto:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["o"])], "g", [], [helper.make_tensor_value_info("o", 1, None)]
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=9),
        helper.make_node("If", ["c"], ["y"], name="fork", then_branch=inner, else_branch=inner),
    ]
    return network(nodes)


def enormous() -> onnx.ModelProto:
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"], name="fill"),
        helper.make_node("Add", ["x", "c"], ["y"], name="add"),
    ]
    return network(nodes, numpy_helper.from_array(np.array([2**40]), "s"))


def escaping() -> onnx.ModelProto:
    proto = convolution()
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../secret.bin")
    return proto


def circular() -> onnx.ModelProto:
    wires = [("Add", ["x", "b"], "a"), ("Relu", ["a"], "b"), ("Relu", ["b"], "y")]
    return network([helper.make_node(op, reads, [writes], name=writes) for op, reads, writes in wires])


def torch_archive(path: Path) -> None:
    torch.save({"w": torch.zeros(2)}, path)


MODELS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "unknown layer": (
        layer('layer { name: "f" type: "Convolutoin" bottom: "conv" top: "f" }'),
        ("bad:5:25", '"f"', "^^^^^^^^^^^", "Convolution"),
    ),
    "bottom nobody writes": (
        layer('layer { name: "r" type: "ReLU" bottom: "cnv" top: "r" }'),
        ("bad:5:40", "which no layer writes", 'did you mean "conv"?'),
    ),
    "shapes that cannot add": (
        layer('layer { name: "e" type: "Eltwise" bottom: "conv" bottom: "data" top: "e" }'),
        ("bad:5:", "N x 4 x 14 x 14", "N x 3 x 16 x 16", "check stride, pad and num_output"),
    ),
    "missing num_output": (
        layer('layer { name: "c" type: "Convolution" bottom: "conv" top: "c" convolution_param { kernel_size: 3 } }'),
        ("bad:5:", "has no num_output", "add the number of output channels"),
    ),
    "wrong num_output": (
        layer(
            'layer { name: "c" type: "InnerProduct" bottom: "conv" top: "c" inner_product_param { num_output: ten } }'
        ),
        ("bad:5:", "must be a whole number", '"ten"'),
    ),
    "cycle": (
        layer(
            'layer { name: "a" type: "Eltwise" bottom: "conv" bottom: "b" top: "a" }\n'
            'layer { name: "b" type: "ReLU" bottom: "a" top: "b" }'
        ),
        ("bad:5:", "writes only at line 6", "a cycle is not possible"),
    ),
    "torn": (layer('layer { name: "c" type: "Convol'), ("bad:5:",)),
    "no layers": (raw(b'name: "net"\n'), ("declares no layers",)),
    "empty": (raw(b""), ("the file is empty",)),
    "blank": (raw(b" \n\n"), ("the file is empty",)),
    "binary": (raw(bytes(range(256)) * 8), ("neither an ONNX model nor a prototxt", "zoo:NAME")),
    "folder": (lambda path: path.mkdir(), ("is a folder",)),
    "missing": (lambda path: None, ("no such file", "check the path")),
    "pipe": (os.mkfifo, ("pipe or device",)),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"w": 1})), ("is a pickle", "torch.onnx.export")),
    "torch archive": (torch_archive, ("torch archive", "never loaded")),
    "web page": (raw(b"<!DOCTYPE html><html></html>"), ("web page",)),
    "control flow": (saved(control_flow), ("fork: If: its condition is computed from the image",)),
    "2^40 elements": (saved(enormous), ("1099511627776", "holds more than")),
    "external data outside": (saved(escaping), ("w: ", "../secret.bin", "model's folder")),
    "circle": (saved(circular), ("circle",)),
    "cut short": (
        lambda path: path.write_bytes(convolution().SerializeToString()[:-40]),
        ("bad",),
    ),
    "escape sequence as a name": (
        saved(lambda: network([helper.make_node("Relux", ["x"], ["y"], name="\x1b[31mred")])),
        ("\\x1b[31mred", "not supported"),
    ),
}

COMMANDS: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect", "bad"),
    "convert": ("convert", "bad", "out.onnx"),
    "build": ("build", "bad", "out.onnx", "--tasks", "a,b", "--all-shared"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", MODELS)
def test_a_bad_model_is_refused(name: str, command: str, tmp_path: Path) -> None:
    make, fragments = MODELS[name]
    make(tmp_path / "bad")
    Path("out.onnx").write_text("an older model")
    before = sorted(path.name for path in tmp_path.iterdir())
    refused(invoke(*COMMANDS[command]), *fragments)
    assert Path("out.onnx").read_text() == "an older model"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_no_traceback_from_a_process_either(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text(HEAD + 'layer { name: "f" type: "Nope" bottom: "conv" top: "f" }\n')
    refused(ended(spawn("inspect", "bad", cwd=tmp_path)), "bad:5:", '"f"')


def test_a_hostile_name_is_shown_not_obeyed(tmp_path: Path) -> None:
    proto = convolution()
    proto.graph.name = proto.graph.node[0].name = "\x1b]0;owned\x07[bold]"
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    said = invoke("inspect", "m.onnx")
    assert said.code == 0
    assert "\x1b" not in said.out
    assert "\\x1b]0;owned" in said.out
    assert "[bold]" in said.out


@pytest.mark.parametrize(
    "size", ["0,0", "0", "32", "a,b", "3,32,48,1", "3,0,48", "-1,5", "99999,5", "1e3,5", "²,3", "9" * 5000 + ",1", ""]
)
def test_an_odd_input_size_is_refused(size: str) -> None:
    refused(invoke("convert", "zoo:tiny", "out.onnx", f"--input-size={size}"), "--input-size", "256,512")
    assert not Path("out.onnx").exists()


def test_channels_in_the_wrong_place_are_refused() -> None:
    refused(invoke("convert", "zoo:tiny", "out.onnx", "--input-size", "32,48,3"), "are 3, not 32")
    assert invoke("convert", "zoo:tiny", "out.onnx", "--input-size", "3,32,48").code == 0


@pytest.mark.parametrize(
    ("tasks", "fragment"),
    [
        ("", "no task is named"),
        (" , ", "no task is named"),
        ("a,a", '"a" is given twice'),
        ("a b", '"a b" is not a task name'),
        ("1a", "starting with a letter"),
        ("../a", "is not a task name"),
        ("a" * 65, "is not a task name"),
        ("a:", "zoo"),
        ("a:0", '"0" output channels'),
        ("a:-1", '"-1" output channels'),
        ("a:many", "whole number from 1 to 65536"),
        ("a:²", "output channels"),
        ("a:" + "9" * 5000, "output channels"),
        ("a:1:2", "output channels"),
    ],
)
def test_odd_tasks_are_refused(tasks: str, fragment: str) -> None:
    said = invoke("build", "zoo:tiny", "out.onnx", f"--tasks={tasks}", "--all-shared", *SIZE)
    if tasks == "a:":  # nothing after the colon is no number: the kind's own
        assert said.code == 0
        return
    refused(said, fragment)
    assert not Path("out.onnx").exists()


PLAIN = {"backbone": {"name": "tiny", "fingerprint": "0"}, "tasks": ["a", "b"], "units": {}}
SHARINGS: dict[str, tuple[list[str], str | None, tuple[str, ...]]] = {
    "none given": ([], None, ("no ways of sharing", "--share-until")),
    "two given": (["--all-shared", "--independent"], None, ("2 ways of sharing",)),
    "unknown block": (["--share-until", "stage9"], None, ('no block "stage9"', "stage")),
    "block number": (["--share-until", "7"], None, ("numbered 0 to 6",)),
    "odd block number": (["--share-until", "²"], None, ("no block",)),
    "unknown head": (["--all-shared", "--head", "lite"], None, ('did you mean "light"?',)),
    "folder as head": (["--all-shared", "--head", "."], None, ("is a folder",)),
    "head of other features": (["--all-shared", "--head", "conv.onnx"], None, ("reads 3 channels", "48")),
    "plan missing": (["--plan", "nope.json"], None, ("nope.json", "cannot read the plan")),
    "plan empty": (["--plan", "given"], "", ("given", "JSON")),
    "plan too deep": (["--plan", "given"], "[" * 100_000, ("given",)),
    "plan no object": (["--plan", "given"], "[1]", ("given",)),
    "plan misspelt": (["--plan", "given"], json.dumps({**PLAIN, "unitz": {}}), ("unitz", 'did you mean "units"?')),
    "plan of another backbone": (["--plan", "given"], json.dumps(PLAIN), ("the plan is for another backbone",)),
    "plan of other tasks": (
        ["--plan", "given"],
        json.dumps({**PLAIN, "tasks": ["a", "c"]}),
        ("the plan is for tasks a, c, not a, b",),
    ),
    "layout missing": (["--layout", "nope.json"], None, ("nope.json", "cannot read the layout")),
    "layout torn": (["--layout", "given"], "[[[", ("given", "cannot read the layout")),
    "layout of another form": (["--layout", "given"], '{"a": 1}', ("given", "for example")),
    "layout too deep": (["--layout", "given"], "[" * 100_000, ("given", "layout")),
    "layout too short": (["--layout", "given"], json.dumps([[["a", "b"]]]), ("has 1 entries, the backbone 7 blocks",)),
    "layout joins again": (
        ["--layout", "given"],
        json.dumps([[["a"], ["b"]], *[[["a", "b"]]] * 6]),
        ("layout[1]", "joins tasks that block 0 separated"),
    ),
    "layout forgets a task": (["--layout", "given"], json.dumps([[["a"]]] * 7), ("must hold each task once",)),
}


@pytest.mark.parametrize("name", SHARINGS)
def test_unfit_ways_of_sharing_are_refused(name: str) -> None:
    """None, two at once, or one that is not there."""
    arguments, content, fragments = SHARINGS[name]
    Path("conv.onnx").write_bytes(convolution().SerializeToString())
    if content is not None:
        Path("given").write_text(content)
    refused(invoke("build", "zoo:tiny", "out.onnx", "--tasks", "a,b", *SIZE, *arguments), *fragments)
    assert not Path("out.onnx").exists()


WEIGHTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"w": 1})), ("w.bin", "is a pickle", "never read")),
    "torch archive": (torch_archive, ("w.bin", "archive", "never read")),
    "missing": (lambda path: None, ("w.bin", "no such file")),
    "folder": (lambda path: path.mkdir(), ("w.bin", "is a folder")),
    "another shape": (lambda path: save_file({"w": np.zeros((1, 1), np.float32)}, path), ('"w" has shape [1, 1]',)),
    "another name": (
        lambda path: save_file({"ww": np.zeros((2, 3, 3, 3), np.float32)}, path),
        ('did you mean "ww"?', "no weight of"),
    ),
    "not finite": (
        lambda path: save_file({"w": np.full((2, 3, 3, 3), np.nan, np.float32)}, path),
        ("NaN or infinity",),
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_do_not_fit_are_refused(name: str, tmp_path: Path) -> None:
    make, fragments = WEIGHTS[name]
    Path("conv.onnx").write_bytes(convolution().SerializeToString())
    make(tmp_path / "w.bin")
    refused(invoke("convert", "conv.onnx", "out.onnx", "--weights", "w.bin"), *fragments)
    assert not Path("out.onnx").exists()


@pytest.mark.parametrize(
    ("place", "fragment"),
    [
        ("nowhere/out.onnx", "not a folder"),
        (".", "is a folder"),
        ("conv.onnx/out.onnx", "not a folder"),
        ("", "is a folder"),
    ],
)
@pytest.mark.parametrize("command", ["convert", "build"])
def test_impossible_places_are_refused(command: str, place: str, fragment: str) -> None:
    """Where no file can be."""
    Path("conv.onnx").write_bytes(convolution().SerializeToString())
    more = () if command == "convert" else ("--tasks", "a", "--all-shared")
    refused(invoke(command, "conv.onnx", place, *more), fragment, "a folder that exists")


@pytest.mark.parametrize("number", ["0", "-3"])
def test_parity_needs_inputs(number: str) -> None:
    Path("conv.onnx").write_bytes(convolution().SerializeToString())
    refused(invoke("convert", "conv.onnx", "out.onnx", f"--parity-inputs={number}"), "at least 1 input")
    assert not Path("out.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "fragments", "code"),
    [
        ([], ("nothing to measure",), 2),
        (["nope.onnx"], ("nope.onnx", "no such file"), 2),
        (["conv.onnx+nope.onnx"], ("nope.onnx",), 2),
        (["junk.onnx"], ("junk.onnx",), 2),
        (["conv.onnx", "--threads=0"], ("bench.threads",), 2),
        (["conv.onnx", "--batch=-1"], ("bench.batch",), 2),
        (["conv.onnx", "--samples=3"], ("bench.minimum_samples", "use 11 or more"), 2),
        (["conv.onnx", "--limit=nan"], ("bench.limit_seconds",), 2),
        (["conv.onnx", "--seed=-1"], ("bench.seed",), 2),
        (["conv.onnx", "--provider=tensorrt"], ("TensorrtExecutionProvider", "trunkline[gpu]"), 3),
        (["conv.onnx", "--provider=cuda"], ("CUDAExecutionProvider", "trunkline[gpu]"), 3),
        (["conv.onnx", "--runtime=torch", "--provider=cuda"], ("GPU",), 3),
        (["nan.onnx", "--samples=11", "--limit=0.05"], ("nan, output y", "not finite"), 3),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], fragments: tuple[str, ...], code: int) -> None:
    if "cuda" in str(arguments) and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    Path("conv.onnx").write_bytes(convolution().SerializeToString())
    Path("junk.onnx").write_bytes(bytes(range(256)))
    proto = convolution()
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((2, 3, 3, 3), np.nan, np.float32), "w"))
    Path("nan.onnx").write_bytes(proto.SerializeToString())
    refused(invoke("bench", *arguments), *fragments, code=code)


def test_a_negative_seed_for_the_demo() -> None:
    refused(invoke("demo", "--seed=-1"), "--seed", "from 0 on")
    assert not list(Path().iterdir())
