"""Abuse: pipeline files and data folders that are wrong are refused by the name of the key or file."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import PIPELINE, contents, invoke, pipeline, refused
from PIL import Image

pytestmark = pytest.mark.abuse

CONFIGS: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {
    "unknown key": (("seed = 3", "sed = 3"), ("pipeline.toml: sed: unknown key", 'did you mean "seed"?')),
    "unknown table": (("[data]", "[dat]"), ('did you mean "data"?',)),
    "unknown key of data": (("val_length = 2", "val_lenght = 2"), ("data.val_lenght", 'did you mean "val_length"?')),
    "unknown key of search": (("alternate = ", "alternatte = "), ("search.alternatte", 'did you mean "alternate"?')),
    "unknown key at the top": (('preset = "demo"', 'presett = "demo"'), ("presett", 'did you mean "preset"?')),
    "unknown key of a task": (("[tasks.depth]", "[tasks.depth]\nwieght = 1"), ("tasks.depth.wieght", "weight")),
    "text for a number": (("seed = 3", 'seed = "3"'), ("pipeline.toml: seed: '3'", "integer")),
    "truth for a number": (("seed = 3", "seed = true"), ("seed: True", "integer")),
    "number for a truth": (("seed = 3", "augment = 1"), ("augment: 1", "boolean")),
    "fraction for a number": (("seed = 3", "seed = 3.5"), ("seed: 3.5",)),
    "negative": (("seed = 3", "seed = -1"), ("seed: -1", "greater than or equal to 0")),
    "date": (("seed = 3", "seed = 1979-05-27"), ("seed: ",)),
    "table for text": (("[tasks.depth]", "[tasks.depth]\nhead = { a = 1 }"), ("tasks.depth.head",)),
    "text for a table": (("[export]\nparity_inputs = 2", 'export = "a"'), ("train.export",)),
    "kind of data": (('kind = "scenes"', 'kind = "scene"'), ("data.kind", 'did you mean "scenes"?')),
    "no kind of data": (('kind = "scenes"\n', ""), ("data.kind", "folder, nyuv2, scenes")),
    "image too small": (("size = [32, 48]", "size = [4, 48]"), ("data.size.0", "greater than or equal to 8")),
    "half a size": (("size = [32, 48]", "size = [32]"), ("data.size.1",)),
    "broken": (("seed = 3", "seed = = 3"), ("this is not TOML", "line 3, column 8")),
    "twice": (("seed = 3", "seed = 3\nseed = 4"), ("this is not TOML", "line 4")),
    "unknown task": (("[tasks.depth]", "[tasks.dept]"), ("tasks.dept", 'did you mean "depth"?')),
    "odd task": (("[tasks.depth]", '[tasks."a b"]'), ("tasks.a b", "segmentation, depth")),
    "unknown preset": (('preset = "demo"', 'preset = "dmo"'), ("pipeline.toml: preset", 'did you mean "demo"?')),
    "preset of train": (("[train]", '[train]\npreset = "dmo"'), ("train.preset", "above all tables")),
    "unknown number": (("steps = 4\n", "stepz = 4\n"), ("train.stepz", 'did you mean "steps"?')),
    "unknown number of the search": (("steps = [", "stepz = ["), ("search.stepz", 'did you mean "steps"?')),
    "key of an optimiser": (
        ("batch_size = 2", "optimiser = { learning = 1 }"),
        ("train.optimiser.learning", "known keys: kind, lr, betas"),
    ),
    "no steps": (("steps = [2, 4]", "steps = [2, 0]"), ("search.steps.1", "greater than or equal to 1")),
    "no steps of train": (("steps = 4\n", "steps = 0\n"), ("train.steps", "greater than or equal to 1")),
    "one of two": (("steps = [2, 4]", "steps = [2]"), ("search.steps",)),
    "three of two": (("steps = [2, 4]", "steps = [2, 4, 4]"), ("search.steps",)),
    "no batch": (("batch_size = 2", "batch_size = 0"), ("train.batch_size",)),
    "negative rate": (("batch_size = 2", "optimiser = { lr = -1.0 }"), ("train.optimiser.lr", "greater than 0")),
    "rate not a number": (("batch_size = 2", "optimiser = { lr = nan }"), ("train.optimiser.lr", "finite")),
    "schedule without a size": (("batch_size = 2", 'schedule = { kind = "step" }'), ("train.schedule", "`size`")),
    "no turns": (("alternate = [1, 1]", "alternate = [0, 1]"), ("search.alternate.0",)),
    "weight of no kind": (("batch_size = 2", "loss_weights = { dept = 1 }"), ("train.loss_weights.dept", '"depth"?')),
    "weight of no kind in the search": (
        ("alternate = [1, 1]", "loss_weights = { dept = 1 }"),
        ("search.loss_weights.dept", 'did you mean "depth"?'),
    ),
    "unknown method": (("[search]", '[search]\nmethod = "auto"'), ("search.method", "automtl")),
    "key of another method": (("[search]", '[search]\nmethod = "multi-task"'), ("search.steps", "unknown key")),
    "what a method needs": (
        ("[search]\nsteps = [2, 4]\nalternate = [1, 1]", '[search]\nmethod = "share-until"'),
        ("search.block",),
    ),
    "unknown option": (("[search]", '[search]\nmixng = "weight"'), ("search.mixng", 'did you mean "mixing"?')),
    "option's value": (("[search]", '[search]\nmixing = "sum"'), ("search.mixing", "'output'")),
    "option of an option": (
        ("[export]", "[search.temperature]\nstrt = 1\n[export]"),
        ("search.temperature.strt", 'did you mean "start"?'),
    ),
    "seed of draws": (
        ("[export]", '[search.sampling]\nkind = "draw"\nseed = -1\n[export]'),
        ("search.sampling.seed",),
    ),
    "unknown option of a task": (
        ("[tasks.depth]", '[tasks.depth]\noptions = { loss_siz = "label" }'),
        ("depth", 'did you mean "loss_size"?'),
    ),
    "name as an option": (("[tasks.depth]", '[tasks.depth]\noptions = { name = "d" }'), ("tasks.depth.options.name",)),
    "weight as an option": (("[tasks.depth]", "[tasks.depth]\noptions = { weight = 2 }"), ("beside `options`",)),
    "unknown head": (("[tasks.depth]", '[tasks.depth]\nhead = "ligt"'), ('did you mean "light"?',)),
    "head of no map": (("[tasks.depth]", '[tasks.depth]\nhead = "linear"'), ("tasks.depth.head", "[N, 1, h, w]")),
    "unknown backbone": (("zoo:tiny", "zoo:tinny"), ("zoo:tinny", 'did you mean "tiny"?')),
    "missing backbone": (("zoo:tiny", "net.onnx"), ("net.onnx", "no such file")),
    "another size": (("seed = 3", "input_size = [16, 16]"), ("input_size", "32 x 48")),
    "device": (("seed = 3", 'device = "gpu"'), ("device", '"cuda"')),
    "odd device": (("seed = 3", 'device = "cuda:²"'), ("device",)),
    "precision": (("seed = 3", 'precision = "int8"'), ("precision", "'bfloat16'")),
    "one image": (("length = 16", "length = 1"), ("at least 2 are needed",)),
    "baseline": (("[train]", '[train]\nbaselines = ["single"]'), ("train.baselines.0", '"single-task"')),
    "baseline of no file": (
        ("[train]", '[train]\nbaselines = ["plan:p.json"]'),
        ("train.baselines: ", "/p.json: ", "no such file"),
    ),
    "baseline of no block": (
        ("[train]", '[train]\nbaselines = ["share-until:stage9"]'),
        ("train.baselines", "stage9"),
    ),
    "argument of none": (("[train]", '[train]\nbaselines = ["multi-task:2"]'), ("train.baselines.0", "behind a colon")),
    "no argument": (("[train]", '[train]\nbaselines = ["share-until"]'), ("train.baselines.0", "share-until:BLOCK")),
    "unknown metric": (("[train]", '[train]\nbest_by = "depth.rmsd"'), ('did you mean "depth.rmse"?',)),
    "bench": (("samples = 11", "samples = 1"), ("bench.samples", "11")),
    "parity": (("parity_inputs = 2", "parity_inputs = 0"), ("export.parity_inputs",)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_bad_pipeline_files_are_refused(name: str, tmp_path: Path) -> None:
    """Before anything is written."""
    change, fragments = CONFIGS[name]
    path = pipeline(tmp_path, change)
    refused(invoke("run", path, "--out", "run", "--quiet"), *fragments)
    assert list(tmp_path.iterdir()) == [path]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Of one file, in all of its tables."""
    path = pipeline(tmp_path, ("seed = 3", 'sed = 3\nprecision = "int8"'), ("samples = 11", "sample = 11"))
    refused(invoke("run", path, "--out", "run"), "sed: unknown", "precision:", "bench.sample: unknown")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"\0", b"seed", b"a" * 100_000 + b" = 1", b"a = " + b"[" * 100_000]
)
def test_files_of_other_kinds_are_refused(content: bytes, tmp_path: Path) -> None:
    """What is no TOML is no pipeline."""
    (tmp_path / "p.toml").write_bytes(content)
    refused(invoke("search", "p.toml", "--out", "run"), "p.toml")


