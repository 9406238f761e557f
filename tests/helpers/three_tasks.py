"""A run of three tasks on generated scenes by the real command, as small as it goes; what every method must give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
from commands import invoke

from trunkline.export.count import count_file

THREE_TASKS = ("segmentation", "depth", "normals")
PIPELINE = """\
{top}
backbone = "zoo:tiny"
seed = 3

[tasks.segmentation]
[tasks.depth]
[tasks.normals]

[data]
kind = "scenes"
size = [32, 48]
length = 8
val_length = 2

[search]
{search}

[train]
steps = 2
batch_size = 2
eval_every = 2
baselines = []

[export]
parity_inputs = 2

[bench]
samples = 11
limit_s = 0.05
"""


def pipeline_of_three(folder: Path, search: str, top: str = "") -> Path:
    """Write a pipeline file with these lines under ``[search]``, and above all tables."""
    path = folder / "pipeline.toml"
    path.write_text(PIPELINE.format(search=search, top=top), encoding="utf-8")
    return path


def run_three(folder: Path, search: str, top: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Run it: all three tasks are judged, the file has parity, and holds the work that was counted.

    Returns:
        What ``result.json`` and ``plan.json`` hold.
    """
    path = pipeline_of_three(folder, search, top)
    said = invoke("run", str(path), "--out", str(folder / "run"), "--quiet")
    assert said.code == 0, said.err
    result = json.loads((folder / "run/result.json").read_text())
    assert result["export"]["parity"]["passed"]
    assert set(result["train"]["metrics"]) == set(THREE_TASKS)
    model = folder / "run/model.onnx"
    assert count_file(model).macs == result["export"]["macs"]
    assert [value.name for value in onnx.load(model).graph.output] == list(THREE_TASKS)
    return result, json.loads((folder / "run/plan.json").read_text())
