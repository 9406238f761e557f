"""Abuse: whatever is fed to the commands, they end with the right code, a place and advice, and leave nothing broken."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from commands import PIPELINE, Said, ended, invoke, pipeline, spawn
from conftest import Finished
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save_file

Files = dict[str, bytes]
SIZE = ("--input-size", "32,48")
HEAD = """\
name: "net"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 16 dim: 16 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 } }
"""


def contents(folder: Path) -> Files:
    """Every file but locks and the list of sessions, which grows with each start."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "sessions.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refused(said: Said, *fragments: str, code: int = 2) -> None:
    """The command said what is wrong and where, and nothing on stdout."""
    assert said.code == code, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.count("\n") >= 1
    for fragment in fragments:
        assert fragment in said.err, said.err


def layer(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(HEAD + text + "\n") and None


def raw(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


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


def saved(make: Callable[[], onnx.ModelProto]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(make().SerializeToString()) and None


def control_flow() -> onnx.ModelProto:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["o"])], "g", [], [helper.make_tensor_value_info("o", 1, None)]
    )
    nodes = [helper.make_node("If", ["c"], ["y"], name="fork", then_branch=inner, else_branch=inner)]
    return network(nodes, numpy_helper.from_array(np.array(True), "c"))


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
    "pipe": (lambda path: os.mkfifo(path), ("pipe or device",)),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"w": 1})), ("is a pickle", "torch.onnx.export")),
    "torch archive": (torch_archive, ("torch or zip archive", "never loaded")),
    "web page": (raw(b"<!DOCTYPE html><html></html>"), ("web page",)),
    "control flow": (saved(control_flow), ("fork: If: control flow is not supported",)),
    "2^40 elements": (saved(enormous), ("1099511627776", "holds more than")),
    "external data outside": (saved(escaping), ("w: ", "../secret.bin", "model's folder")),
    "circle": (saved(circular), ("circle",)),
    "cut short": (
        lambda path: path.write_bytes(convolution().SerializeToString()[:-40]),
        ("bad",),
    ),
    "escape sequence as a name": (
        saved(lambda: network([helper.make_node("Einsum", ["x"], ["y"], name="\x1b[31mred", equation="nchw->nchw")])),
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
    refused(ended(spawn("convert", "bad", "out.onnx", cwd=tmp_path)), "bad:5:", '"f"')
    assert not (tmp_path / "out.onnx").exists()


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
    "size", ["0,0", "0", "32", "a,b", "32,48,3", "-1,5", "99999,5", "1e3,5", "²,3", "9" * 5000 + ",1", ""]
)
def test_an_odd_input_size_is_refused(size: str) -> None:
    refused(invoke("convert", "zoo:tiny", "out.onnx", f"--input-size={size}"), "--input-size", "256,512")
    assert not Path("out.onnx").exists()


