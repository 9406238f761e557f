"""`trunkline bundle`, and its two programs as somebody runs them who has onnxruntime, numpy and Pillow alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commands import Finished, contents, invoke, pipeline, refused
from documented_json import check_keys, only_json
from fake_tensorrt import FakeTensorRT
from PIL import Image

from trunkline.bench.instructions import read_instructions
from trunkline.bench.statistics import percentile_with_interval
from trunkline.export.engine import build as engine_build
from trunkline.export.engine.build import engine_for
from trunkline.export.engine.key import GpuFacts
from trunkline.export.engine.options import EngineOptions
from trunkline.export.engine.size_range import SizeRange
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
    assert drawn.shape == (96, 3 * 96, 3)
    photo = Image.open(tmp_path / "photo.png").convert("RGB")
    np.testing.assert_array_equal(drawn[:, :96], np.asarray(photo))
    image = NORMALISATION.apply(np.asarray(photo.resize((48, 32), Image.Resampling.BILINEAR)))[None]
    outputs = onnxruntime.InferenceSession(str(made / "model.onnx")).run(
        None, {manifest_of(made)["input"]["name"]: image}
    )
    for number, (kind, output) in enumerate(zip(("segmentation", "depth"), outputs, strict=True), start=1):
        ours = make_task(kind, kind, output.shape[1]).picture(output[0])
        # Drawn at the output's size, made as large as the picture, and laid over it.
        how = Image.Resampling.NEAREST if kind == "segmentation" else Image.Resampling.BILINEAR
        shown = np.asarray(Image.blend(photo, Image.fromarray(ours).resize(photo.size, how), 0.65))
        difference = np.abs(shown.astype(int) - drawn[:, 96 * number : 96 * (number + 1)])
        assert np.percentile(difference, 99) <= 2, kind


@pytest.mark.abuse
def test_predict_ends_without_a_traceback(made: Path, tmp_path: Path) -> None:
    said = run_alone(made / "predict.py", "gone.jpg")
    assert said.returncode == 1 and said.stderr.startswith("gone.jpg cannot be read as a picture")
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("kind", sorted(task_kinds()))
def test_every_kind_says_how_it_is_drawn(kind: str) -> None:
    task = task_kinds()[kind]
    drawing = make_task("t", kind, task.usual_channels).drawing
    assert json.loads(json.dumps(dict(drawing))) == dict(drawing)
    assert drawing["draw"] in ("classes", "ramp", "directions", "label")


def test_bench_measures_by_our_protocol(finished: Finished, made: Path, tmp_path: Path) -> None:
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
    assert row["stable"] == (not row["reason"]) and row["threads"] == 1
    assert found["environment"]["versions"]["onnxruntime"] in row["runtime"]["runtime"]
    # And it stands in a report, beside the run.
    page = invoke("report", finished.out, tmp_path / "b.json", "--out", tmp_path / "page.html")
    assert page.code == 0, page.err
    text = (tmp_path / "page.html").read_text()
    assert f"{row['p50_ms']:.2f}" in text and row["runtime"]["runtime"] in text
    assert row["stable"] or f"is unstable: {row['reason']}" in text


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


def typed(run: Path, *commands: str, **changes: str) -> None:
    """Let a run's sessions be those of commands that were typed."""
    for stage in ("search", "train"):
        path = run / stage / "sessions.json"
        session = {**json.loads(path.read_text())["sessions"][-1], **changes}
        path.write_text(json.dumps({"sessions": [{**session, "command": command} for command in commands]}))


def test_equal_runs_in_two_folders_are_equal_bundles(finished: Finished, tmp_path: Path) -> None:
    """Commands are those that made the run, and tell nothing of the machine."""
    found = []
    for home in ("/home/lena/secret", "../max"):
        run = Path(shutil.copytree(finished.out, tmp_path / home.strip("/.") / "run"))
        exported = f"trunkline export '{home}/my nets/p.toml' --out={home}/run --precision int8"
        typed(run, f"trunkline run p.toml --out {home}/run", exported, exported, started=home, platform=home)
        said = invoke("bundle", finished.pipeline, "--out", run, "--to", run.parent / "bundle")
        assert said.code == 0, said.err
        found.append(contents(run.parent / "bundle"))
    assert found[0] == found[1]
    made_by = json.loads(found[0]["manifest.json"])["made_by"]
    assert made_by["commands"] == [
        "trunkline run p.toml --out RUN",
        "trunkline export p.toml --out=RUN --precision int8",
    ]
    for name in ("trunkline", "torch", "onnx", "onnxruntime"):
        assert made_by["versions"][name] == metadata.version(name)


