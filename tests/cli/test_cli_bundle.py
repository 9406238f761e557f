"""`trunkline bundle`, and its two programs as somebody runs them who has onnxruntime, numpy and Pillow alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Finished, contents, invoke, refused
from documented_json import check_keys, only_json
from PIL import Image

from trunkline.bench.instructions import read_instructions
from trunkline.bench.statistics import percentile_with_interval
from trunkline.train.data.base import NORMALISATION
from trunkline.train.data.sets.scenes.dataset import Scenes
from trunkline.train.tasks.registry import make_task, task_kinds

pytestmark = pytest.mark.golden
ALONE = """
import builtins, runpy, sys
real = builtins.__import__
def known(name, *rest, **named):
    if name.split(".")[0] in ("trunkline", "torch", "onnx", "scipy", "pydantic"):
        raise ImportError(name)
    return real(name, *rest, **named)
builtins.__import__ = known
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program in which nothing of ours can be imported, and no torch."""


@pytest.fixture(scope="module")
def made(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundled") / "bundle"
    said = invoke("bundle", finished.pipeline, "--out", finished.out, "--to", folder)
    assert said.code == 0, said.err
    return folder


def run_alone(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", ALONE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def manifest_of(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def test_a_bundle_says_all_about_its_model(finished: Finished, made: Path, tmp_path: Path) -> None:
    """And is the same, byte for byte, when it is written again."""
    model = (finished.out / "model.onnx").read_bytes()
    assert (made / "model.onnx").read_bytes() == model
    manifest = manifest_of(made)
    assert manifest["model"]["sha256"] == hashlib.sha256(model).hexdigest()
    assert (manifest["input"]["height"], manifest["input"]["width"]) == (32, 48)
    assert manifest["input"]["mean"] == list(NORMALISATION.mean)
    assert [task["name"] for task in manifest["tasks"]] == ["segmentation", "depth"]
    assert len(manifest["tasks"][0]["classes"]) == manifest["tasks"][0]["channels"] == 13
    assert manifest["metrics"] == json.loads((finished.out / "train.json").read_text())["metrics"]
    again = only_json(invoke("bundle", finished.pipeline, "--out", finished.out, "--to", tmp_path / "bundle", "--json"))
    check_keys("bundle", again)
    assert contents(tmp_path / "bundle") == contents(made)
    # One that is there is replaced as a whole.
    (tmp_path / "bundle/left.txt").write_text("old")
    assert invoke("bundle", finished.pipeline, "--out", finished.out, "--to", tmp_path / "bundle").code == 0
    assert contents(tmp_path / "bundle") == contents(made)


def test_predict_draws_what_the_tasks_draw(made: Path, tmp_path: Path) -> None:
    """On a picture of another size; colours are those of this library's own pictures."""
    import onnxruntime

    Image.fromarray(NORMALISATION.undo(Scenes(length=1, size=(96, 96)).sample(0).image)).save(tmp_path / "photo.png")
    said = run_alone(made / "predict.py", tmp_path / "photo.png", tmp_path / "out.png")
    assert said.returncode == 0, said.stderr
    assert "segmentation, depth" in said.stdout
    drawn = np.asarray(Image.open(tmp_path / "out.png"))
    assert drawn.shape == (32, 3 * 48, 3)
    photo = Image.open(tmp_path / "photo.png").convert("RGB").resize((48, 32), Image.Resampling.BILINEAR)
    image = NORMALISATION.apply(np.asarray(photo))[None]
    outputs = onnxruntime.InferenceSession(str(made / "model.onnx")).run(
        None, {manifest_of(made)["input"]["name"]: image}
    )
    for number, (kind, output) in enumerate(zip(("segmentation", "depth"), outputs, strict=True), start=1):
        ours = make_task(kind, kind, output.shape[1]).picture(output[0])
        # Drawn at the output's size, then made larger smoothly.
        shown = np.asarray(Image.fromarray(ours).resize((48, 32), Image.Resampling.BILINEAR))
        difference = np.abs(shown.astype(int) - drawn[:, 48 * number : 48 * (number + 1)])
        assert np.percentile(difference, 99) <= 2, kind


@pytest.mark.parametrize("kind", sorted(task_kinds()))
def test_every_kind_says_how_it_is_drawn(kind: str) -> None:
    task = task_kinds()[kind]
    drawing = make_task("t", kind, task.usual_channels).drawing
    assert json.loads(json.dumps(dict(drawing))) == dict(drawing)
    assert drawing["draw"] in ("classes", "ramp", "directions", "label")


def test_bench_measures_by_our_protocol(made: Path, tmp_path: Path) -> None:
    said = run_alone(made / "bench.py", "--seconds", 0.2, "--out", tmp_path / "b.json")
    assert said.returncode == 0, said.stderr
    found = json.loads((tmp_path / "b.json").read_text())
    row = found["models"][0]
    assert row["model_sha256"] == manifest_of(made)["model"]["sha256"]
    assert row["samples"] == len(row["samples_ms"]) >= 11
    ours = percentile_with_interval(row["samples_ms"], 0.5)
    assert ours is not None
    assert row["p50_ms"] == pytest.approx(ours.value) and row["p50_ci_ms"] == pytest.approx([ours.low, ours.high])
    assert (row["p99_ms"] is None) == (row["samples"] < 662)
    told, here = found["environment"]["instructions"], read_instructions()
    assert (told["family"], told["int8_dot"]) == (here.family, here.int8_dot)
    assert set(told["has"]) <= set(here.has)


def test_wrong_bundles_are_refused(finished: Finished, tmp_path: Path) -> None:
    command = ("bundle", finished.pipeline, "--out", finished.out, "--to")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years")
    refused(invoke(*command, tmp_path / "mine"), "holds no bundle")
    assert (tmp_path / "mine/thesis.txt").read_text() == "years"
    refused(invoke(*command, tmp_path / "no/where"), "does not exist")
    refused(invoke(*command, tmp_path / "b", "--precision", "int8"), "there is no such model yet", "--precision int8")
    assert not (tmp_path / "b").exists()


def test_a_bundle_of_another_precision(finished: Finished, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished.out, tmp_path / "run"))
    assert invoke("export", finished.pipeline, "--out", run, "--precision", "float16", "--quiet").code == 0
    command = ("bundle", finished.pipeline, "--out", run, "--to", tmp_path / "b", "--precision", "float16")
    assert invoke(*command).code == 0
    manifest = manifest_of(tmp_path / "b")
    assert manifest["model"]["precision"] == "float16"
    kept = json.loads((run / "precisions.json").read_text())["files"][0]["metrics"]
    assert manifest["metrics"] == kept
    assert (tmp_path / "b/model.onnx").read_bytes() == (run / "model.float16.onnx").read_bytes()