@pytest.mark.parametrize(("given", "reason"), [(".", "is a folder, not a file"), ("nope.toml", "no such file")])
def test_a_pipeline_file_that_cannot_be_read(given: str, reason: str) -> None:
    refused(invoke("search", given, "--out", "run"), given, reason)


def test_cuda_where_there_is_none(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    path = pipeline(tmp_path, ("seed = 3", 'device = "cuda"'))
    refused(invoke("run", path, "--out", "run"), "device", "CUDA device 0", 'set device = "cpu"', code=3)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_provider_is_found_early(tmp_path: Path) -> None:
    """Before the training, not when the bench begins."""
    path = pipeline(tmp_path, ("[bench]", '[bench]\nprovider = "tensorrt"'))
    refused(invoke("run", path, "--out", "run"), "TensorrtExecutionProvider", code=3)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "fragments", "code"),
    [
        ('runtime = "openvin"', ("bench.runtime", 'did you mean "openvino"?'), 2),
        ('runtime = "cuda-graph"', ("bench.provider", "runs on cuda, not on cpu"), 2),
        ('runtime = "openvino"\nprovider = "tensorrt"', ("bench.provider", "runs on cpu"), 2),
        ('runtime = "tensorrt"\nprovider = "cuda"', ("TensorRT is not installed",), 3),
    ],
)
def test_a_runtime_that_is_not_there(tmp_path: Path, text: str, fragments: tuple[str, ...], code: int) -> None:
    """A name that is none, hardware that is not its own, a package that is missing: before the training."""
    if code == 3 and importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed here")
    path = pipeline(tmp_path, ("[bench]", f"[bench]\n{text}"))
    refused(invoke("run", path, "--out", "run"), *fragments, code=code)
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
    rest = rest[rest.index("[search]") :].replace("steps = [2, 4]", "steps = [4, 4]")
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