@pytest.mark.slow
def test_two_runs_are_equal_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run and bundled in a folder of its own."""
    for name in ("first", "second/of/them"):
        (tmp_path / name).mkdir(parents=True)
        path = pipeline(tmp_path / name)
        for command in (("run", path, "--quiet"), ("bundle", path, "--to", tmp_path / name / "bundle")):
            words = [*command, "--out", tmp_path / name / "run"]
            monkeypatch.setattr("sys.argv", ["trunkline", *map(str, words)])
            said = invoke(*words)
            assert said.code == 0, said.err
    first, second = contents(tmp_path / "first/bundle"), contents(tmp_path / "second/of/them/bundle")
    assert first == second
    assert b"trunkline run pipeline.toml --quiet --out RUN" in first["manifest.json"]


@pytest.mark.abuse
def test_strange_sessions_are_refused(finished: Finished, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished.out, tmp_path / "run"))
    command = ("bundle", finished.pipeline, "--out", run, "--to", tmp_path / "b")
    for wrong in ("{}", '{"sessions": [3]}', '{"sessions": [{"command": "trunkline \'run"}]}'):
        (run / "train/sessions.json").write_text(wrong)
        refused(invoke(*command), "sessions.json: is not what Trunkline writes")
    # Runs of earlier versions have neither.
    (run / "train/sessions.json").write_text('{"sessions": [{"started": "2025-01-01"}]}')
    (run / "search/sessions.json").unlink()
    assert invoke(*command).code == 0
    assert (manifest_of(tmp_path / "b")["made_by"]["commands"]) == []


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTensorRT:
    """TensorRT and a GPU, as far as the builder can see, and a key of this test's own."""
    fake = FakeTensorRT()
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setattr(engine_build, "gpu_here", lambda: GpuFacts("NVIDIA H200", "600.10", "9.0"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return fake


@pytest.fixture
def run(finished: Finished, trt: FakeTensorRT, tmp_path: Path) -> Path:
    """A copy of the run, beside whose model an engine may lie."""
    return Path(shutil.copytree(finished.out, tmp_path / "run"))


def test_an_engine_lies_beside_the_model(finished: Finished, run: Path, tmp_path: Path) -> None:
    """Where `trunkline bench` finds it too, and does not build it again."""
    options = EngineOptions(SizeRange(1, 4, 8))
    built = engine_for(run / "model.onnx", options)
    command = ("bundle", finished.pipeline, "--out", run, "--to", tmp_path / "b", "--engine", built.path)
    content = only_json(invoke(*command, "--json"))
    check_keys("bundle", content)
    engine = content["manifest"]["engine"]
    assert engine == manifest_of(tmp_path / "b")["engine"]
    assert (tmp_path / "b" / engine["file"]).read_bytes() == built.plan
    assert engine["sha256"] == hashlib.sha256(built.plan).hexdigest()
    assert (engine["tensorrt"], engine["gpu"], engine["driver"]) == ("11.4.0.106", "NVIDIA H200", "600.10")
    assert engine["profile"] == {"batch": "1,4,8", "sizes": {}}
    assert engine["flags"]["tf32"] is False and engine["flags"]["hardware"] == "same"
    assert engine_for(tmp_path / "b/model.onnx", options).built_s is None
    first = contents(tmp_path / "b")
    said = invoke(*command)
    assert "NVIDIA H200, TensorRT 11.4.0.106, batch 1,4,8" in said.out
    assert contents(tmp_path / "b") == first


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("fault", "fragments"),
    [
        ("gone", ("there is no such engine", "trunkline engine")),
        ("folder", ("there is no such engine",)),
        ("changed", ("it was changed after it was built", "is code")),
        ("no manifest", ("no manifest vouches for it",)),
        ("edited", ("not written by you on this machine",)),
        ("another machine", ("not written by you on this machine",)),
        ("another model", ("it was built from another file", "--precision")),
    ],
)
def test_engines_that_are_not_ours_are_refused(
    finished: Finished, run: Path, tmp_path: Path, fault: str, fragments: tuple[str, ...]
) -> None:
    engine = engine_for(run / "model.onnx").path
    manifest = Path(f"{engine}.json")
    if fault in ("gone", "folder"):
        engine.unlink()
    if fault == "folder":
        engine.mkdir()
    if fault == "changed":
        engine.write_bytes(engine.read_bytes() + b"!")
    if fault == "no manifest":
        manifest.unlink()
    if fault == "edited":
        manifest.write_text(manifest.read_text().replace("H200", "H100"))
    if fault == "another machine":
        (tmp_path / "state/trunkline/engine-seal").unlink()
    if fault == "another model":
        other = onnx.load(run / "model.onnx")
        other.doc_string = "mine"
        onnx.save(other, tmp_path / "other.onnx")
        engine = engine_for(tmp_path / "other.onnx").path
    said = invoke("bundle", finished.pipeline, "--out", run, "--to", tmp_path / "b", "--engine", engine)
    refused(said, engine.name, *fragments)
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_both_programs_run_where_there_is_nothing_else(made: Path, finished: Finished, tmp_path: Path) -> None:
    """In an environment of its own, with the three packages that they ask for; needs a package index."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = next(path for path in (tmp_path / "venv").glob("*/python*") if path.is_file())
    wanted = [f"{name}=={metadata.version(name)}" for name in ("onnxruntime", "numpy", "pillow")]
    command = [python, "-m", "pip", "install", "--quiet", *wanted]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False)
    if fetched.returncode:
        pytest.skip(f"no package index: {fetched.stderr[-200:]}")
    Image.new("RGB", (90, 60), (200, 100, 50)).save(tmp_path / "photo.jpg")
    for name, arguments in {
        "predict.py": [tmp_path / "photo.jpg", tmp_path / "out.png"],
        "bench.py": ["--seconds", "0.2", "--threads", "2", "--out", tmp_path / "b.json"],
    }.items():
        said = subprocess.run([python, "-I", made / name, *arguments], capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
    with Image.open(tmp_path / "out.png") as sheet:
        assert sheet.size == (3 * 90, 60)
    assert invoke("report", finished.out, tmp_path / "b.json", "--out", tmp_path / "page.html").code == 0
