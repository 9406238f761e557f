"""Parity: one small export goes the whole way, and each thing that can be wrong with it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_export import LABEL, SIZE, USED, export_tiny, facts_of
from torch import Tensor, nn

from trunkline.ingest.read import read
from zoo_check import checking
from zoo_check.checked import Checked
from zoo_check.checking import check_all, judged
from zoo_check.compare import largest_error, one_by_one
from zoo_check.exporting import check_same
from zoo_check.noise import Array, images
from zoo_check.precise import in_float64

pytestmark = pytest.mark.parity

pytest.importorskip("onnxruntime")
ROOT = Path(__file__).resolve().parents[2]


def checked(folder: Path) -> Checked:
    """Return what the real command makes of the export in ``folder``."""
    command = [sys.executable, "-m", "zoo_check.checking", str(folder), LABEL]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    return Checked(**json.loads((folder / f"{LABEL}.check").read_bytes()))


def judge(folder: Path, float32: float = 1.0, float64: float = 1.0, **changes: object) -> Checked:
    """BestMetric the export against what it computes, times the factors."""
    path = folder / f"{LABEL}.onnx"
    facts: dict[str, Any] = facts_of(**changes).to_json()
    return judged(
        read(path),
        facts,
        lambda batch: [output * float32 for output in one_by_one(path, batch)],
        lambda batch: [output * float64 for output in in_float64(path, batch)],
    )


def test_a_good_export_is_all_right(exported: Path) -> None:
    found = checked(exported)
    assert found.is_right
    assert (found.verdict, found.count, found.last_map, found.several) == ("read", "right", "right", "right")
    assert found.trainable == USED
    assert 0 <= found.error < 1e-4
    assert min(found.cpu_s, found.peak_bytes) > 0
    assert found.state
    assert set(found.versions) == {"torch", "onnx", "onnxruntime", "numpy"}


@pytest.mark.parametrize(
    ("changes", "agreements"),
    [
        ({"parameters": USED + 1, "stored": USED + 1}, ("wrong", "right", "right")),
        ({"stored": USED - 8}, ("unknown", "right", "right")),
        ({"last": [4, 12, 3]}, ("right", "wrong", "wrong")),
        ({"last": [12, 6, 8], "last_too": [12, 3, 4], "pyramid": []}, ("right", "right", "unknown")),
        ({"maps_known": False}, ("right", "unknown", "unknown")),
        ({"pyramid": [[9, 6, 8], [12, 3, 4]]}, ("right", "right", "wrong")),
        ({"pyramid": [[6, 12, 16], [8, 6, 8], [12, 3, 4]]}, ("right", "right", "wrong")),
        ({"pyramid": [[12, 3, 4]]}, ("right", "right", "right")),  # a package need not name the finer ones
    ],
)
def test_each_disagreement_is_told(exported: Path, changes: dict[str, object], agreements: tuple[str, ...]) -> None:
    found = judge(exported, **changes)
    assert (found.count, found.last_map, found.several) == agreements
    assert found.is_right == ("wrong" not in agreements)


@pytest.mark.parametrize(
    ("float32", "float64", "message"),
    [
        (1.01, 1.01, "the twin in float64: output 0 differs by 0.0099"),
        (1.5, 1.002, "the twin in float64: output 0 differs by 0.002"),
    ],
)
def test_wrong_numbers_are_wrong(exported: Path, float32: float, float64: float, message: str) -> None:
    found = judge(exported, float32, float64)
    assert found.verdict == "wrong"
    assert message in found.message
    assert not found.is_right


def test_bad_float32_is_judged_in_float64(exported: Path) -> None:
    """A file that float32 computes badly is judged in float64."""
    found = judge(exported, 1.05)
    assert found.is_right
    assert found.float32_error == pytest.approx(0.05, rel=1e-3)
    assert found.error < 1e-6
    assert judge(exported).float32_error == 0.0


def test_our_larger_error_is_not_excused(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A float32 error of ours is not excused by a smaller one of the file."""
    monkeypatch.setattr(checking, "_ways", lambda *_: iter([("the twin", [np.full((2, 5), 1e3)])]))
    found = judge(exported, 1.05)
    assert found.verdict == "wrong"
    assert found.message.startswith("the twin: output 0 differs by")


@pytest.mark.parametrize("changes", [{}, {"Relu": "Sigmoid"}])
def test_float64_is_what_onnxruntime_rounds(exported: Path, changes: dict[str, str]) -> None:
    """At opset 13, where ONNX's reference implementation would move the running statistics first."""
    path = exported / f"{LABEL}.onnx"
    model = onnx.load(path)
    for node in model.graph.node:
        node.op_type = changes.get(node.op_type, node.op_type)
    onnx.save(model, path)
    batch = images(2, SIZE)
    (precise,), (rounded,) = in_float64(path, batch), one_by_one(path, batch)
    assert precise.dtype == np.float64
    assert 0 < np.abs(precise - rounded).max() < 1e-5 * np.abs(precise).max()


def test_a_refusal_keeps_what_it_says(exported: Path) -> None:
    folder = exported
    model = onnx.load(folder / f"{LABEL}.onnx")
    model.graph.node[-1].op_type = "NonZero"
    onnx.save(model, folder / f"{LABEL}.onnx")
    found = checked(folder)
    assert found.verdict == "refused"
    assert "NonZero" in found.message
    assert found.names_file
    assert found.place


def test_a_traceback_is_a_crash(exported: Path) -> None:
    folder = exported
    (folder / f"{LABEL}.json").write_text(json.dumps({**facts_of().to_json(), "size": [24, 33]}))
    found = checked(folder)
    assert found.verdict == "crash"
    assert found.message.startswith("InvalidArgument: ")


def test_changed_sources_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python imports some of them late, so a check could be of two states and fail for no reason of ours."""
    states = iter(["a", "a", "b"])
    monkeypatch.setattr(checking, "state_of_sources", lambda: next(states))
    monkeypatch.setattr(checking, "check_bounded", lambda facts, _: Checked(facts.label, "read"))
    results = check_all([facts_of(), facts_of(label="second")], tmp_path)
    assert next(results).state == "a"
    with pytest.raises(SystemExit, match="start it again"):
        next(results)
    assert [path.name for path in tmp_path.iterdir()] == [f"{LABEL}.check"]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([np.ones((2, 3))], ""),
        ([np.ones((2, 3)) + 9e-4], ""),
        ([np.ones((2, 3)) + 2e-3], "output 0 differs by 0.002 of its largest magnitude"),
        ([np.full((2, 3), np.nan)], "output 0 differs by nan of its largest magnitude"),
        ([np.ones((3, 2))], "output 0 is [3, 2]; the file computes [2, 3]"),
        ([], "0 outputs; the file has 1"),
    ],
)
def test_differences_are_told_by_output(found: list[Array], told: str) -> None:
    assert largest_error(found, [np.ones((2, 3))])[1] == told


class Peaks(nn.Module):
    """Looks at its image while it is traced, so its file is right for that image only."""

    def forward(self, image: Tensor) -> Tensor:
        row = int(image[0, 0].mean(1).argmax())
        return image[:, :, row : row + 1] * 2


def test_one_image_only_is_exporters_failure(tiny: nn.Module, tmp_path: Path) -> None:
    """A file that is right for one image is a failure of the exporter."""
    path = tmp_path / f"{LABEL}.onnx"
    check_same(tiny, export_tiny(tiny, tmp_path) / path.name, SIZE)
    export_tiny(Peaks(), tmp_path)
    with pytest.raises(RuntimeError, match="does not compute what the module does: output 0 differs"):
        check_same(Peaks(), path, SIZE)
