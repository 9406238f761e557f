"""End to end: models built and converted without training, checked by strangers: onnxruntime and ONNX's own shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from commands import FEATURES, Finished, Said, invoke, own_head
from onnx import numpy_helper

from trunkline.export.count import count_file

pytestmark = pytest.mark.golden

SIZE = (32, 48)
RESNET50 = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_resnet50.onnx"


def build(out: str, *arguments: object, tasks: str = "a:4,b:2", backbone: object = "zoo:tiny") -> Said:
    return invoke("build", backbone, out, "--tasks", tasks, "--input-size", "32,48", *arguments, "--json")


def outputs(path: str | Path, batch: int, size: tuple[int, int] = SIZE) -> dict[str, np.ndarray[Any, Any]]:
    """Run a file on one seeded batch."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)[:batch]
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: image}), strict=True))


def check_batches(path: str | Path, size: tuple[int, int] = SIZE) -> dict[str, np.ndarray[Any, Any]]:
    """Batch 2 computes for its first image what batch 1 does."""
    one, two = outputs(path, 1, size), outputs(path, 2, size)
    for name, value in one.items():
        assert (len(value), len(two[name])) == (1, 2)
        np.testing.assert_allclose(two[name][:1], value, rtol=1e-4, atol=1e-4)
    return one


LAYOUT = [[["a", "b"]]] * 3 + [[["a"], ["b"]]] * 4
SHARINGS: dict[str, list[str]] = {
    "all": ["--all-shared"],
    "none": ["--independent"],
    "by number": ["--share-until", "2"],
    "by name": ["--share-until", "stage2_block1_conv1"],
    "layout": ["--layout", "layout.json"],
}


@pytest.mark.parametrize(("sharing", "fold"), [*((name, False) for name in SHARINGS), ("by number", True)])
def test_a_built_file_executes_what_build_says(sharing: str, fold: bool) -> None:
    Path("layout.json").write_text(json.dumps(LAYOUT))
    if sharing == "by name":
        blocks = invoke("inspect", "zoo:tiny", "--json").json["blocks"]
        SHARINGS[sharing][1] = blocks[2]["name"]
    said = build("m.onnx", *SHARINGS[sharing], *(["--fold"] if fold else []))
    assert said.code == 0, said.err
    content, count = said.json, count_file("m.onnx")
    assert content["macs"]["executed"] == count.macs
    assert content["nodes"] == count.nodes
    assert fold or content["parameters"] == count.parameters
    assert list(check_batches("m.onnx")) == content["tasks"] == ["a", "b"]
    whole, part = content["macs"]["independent"], content["macs"]["executed"]
    assert (part == whole) == (sharing == "none")


def test_a_layout_is_share_until_written_out() -> None:
    Path("layout.json").write_text(json.dumps(LAYOUT))
    counts = [build("m.onnx", *SHARINGS[name]).json["macs"]["executed"] for name in ("layout", "by number")]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("head", "shapes"),
    [
        ("light", {"a": (1, 4, 8, 12), "b": (1, 2, 8, 12)}),
        ("aspp", {"a": (1, 4, 8, 12), "b": (1, 2, 8, 12)}),
        ("linear", {"a": (1, 4), "b": (1, 2)}),
        ("none", {"a": (1, *FEATURES), "b": (1, *FEATURES)}),
        ("own.onnx", {"a": (1, 5, 8, 12), "b": (1, 5, 8, 12)}),
    ],
)
def test_every_kind_of_head(head: str, shapes: dict[str, tuple[int, ...]]) -> None:
    own_head("own.onnx", 5)
    tasks = "a:5,b:5" if head == "own.onnx" else "a:4,b:2"
    said = build("m.onnx", "--share-until", "3", "--head", head, tasks=tasks)
    assert said.code == 0, said.err
    assert said.json["macs"]["executed"] == count_file("m.onnx").macs
    assert {name: value.shape for name, value in check_batches("m.onnx").items()} == shapes