@pytest.mark.parametrize(
    ("tasks", "fragment"),
    [
        ("", "no task is named"),
        (" , ", "no task is named"),
        ("a,a", "'a' is given twice"),
        ("a b", "'a b' is not a task name"),
        ("1a", "starting with a letter"),
        ("../a", "is not a task name"),
        ("a" * 65, "is not a task name"),
        ("a:", "zoo"),
        ("a:0", "'0' output channels"),
        ("a:-1", "'-1' output channels"),
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
    "unknown block": (["--share-until", "stage9"], None, ("no block 'stage9'", "stage")),
    "block number": (["--share-until", "7"], None, ("numbered 0 to 6",)),
    "odd block number": (["--share-until", "²"], None, ("no block",)),
    "unknown head": (["--all-shared", "--head", "lite"], None, ('did you mean "light"?',)),
    "folder as head": (["--all-shared", "--head", "."], None, ("is a folder",)),
    "head of other features": (["--all-shared", "--head", "conv.onnx"], None, ("reads 3 channels", "gives 48")),
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
def test_a_way_of_sharing_that_does_not_fit_is_refused(name: str) -> None:
    arguments, content, fragments = SHARINGS[name]
    Path("conv.onnx").write_bytes(convolution().SerializeToString())
    if content is not None:
        Path("given").write_text(content)
    refused(invoke("build", "zoo:tiny", "out.onnx", "--tasks", "a,b", *SIZE, *arguments), *fragments)
    assert not Path("out.onnx").exists()


WEIGHTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"w": 1})), ("w.bin", "no safetensors file", "never read")),
    "torch archive": (torch_archive, ("w.bin", "no safetensors file")),
    "missing": (lambda path: None, ("w.bin", "no such file")),
    "folder": (lambda path: path.mkdir(), ("w.bin", "is a folder")),
    "another shape": (lambda path: save_file({"w": np.zeros((1, 1), np.float32)}, path), ('"w" has shape [1, 1]',)),
    "another name": (
        lambda path: save_file({"ww": np.zeros((2, 3, 3, 3), np.float32)}, path),
        ('did you mean "w"?', 'no trained weight is given for "w"'),
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
def test_a_place_where_no_file_can_be_is_refused(command: str, place: str, fragment: str) -> None:
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


CONFIGS: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {
    "unknown key": (("seed = 3", "sed = 3"), ("pipeline.toml: sed: unknown key", 'did you mean "seed"?')),
    "unknown table": (("[data]", "[dat]"), ('did you mean "data"?',)),
    "unknown key of data": (("val_length = 2", "val_lenght = 2"), ("data.val_lenght", 'did you mean "val_length"?')),
    "unknown key of search": (('preset = "demo"', 'presett = "demo"'), ("search.presett", 'did you mean "preset"?')),
    "unknown key of a task": (("[tasks.depth]", "[tasks.depth]\nwieght = 1"), ("tasks.depth.wieght", "weight")),
    "text for a number": (("seed = 3", 'seed = "3"'), ("pipeline.toml: seed: '3'", "integer")),
    "truth for a number": (("seed = 3", "seed = true"), ("seed: True", "integer")),
    "number for a truth": (("seed = 3", "augment = 1"), ("augment: 1", "boolean")),
    "fraction for a number": (("seed = 3", "seed = 3.5"), ("seed: 3.5",)),
    "negative": (("seed = 3", "seed = -1"), ("seed: -1", "greater than or equal to 0")),
    "date": (("seed = 3", "seed = 1979-05-27"), ("seed: ",)),
    "table for text": (("[tasks.depth]", "[tasks.depth]\nhead = { a = 1 }"), ("tasks.depth.head",)),
    "text for a table": (("[export]\nparity_inputs = 2", 'export = "a"'), ("search.export",)),
    "kind of data": (('kind = "scenes"', 'kind = "scene"'), ("data.kind", 'did you mean "scenes"?')),
    "no kind of data": (('kind = "scenes"\n', ""), ("data.kind", "scenes, nyuv2, folder")),
    "image too small": (("size = [32, 48]", "size = [4, 48]"), ("data.size.0", "greater than or equal to 8")),
    "half a size": (("size = [32, 48]", "size = [32]"), ("data.size.1",)),
    "broken": (("seed = 3", "seed = = 3"), ("this is not TOML", "line 2, column 8")),
    "twice": (("seed = 3", "seed = 3\nseed = 4"), ("this is not TOML", "line 3")),
    "unknown task": (("[tasks.depth]", "[tasks.dept]"), ("tasks.dept", 'did you mean "depth"?')),
    "odd task": (("[tasks.depth]", '[tasks."a b"]'), ("tasks.a b", "segmentation, depth")),
    "unknown preset": (('preset = "demo"', 'preset = "dmo"'), ("pipeline.toml: search.preset", 'did you mean "demo"?')),
    "preset of train": (("[export]", '[train]\npreset = "dmo"\n[export]'), ("train.preset", 'did you mean "demo"?')),
    "unknown number": (("steps = [", "stepz = ["), ("search.numbers.stepz", 'did you mean "steps"?')),
    "number of train": (("[export]", "[train]\nnumbers = { lr = 1 }\n[export]"), ("train.numbers.lr", "weight_lr")),
    "no steps": (("steps = [2, 4, 4]", "steps = [0, 4, 4]"), ("search.numbers.steps.0", "greater than or equal to 1")),
    "two of three": (("steps = [2, 4, 4]", "steps = [2, 4]"), ("search.numbers.steps",)),
    "no batch": (("batch_size = 2", "batch_size = 0"), ("search.numbers.batch_size",)),
    "negative rate": (("batch_size = 2", "weight_lr = -1.0"), ("search.numbers.weight_lr", "greater than 0")),
    "rate not a number": (("batch_size = 2", "weight_lr = nan"), ("search.numbers.weight_lr", "finite")),
    "no turns": (("alternate = [1, 1]", "alternate = [0, 1]"), ("search.numbers.alternate.0",)),
    "weight of no kind": (("batch_size = 2", "loss_weights = { dept = 1 }"), ("loss_weights.dept", "depth")),
    "unknown method": (("[search]", '[search]\nmethod = "auto"'), ("search.method", "automtl")),
    "unknown option": (
        ("[export]", '[search.options]\nmixng = "weight"\n[export]'),
        ("search.options.mixng", 'did you mean "mixing"?'),
    ),
    "option's value": (
        ("[export]", '[search.options]\nmixing = "sum"\n[export]'),
        ("search.options.mixing", "'output'"),
    ),
    "option of an option": (
        ("[export]", "[search.options.temperature]\nstrt = 1\n[export]"),
        ("search.options.temperature.strt", 'did you mean "start"?'),
    ),
    "seed of draws": (
        ("[export]", '[search.options.sampling]\nkind = "draw"\nseed = -1\n[export]'),
        ("search.options.sampling.seed",),
    ),
    "unknown option of a task": (
        ("[tasks.depth]", '[tasks.depth]\noptions = { loss_siz = "label" }'),
        ("depth", 'did you mean "loss_size"?'),
    ),
    "name as an option": (("[tasks.depth]", '[tasks.depth]\noptions = { name = "d" }'), ("tasks.depth.options.name",)),
    "weight as an option": (("[tasks.depth]", "[tasks.depth]\noptions = { weight = 2 }"), ("beside `options`",)),
    "unknown head": (("[tasks.depth]", '[tasks.depth]\nhead = "ligt"'), ('did you mean "light"?',)),
    "unknown backbone": (("zoo:tiny", "zoo:tinny"), ("zoo:tinny", 'did you mean "tiny"?')),
    "missing backbone": (("zoo:tiny", "net.onnx"), ("net.onnx", "no such file")),
    "another size": (("seed = 3", "input_size = [16, 16]"), ("input_size", "32 x 48")),
    "device": (("seed = 3", 'device = "gpu"'), ("device", '"cuda"')),
    "odd device": (("seed = 3", 'device = "cuda:²"'), ("device",)),
    "precision": (("seed = 3", 'precision = "int8"'), ("precision", "'bfloat16'")),
    "one image": (("length = 16", "length = 1"), ("at least 2 are needed",)),
    "baseline": (("[export]", '[train]\nbaselines = ["indep"]\n[export]'), ("train.baselines.0", "'independent'")),
    "unknown metric": (("[export]", '[train]\nbest_by = "depth.rmsd"\n[export]'), ('did you mean "depth.rmse"?',)),
    "bench": (("samples = 11", "samples = 1"), ("bench.samples", "11")),
    "parity": (("parity_inputs = 2", "parity_inputs = 0"), ("export.parity_inputs",)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_bad_pipeline_file_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    change, fragments = CONFIGS[name]
    path = pipeline(tmp_path, change)
    refused(invoke("run", path, "--out", "run", "--quiet"), *fragments)
    assert list(tmp_path.iterdir()) == [path]


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = pipeline(tmp_path, ("seed = 3", 'sed = 3\nprecision = "int8"'), ("samples = 11", "sample = 11"))
    refused(invoke("run", path, "--out", "run"), "sed: unknown", "precision:", "bench.sample: unknown")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"\0", b"seed", b"a" * 100_000 + b" = 1", b"a = " + b"[" * 100_000]
)
def test_a_file_that_is_no_pipeline_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_bytes(content)
    refused(invoke("search", "p.toml", "--out", "run"), "p.toml")


@pytest.mark.parametrize(("given", "reason"), [(".", "Is a directory"), ("nope.toml", "No such file")])
def test_a_pipeline_file_that_cannot_be_read(given: str, reason: str) -> None:
    refused(invoke("search", given, "--out", "run"), given, reason)


def test_stages_in_the_wrong_order_say_what_comes_first(tmp_path: Path) -> None:
    path = pipeline(tmp_path)
    for command in ("train", "export"):
        refused(invoke(command, path, "--out", "run"), "there is no plan yet", "run `trunkline search`")
    refused(invoke("report", "run"), "there is no run in this folder", "`trunkline run` makes one")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("command", ["search", "train", "export"])
def test_a_file_where_the_run_folder_should_be(command: str, finished: Finished) -> None:
    Path("taken").write_text("mine")
    said = invoke(command, finished.pipeline, "--out", "taken", "--quiet")
    assert said.code in (2, 3)
    refused(said, "taken", code=said.code)
    assert Path("taken").read_text() == "mine"


def test_cuda_where_there_is_none(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    path = pipeline(tmp_path, ("seed = 3", 'device = "cuda"'))
    refused(invoke("run", path, "--out", "run"), "device", "CUDA device 0", 'set device = "cpu"', code=3)
    assert list(tmp_path.iterdir()) == [path]


def test_a_provider_that_is_not_there_is_found_before_the_training(tmp_path: Path) -> None:
    path = pipeline(tmp_path, ("[bench]", '[bench]\nprovider = "tensorrt"'))
    refused(invoke("run", path, "--out", "run"), "TensorrtExecutionProvider", code=3)
    assert list(tmp_path.iterdir()) == [path]


def folder_data(root: Path) -> None:
    """A data folder of four pictures to train on and two to validate on, with two classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (32, 48, 3), np.uint8)).save(root / split / "images" / f"{index}.png")
            Image.fromarray(rng.integers(0, 2, (32, 48), np.uint8)).save(root / split / "labels" / f"{index}.png")


def folder_pipeline(folder: Path) -> Path:
    head, rest = PIPELINE.split("[tasks.segmentation]")
    rest = rest[rest.index("[search]") :].replace("steps = [2, 4, 4]", "steps = [4, 4, 4]")
    data = (
        '[data]\nkind = "folder"\npath = "data"\nclasses = ["wall", "floor"]\nsize = [32, 48]\nedges = "boundaries"\n\n'
    )
    path = folder / "pipeline.toml"
    path.write_text(head + data + rest)
    return path


def test_a_data_folder_without_faults_is_searched(tmp_path: Path) -> None:
    folder_data(tmp_path / "data")
    said = invoke("search", folder_pipeline(tmp_path), "--out", "run", "--quiet", "--json")
    assert said.code == 0, said.err
    assert said.json["tasks"] == ["segmentation", "edges"]


def overwrite(name: str, value: np.ndarray[Any, Any]) -> Callable[[Path], None]:
    return lambda root: Image.fromarray(value).save(root / name)


DATA: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing label": (
        lambda root: (root / "train/labels/2.png").unlink(),
        ("data/train/labels/2.png", "no label for image 2.png"),
    ),
    "value out of range": (
        overwrite("train/labels/1.png", np.full((32, 48), 7, np.uint8)),
        ("data/train/labels/1.png", "value 7 at row 0, column 0", "a class 0..1"),
    ),
    "value out of range in validation": (
        overwrite("val/labels/1.png", np.full((32, 48), 7, np.uint8)),
        ("data/val/labels/1.png", "value 7"),
    ),
    "another size": (
        overwrite("train/labels/0.png", np.zeros((16, 48), np.uint8)),
        ("data/train/labels/0.png", "16 x 48", "32 x 48"),
    ),
    "colour label": (overwrite("train/labels/0.png", np.zeros((32, 48, 3), np.uint8)), ("0.png", "channels")),
    "torn picture": (
        lambda root: (root / "train/images/0.png").write_bytes((root / "train/images/0.png").read_bytes()[:60]),
        ("data/train/images/0.png", "cannot be read"),
    ),
    "no validation": (lambda root: shutil.rmtree(root / "val"), ("no val split", "val/images/")),
    "no folder": (shutil.rmtree, ("data", "no train and no val")),
}


@pytest.mark.parametrize("name", DATA)
def test_a_faulty_data_folder_is_refused_by_the_name_of_the_file(name: str, tmp_path: Path) -> None:
    spoil, fragments = DATA[name]
    folder_data(tmp_path / "data")
    spoil(tmp_path / "data")
    refused(invoke("search", folder_pipeline(tmp_path), "--out", "run", "--quiet"), *fragments)
    assert not Path("run/plan.json").exists()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "optimisers.safetensors", "state.json", "manifest.json"])
def test_a_flipped_byte_in_every_checkpoint_is_found(name: str, finished: Finished) -> None:
    shutil.copytree(finished.out, "run")
    for path in Path("run/train/checkpoints").glob(f"*/{name}"):
        flip(path)
    before = contents(Path("run"))
    said = invoke_with_warnings("train", finished.pipeline, "--out", "run", "--quiet")
    refused(said, f"train/checkpoints/post-00000004/{name}", "no checkpoint is good", "remove the folder")
    assert contents(Path("run")) == before


def test_a_flipped_byte_in_the_newest_checkpoint_costs_its_steps_only(finished: Finished) -> None:
    shutil.copytree(finished.out, "run")
    newest = Path("run/train/checkpoints/post-00000004/model.safetensors")
    good = newest.read_bytes()
    flip(newest)
    with pytest.warns(RuntimeWarning, match="post-00000004"):
        assert invoke("train", finished.pipeline, "--out", "run", "--quiet").code == 0
    assert newest.read_bytes() == good


def test_a_warning_is_one_line_on_stderr(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished.out, "run")
    flip(Path("run/train/checkpoints/post-00000004/model.safetensors"))
    said = ended(spawn("train", finished.pipeline, "--out", "run", "--quiet", "--json", cwd=tmp_path))
    assert said.code == 0
    assert said.json["name"] == "model"
    assert said.err.startswith("warning: skipped a corrupt checkpoint: ")
    assert len(said.err.splitlines()) == 1


def invoke_with_warnings(*arguments: object) -> Said:
    with pytest.warns(RuntimeWarning, match="skipped a corrupt checkpoint"):
        return invoke(*arguments)


@pytest.mark.parametrize("name", ["plan.json", "search/config.json", "search/sessions.json"])
@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_a_torn_file_of_a_run_is_named(name: str, content: str, finished: Finished) -> None:
    shutil.copytree(finished.out, "run")
    Path("run", name).write_text(content)
    command = "train" if name == "plan.json" else "search"
    refused(invoke(command, finished.pipeline, "--out", "run", "--quiet"), f"run/{name}")


@pytest.mark.parametrize("name", ["search.json", "train.json", "export.json", "bench.json", "plan.json", "policy.json"])
def test_a_report_of_torn_results_names_the_file(name: str, finished: Finished) -> None:
    shutil.copytree(finished.out, "run")
    Path("run", name).write_text(Path("run", name).read_text()[:-10])
    refused(invoke("report", "run"), f"run/{name}")


def test_a_loss_that_is_not_finite_stops_with_a_good_checkpoint(finished: Finished) -> None:
    shutil.copytree(finished.out / "search", "run/search")
    shutil.copy(finished.out / "plan.json", "run/plan.json")
    text = finished.pipeline.read_text() + '\npreset = "demo"\n'
    text += "numbers = { steps = [1, 1, 40], weight_lr = 1e18, batch_size = 2, checkpoint_every = 1 }\n"
    Path("hot.toml").write_text(text)
    said = invoke("train", "hot.toml", "--out", "run", "--quiet")
    refused(said, 'phase "post"', "step ", "is not finite", "the last checkpoint is good", code=3)
    assert 'task "segmentation"' in said.err or 'task "depth"' in said.err or "gradient" in said.err
    kept = list(Path("run/train/checkpoints").iterdir())
    assert kept
    again = invoke("train", "hot.toml", "--out", "run", "--quiet")
    assert (again.code, again.err) == (said.code, said.err)  # it goes on from there, to the same end


@pytest.mark.parametrize(("number", "phase"), [("weight_lr", "pre"), ("policy_lr", "policy")])
def test_a_search_that_diverges_says_where_and_decides_nothing(number: str, phase: str, tmp_path: Path) -> None:
    path = pipeline(tmp_path, ("batch_size = 2", f"batch_size = 2, {number} = 1e30"))
    said = invoke("search", path, "--out", "run", "--quiet")
    refused(said, f'phase "{phase}", turn "weights", step ', 'the loss of task "segmentation"', code=3)
    assert "lower the learning rate" in said.err
    assert not Path("run/plan.json").exists()


@contextlib.contextmanager
def little_room(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes: what a full disk looks like, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_a_model_keeps_the_older_one() -> None:
    Path("out.onnx").write_text("an older model")
    with little_room(100_000):
        said = invoke("convert", "zoo:tiny", "out.onnx", *SIZE, "--parity-inputs", 1)
    refused(said, "out.onnx", "bytes", "free at least", code=3)
    assert os.listdir() == ["out.onnx"]
    assert Path("out.onnx").read_text() == "an older model"


def test_no_room_for_a_checkpoint_keeps_what_was_saved(finished: Finished) -> None:
    shutil.copytree(finished.out / "search", "run/search")
    shutil.copy(finished.out / "plan.json", "run/plan.json")
    before = contents(Path("run"))
    with little_room(100_000):
        said = invoke("train", finished.pipeline, "--out", "run", "--quiet")
    refused(said, "train/checkpoints/post-00000002", "free at least", code=3)
    assert before.items() <= contents(Path("run")).items()
    assert not list(Path("run/train").rglob("*.tmp"))
    assert invoke("train", finished.pipeline, "--out", "run", "--quiet").code == 0


@pytest.mark.parametrize("command", ["run", "report"])
def test_no_room_for_a_picture(command: str, finished: Finished) -> None:
    shutil.copytree(finished.out, "run")
    arguments = (finished.pipeline, "--out", "run", "--quiet") if command == "run" else ("run",)
    with little_room(2_000):
        said = invoke(command, *arguments)
    refused(said, "cannot write", code=3)
    assert "free at least" in said.err
    assert contents(finished.out).items() <= contents(Path("run")).items()


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_takes_no_files(error: int, finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refusing(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            raise OSError(error, os.strerror(error), str(path))
        return real(path, flags, *rest, **options)

    shutil.copytree(finished.out, "run")
    before = contents(Path("run"))
    monkeypatch.setattr(os, "open", refusing)
    for arguments in (("report", "run"), ("train", finished.pipeline, "--out", "run", "--quiet")):
        refused(invoke(*arguments), "run", os.strerror(error), code=3)
    assert contents(Path("run")) == before


def test_what_the_machine_refuses_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, words in (
        (OSError(errno.EIO, "Input/output error", "a/file"), "a/file: Input/output"),
        (MemoryError(), "memory"),
    ):

        def failing(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("trunkline.cli.inspect_command.inspect", failing)
        refused(invoke("inspect", "zoo:tiny"), "WorkFailed: ", words, code=3)


def test_two_processes_do_not_share_a_run(finished: Finished, tmp_path: Path) -> None:
    from filelock import FileLock

    shutil.copytree(finished.out, "run")
    with FileLock("run/train/.lock"):
        said = ended(spawn("train", finished.pipeline, "--out", "run", "--quiet", cwd=tmp_path))
    refused(said, "another process is using this run folder")


def test_a_negative_seed_for_the_demo() -> None:
    refused(invoke("demo", "--seed=-1"), "--seed", "from 0 on")
    assert os.listdir() == []
