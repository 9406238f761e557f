"""`trunkline export --fuse` as a user meets it: off as it was, on where there is something, or as it measures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from commands import Finished, Said, invoke, pipeline, refused
from documented_json import check_keys, only_json

from trunkline.bench.compare import Ratio
from trunkline.bench.settings import Settings
from trunkline.bench.statistics import Verdict
from trunkline.export.fusion import FUSION_KEY, Fusion
from trunkline.graph.graph import FUSED_KEY

pytestmark = pytest.mark.golden


SHARED = (("[search]\nsteps = [2, 4]\nalternate = [1, 1]\n", '[search]\nmethod = "multi-task"\n'),)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One backbone for both tasks, trained and exported: the first layers of the heads read one map."""
    folder = tmp_path_factory.mktemp("shared")
    path, out = pipeline(folder, *SHARED), folder / "run"
    assert invoke("search", path, "--out", out, "--quiet").code == 0
    return Finished(path, out, invoke("export", path, "--out", out, "--quiet", "--json"))


@pytest.fixture
def run(trained: Finished, tmp_path: Path) -> Path:
    """A copy of the run, to write into."""
    return Path(shutil.copytree(trained.out, tmp_path / "run"))


def exported(trained: Finished, run: Path, fuse: str) -> Any:
    said = invoke("export", trained.pipeline, "--out", run, "--fuse", fuse, "--quiet", "--json")
    found = only_json(said)
    check_keys("export", found)
    assert json.loads((run / "export.json").read_text()) == found
    return found


def is_fused(path: Path) -> bool:
    nodes = onnx.load(path).graph.node
    return any(item.key == FUSED_KEY for node in nodes for item in node.metadata_props)


def recorded(path: Path) -> Any:
    props = {item.key: item.value for item in onnx.load(path).metadata_props}
    return json.loads(props[FUSION_KEY])


def test_off_is_the_file_as_it_was(trained: Finished, run: Path) -> None:
    before = (run / "model.onnx").read_bytes()
    assert exported(trained, run, "off")["fusion"]["fused"] is False
    assert (run / "model.onnx").read_bytes() == before
    assert not is_fused(run / "model.onnx")


def test_on_fuses_heads_and_says_so(trained: Finished, run: Path) -> None:
    before = json.loads((run / "export.json").read_text())
    found = exported(trained, run, "on")
    assert found["fusion"]["fused"] and found["fusion"]["ratio"] is None
    assert found["parity"]["passed"]
    assert is_fused(run / "model.onnx")
    assert recorded(run / "model.onnx") == found["fusion"]
    assert (found["macs"], found["parameters"]) == (before["macs"], before["parameters"])
    model = onnx.load(run / "model.onnx")
    assert [value.name for value in model.graph.output] == ["segmentation", "depth"]


def test_measured_here_and_kept_only_if_faster(trained: Finished, run: Path) -> None:
    """Whichever way it goes here, file, record and answer are of one mind."""
    found = exported(trained, run, "measure")["fusion"]
    low, high = found["ci"]
    assert low <= found["ratio"] <= high
    assert found["measured_on"] == "onnxruntime, cpu, 1 thread, batch 1"
    if found["fused"]:
        assert high < 1
    assert is_fused(run / "model.onnx") == found["fused"]
    assert recorded(run / "model.onnx") == found
    assert sorted(path.name for path in run.glob("*.onnx")) == ["model.onnx"]


def judged(verdict: Verdict, reason: str = "") -> Fusion:
    from trunkline.verbs.fusion import judged as judge

    return judge(Ratio("fused", "plain", 0.9, (0.8, 0.97), verdict, reason), "onnxruntime", Settings(threads=2))


def test_proof_is_a_steady_faster() -> None:
    assert judged("faster").fused
    assert judged("faster").measured_on == "onnxruntime, cpu, 2 threads, batch 1"
    unsteady = judged("faster", "plain: too noisy")
    assert not unsteady.fused and "too noisy" in unsteady.reason
    others: tuple[Verdict, ...] = ("slower", "same", "undecided")
    assert not any(judged(verdict).fused for verdict in others)


def test_measured_choice_is_printed(trained: Finished, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fused file that is proved faster is kept, and the answer has the ratio."""
    made = judged("faster")
    monkeypatch.setattr("trunkline.verbs.fusion.judged", lambda *arguments: made)
    said: Said = invoke("export", trained.pipeline, "--out", run, "--fuse", "measure", "--quiet")
    assert said.code == 0, said.err
    assert "fusion  yes: the fused file measures faster; 0.900 [0.800, 0.970] of the time without" in said.out
    assert is_fused(run / "model.onnx")


@pytest.mark.slow
def test_page_says_that_nodes_are_fused(trained: Finished, run: Path) -> None:
    """It draws what the file executes, and must not pass off what lies side by side as shared."""
    assert invoke("report", run, "--out", run / "plain.html").code == 0
    exported(trained, run, "on")
    assert invoke("report", run, "--out", run / "page.html").code == 0
    assert "fused in this file" in (run / "page.html").read_text()
    assert "fused in this file" not in (run / "plain.html").read_text()


@pytest.mark.slow
def test_half_precision_follows_the_float32_file(trained: Finished, run: Path) -> None:
    said = invoke("export", trained.pipeline, "--out", run, "--fuse", "on", "--precision", "float16", "--quiet")
    assert said.code == 0, said.err
    assert is_fused(run / "model.float16.onnx")


def test_unknown_choice_is_refused(run: Path, tmp_path: Path) -> None:
    path = pipeline(tmp_path, *SHARED, ("parity_inputs = 2\n", 'parity_inputs = 2\nfuse = "always"\n'))
    refused(invoke("export", path, "--out", run, "--quiet"), "export.fuse")