@pytest.mark.parametrize("sharing", ["all", "none", "by number"])
def test_permuted_tasks_only_change_their_order(sharing: str) -> None:
    first = build("ab.onnx", *SHARINGS[sharing], tasks="a:4,b:2,c:3").json
    second = build("ca.onnx", *SHARINGS[sharing], tasks="c:3,a:4,b:2").json
    assert (first["macs"], first["parameters"], first["nodes"]) == (
        second["macs"],
        second["parameters"],
        second["nodes"],
    )
    ours, theirs = outputs("ab.onnx", 1), outputs("ca.onnx", 1)
    assert (list(ours), list(theirs)) == (["a", "b", "c"], ["c", "a", "b"])
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in theirs.items()}


def test_found_plans_build_what_was_promised(finished: Finished) -> None:
    """The same work and the same parameters, whatever the order of the tasks."""
    promised = finished.said.json["search"]
    plan = finished.out / "plan.json"
    said = build("m.onnx", "--plan", plan, tasks="segmentation:13,depth:1")
    assert said.code == 0, said.err
    assert said.json["macs"]["executed"] == promised["macs"]["executed"] == count_file("m.onnx").macs
    assert said.json["parameters"] == promised["parameters"]
    assert count_file(finished.out / "model.onnx").macs == promised["macs"]["executed"]
    turned = build("t.onnx", "--plan", plan, tasks="depth:1,segmentation:13")
    assert turned.json["macs"] == said.json["macs"]
    assert list(check_batches("t.onnx")) == ["depth", "segmentation"]


def test_files_of_a_run_take_any_batch(finished: Finished) -> None:
    """Also those that are only measured."""
    files = sorted(finished.out.rglob("*.onnx"))
    assert [file.name for file in files] == [
        *("multi-task.onnx", "single-depth.onnx", "single-segmentation.onnx"),
        "model.onnx",
    ]
    for file in files:
        check_batches(file)


def test_a_built_file_is_a_model_again() -> None:
    assert build("ab.onnx", "--share-until", "2").code == 0
    read = invoke("inspect", "ab.onnx", "--json")
    assert [row["name"] for row in read.json["outputs"]] == ["a", "b"]
    again = invoke("convert", "ab.onnx", "again.onnx", "--parity-inputs", 2, "--json")
    assert again.code == 0, again.err
    assert again.json["macs"] == count_file("ab.onnx").macs
    for name, value in outputs("ab.onnx", 2).items():
        np.testing.assert_allclose(outputs("again.onnx", 2)[name], value, rtol=1e-4, atol=1e-5)


def test_weights_by_name_are_put_in() -> None:
    from safetensors.numpy import save_file

    assert invoke("convert", "zoo:tiny", "a.onnx", "--input-size", "32,48", "--parity-inputs", 1).code == 0
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load("a.onnx").graph.initializer}
    changed = {name: value + np.float32(0.01) for name, value in stored.items() if value.dtype == np.float32}
    save_file(changed, "w.safetensors")
    arguments = ("--input-size", "32,48", "--parity-inputs", 1, "--weights", "w.safetensors")
    said = invoke("convert", "zoo:tiny", "b.onnx", *arguments)
    assert said.code == 0, said.err
    for tensor in onnx.load("b.onnx").graph.initializer:
        if tensor.name in changed:
            np.testing.assert_array_equal(numpy_helper.to_array(tensor), changed[tensor.name])