def redrawn(root: Path, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    """Write every label of a data folder anew."""
    for path in root.glob("*/labels/*.png"):
        Image.fromarray(change(np.asarray(Image.open(path)))).save(path)


@pytest.mark.parametrize("mask", ["0 and 255", "bitmap"])
def test_binary_masks_are_read_or_said(mask: str, tmp_path: Path) -> None:
    """A mask of 0 and 255 trained nothing without a word, and a bitmap was a traceback."""
    folder_data(tmp_path / "data")
    path = folder_pipeline(tmp_path)
    if mask == "bitmap":
        redrawn(tmp_path / "data", lambda label: label.astype(bool))
    else:
        redrawn(tmp_path / "data", lambda label: label * np.uint8(255))
        advice = 'values = { 0 = "wall", 255 = "floor" } under [data]'
        refused(invoke("run", path, "--out", "run", "--quiet"), 'hold one class only, "wall"', advice)
        assert not Path("run").exists()
        text = path.read_text()
        path.write_text(text.replace("size = [32, 48]", 'size = [32, 48]\nvalues = { 0 = "wall", 255 = "floor" }'))
    said = invoke("search", path, "--out", "run", "--quiet")
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize("command", ["search", "run"])
def test_a_class_without_a_pixel_is_told(command: str, tmp_path: Path) -> None:
    folder_data(tmp_path / "data")
    path = folder_pipeline(tmp_path)
    path.write_text(path.read_text().replace('["wall", "floor"]', '["wall", "floor", "sky"]'))
    said = invoke(command, path, "--out", "run", "--quiet")
    assert said.code == 0
    assert "note: no pixel in any label file: sky\n" in said.err


def test_runs_know_data_by_content(tmp_path: Path) -> None:
    """A moved folder goes on; another label under the same name does not, and leaves the run as it was."""
    folder_data(tmp_path / "data")
    path = folder_pipeline(tmp_path)
    assert invoke("search", path, "--out", "run", "--quiet").code == 0
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    path.write_text(path.read_text().replace('path = "data"', 'path = "elsewhere"'))
    said = invoke("search", path, "--out", "run", "--quiet")
    assert said.code == 0, said.err
    before = contents(Path("run"))
    redrawn(tmp_path / "elsewhere", lambda label: 1 - label)
    for command in ("search", "train", "export"):
        refused(
            invoke(command, path, "--out", "run", "--quiet"),
            "elsewhere/train/labels/0.png: its content has changed since the run began",
            "use another run folder",
        )
    assert contents(Path("run")) == before


@pytest.mark.parametrize("name", DATA)
def test_faulty_data_folders_are_refused(name: str, tmp_path: Path) -> None:
    """By the name of the file that is at fault."""
    spoil, fragments = DATA[name]
    folder_data(tmp_path / "data")
    spoil(tmp_path / "data")
    refused(invoke("search", folder_pipeline(tmp_path), "--out", "run", "--quiet"), *fragments)
    assert not Path("run/plan.json").exists()