def test_equal_commands_write_equal_bytes() -> None:
    made = []
    for name in ("one.onnx", "two.onnx"):
        build(name, "--share-until", "2")
        made.append(Path(name).read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize("size", ["33,47", "1,1", "32x48"])
def test_any_input_size_that_leaves_features(size: str) -> None:
    height, width = (int(part) for part in size.replace("x", ",").split(","))
    said = invoke("convert", "zoo:tiny", "m.onnx", "--input-size", size, "--parity-inputs", 1, "--json")
    assert said.code == 0, said.err
    assert said.json["macs"] == count_file("m.onnx").macs
    check_batches("m.onnx", (height, width))


def test_bench_takes_files_in_sequence() -> None:
    """As one candidate."""
    for task in "ab":
        build(f"{task}.onnx", "--all-shared", tasks=task)
    build("ab.onnx", "--all-shared", tasks="a,b")
    arguments = ("--samples", 11, "--limit", 0.05, "--batch", 2)
    said = invoke("bench", "a.onnx+b.onnx", "ab.onnx", "ab.onnx", *arguments, "--json")
    assert said.code == 0, said.err
    assert [model["name"] for model in said.json["models"]] == ["a+b", "ab#1", "ab#2"]
    assert said.json["models"][0]["macs"] == sum(count_file(f"{task}.onnx").macs for task in "ab")
    shown = invoke("bench", "a.onnx", *arguments)
    assert "Latency (cpu, 1 thread(s))" in shown.out


def test_a_classifier_from_elsewhere_is_read() -> None:
    """ResNet-50 as the onnx package brings it: opset 8, weights from ConstantOfShape, batch fixed to 1."""
    said = invoke("inspect", RESNET50, "--json")
    assert said.code == 0, said.err
    assert said.json["parameters"] == pytest.approx(25.5e6, rel=0.01)
    assert said.json["macs"] == pytest.approx(3.86e9, rel=0.07)
    assert said.json["inputs"][0]["shape"] == [None, 3, 224, 224]
    assert said.json["outputs"][0]["shape"] == [None, 1000]
    assert len(said.json["blocks"]) >= 16


@pytest.mark.slow
def test_a_classifier_from_elsewhere_becomes_a_backbone() -> None:
    block = invoke("inspect", RESNET50, "--json").json["blocks"][8]["name"]
    built = invoke("build", RESNET50, "two.onnx", "--tasks", "a:4,b:2", "--share-until", block, "--json")
    assert built.code == 0, built.err
    assert "features taken from" in built.err
    assert built.json["macs"]["executed"] == count_file("two.onnx").macs
    check_batches("two.onnx", (224, 224))
    measured = invoke("bench", "two.onnx", "--samples", 11, "--limit", 0.05, "--json")
    assert measured.json["models"][0]["macs"] == built.json["macs"]["executed"]


@pytest.mark.slow
def test_a_foreign_classifier_is_converted() -> None:
    """With parity."""
    said = invoke("convert", RESNET50, "resnet.onnx", "--parity-inputs", 2, "--json")
    assert said.code == 0, said.err
    assert said.json["parity"]["passed"]
    assert said.json["macs"] == count_file("resnet.onnx").macs
    check_batches("resnet.onnx", (224, 224))


def test_built_files_start_from_weights(tmp_path: Path) -> None:
    """And what the weights lack is told."""
    from safetensors.numpy import save_file

    assert invoke("convert", "zoo:tiny", "a.onnx", "--input-size", "32,48", "--parity-inputs", 1).code == 0
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load("a.onnx").graph.initializer}
    names = [name for name, value in stored.items() if value.dtype == np.float32]
    save_file({name: stored[name] + np.float32(0.01) for name in names[1:]}, "w.safetensors")
    refused = build("m.onnx", "--all-shared", "--weights", "w.safetensors")
    assert (refused.code, refused.out) == (2, "")
    assert f"1 of {len(names)} weights are missing" in refused.err
    said = build("m.onnx", "--independent", "--weights", "w.safetensors", "--allow-missing")
    assert said.code == 0, said.err
    assert any("lacks 1 weights" in note for note in said.json["notes"])
    found = {t.name: numpy_helper.to_array(t) for t in onnx.load("m.onnx").graph.initializer}
    for name in names[1:]:
        np.testing.assert_array_equal(found[name], stored[name] + np.float32(0.01))
        np.testing.assert_array_equal(found[f"{name}@1"], found[name])


def test_heads_need_the_tasks_channels() -> None:
    """By the name of the task."""
    own_head("own.onnx", 5)
    said = build("m.onnx", "--all-shared", "--head", "own.onnx", tasks="a:5,b:4")
    assert (said.code, said.out) == (2, "")
    assert "own.onnx: its output is [N, 5, 8, 12]; the task has 4 channels" in said.err
    assert not Path("m.onnx").exists()
