"""Golden: a run's bench measures what it says it measures, and sets it against what it says it is against.

The runtime is a fake whose time is a file's own work, counted here from its convolutions. So every number of the
result follows from the files alone, and any mistaken identity shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from watching import is_watching

from trunkline.bench.device.state import DeviceState
from trunkline.bench.environment import Environment
from trunkline.bench.protocol import measure
from trunkline.bench.runtimes.ort import OrtRuntime
from trunkline.bench.settings import Settings
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.limits import Limits
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.sharing.layouts.plans import share_until
from trunkline.sharing.lowering.lower import lower
from trunkline.verbs.bench import bench, bench_run

pytestmark = pytest.mark.golden

TASKS = ("segmentation", "depth", "normals")
PIPELINE = """\
backbone = "zoo:tiny"

[data]
kind = "scenes"
size = [32, 48]
length = 4
val_length = 2
tasks = ["segmentation", "depth", "normals"]

[export]
fold = {fold}

[bench]
runtime = "torch"
batch = 3
threads = 2
spinning = true
samples = 12
limit_s = 7.5
"""


def work_of(path: Path) -> int:
    """Multiply-accumulates of a file's convolutions for one image, by the shapes that ONNX infers."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    sizes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    values = [*model.graph.value_info, *model.graph.output]
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions
    return sum(math.prod(sizes[node.input[1]]) * math.prod(shapes[node.output[0]][2:]) for node in convolutions)


class Session:
    """Takes one nanosecond for each multiply-accumulate of its file, on the clock of its runtime."""

    region, threads, spinning, inputs, device_ms = "fake", 1, None, (), None

    def __init__(self, path: Path, runtime: Runtime) -> None:
        self.work, self.runtime = work_of(path), runtime
        self.provider = " ".join(output.name for output in onnx.load(path).graph.output)

    def feed(self, index: int) -> None: ...

    def run(self) -> None:
        assert not is_watching()
        self.runtime.now += self.work

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        return {}

    def describe(self) -> dict[str, str]:
        return {}

    def close(self) -> None: ...


class Runtime:
    """What is asked to load a file, in the order in which it is asked."""

    name = "onnxruntime"

    def __init__(self) -> None:
        self.now = 0
        self.loaded: list[Path] = []

    def prepare(self, model: Path, settings: object) -> Session:
        self.loaded.append(model)
        return Session(model, self)


Measured = tuple[dict[str, Any], list[Path], Path]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], Measured]:
    """Measure a model that shares two blocks; returns bench.json, the files that were loaded, and the run's own."""

    def run(fold: bool) -> Measured:
        runtime = Runtime()

        class Kind(OrtRuntime):
            """Passes for what outputs are compared with, so that there is nothing to compare."""

            def __new__(cls, limits: object) -> Runtime:  # type: ignore[misc]  # the fake in its place
                return runtime

        def named(name: str) -> type[Kind]:
            assert name == "torch"
            return Kind

        clocked = partial(measure, clock=lambda: runtime.now, environment=Environment(cpu="fake"), device=DeviceState)
        monkeypatch.setattr("trunkline.bench.compare.measure", clocked)
        monkeypatch.setattr("trunkline.verbs.bench_runtimes.runtime_class", named)
        (tmp_path / "pipeline.toml").write_text(PIPELINE.format(fold=str(fold).lower()))
        project = Project(load_config(tmp_path / "pipeline.toml"), tmp_path / "run")
        plan = share_until(project.backbone, TASKS, "stage1_block1_conv1")
        graph = lower(plan, project.backbone, project.heads).graph
        own = write_onnx(graph, tmp_path / "own.onnx", fold=fold, reuse=False)
        result = bench_run(project, own)
        content = json.loads((tmp_path / "run" / "bench.json").read_text())
        assert content == json.loads(json.dumps(result.to_json()))
        return content, runtime.loaded, own

    return run


def test_each_candidate_is_its_files(measured: Callable[[bool], Measured]) -> None:
    """N single-task files as one candidate, the fully shared one, and the file that the run has exported."""
    content, loaded, own = measured(True)
    assert [model["name"] for model in content["models"]] == ["single-task", "multi-task", "model"]
    assert [model["provider"] for model in content["models"]] == [", ".join(TASKS), " ".join(TASKS), " ".join(TASKS)]
    assert content["models"][0]["region"].startswith("3 sessions one after another")
    assert len(loaded) == 5
    assert loaded[-1] == own
    works = [work_of(path) for path in loaded]
    alone, together, mine = sum(works[:3]), works[3], works[4]
    assert len(set(works[:3])) > 1  # heads differ, so that one task measured three times would show
    assert together < mine < alone
    assert [model["p50_ms"] for model in content["models"]] == pytest.approx([alone / 1e6, together / 1e6, mine / 1e6])


def test_work_and_ratios_are_the_files(measured: Callable[[bool], Measured]) -> None:
    """All against the N single-task models; time is work here, so every bound is met exactly."""
    content, loaded, _ = measured(True)
    works = [work_of(path) for path in loaded]
    alone, together, mine = sum(works[:3]), works[3], works[4]
    assert [model["macs"] for model in content["models"]] == [alone, together, mine]
    assert [model["macs_ratio"] for model in content["models"]] == pytest.approx([1, together / alone, mine / alone])
    assert [model["time_over_bound"] for model in content["models"]] == pytest.approx([1, 1, 1])
    assert content["models"][1]["bound_ms"] == pytest.approx(together / 1e6)
    found = [(ratio["name"], ratio["against"], ratio["verdict"]) for ratio in content["ratios"]]
    assert found == [("multi-task", "single-task", "faster"), ("model", "single-task", "faster")]
    assert [ratio["ratio"] for ratio in content["ratios"]] == pytest.approx([together / alone, mine / alone])
    assert [ratio["speed_up"] for ratio in content["ratios"]] == pytest.approx([alone / together, alone / mine])


@pytest.mark.parametrize("fold", [True, False])
def test_rivals_are_exported_alike(measured: Callable[[bool], Measured], fold: bool) -> None:
    """As the model that they compete with: folded, or not."""
    _, loaded, _ = measured(fold)
    for path in loaded:
        ops = {node.op_type for node in onnx.load(path).graph.node}
        assert ("BatchNormalization" not in ops) == fold, path.name


def test_it_is_measured_as_the_pipeline_says(measured: Callable[[bool], Measured]) -> None:
    settings = measured(True)[0]["settings"]
    expected = {"batch": 3, "threads": 2, "spinning": True, "minimum_samples": 12, "limit_seconds": 7.5}
    assert {key: settings[key] for key in expected} == expected
    assert settings["provider"] == "cpu"


def test_a_run_may_be_measured_again(measured: Callable[[bool], Measured]) -> None:
    first, _, own = measured(True)
    again, loaded, _ = measured(True)
    assert loaded[-1] == own
    assert [model["p50_ms"] for model in again["models"]] == [model["p50_ms"] for model in first["models"]]


def test_files_are_measured_by_onnxruntime_within_limits(tmp_path: Path) -> None:
    """A file that asks for too much to be read is measured all the same; its work is unknown then."""
    project = Project(load_config(Path(write(tmp_path, fold="true"))), tmp_path / "run")
    plan = share_until(project.backbone, TASKS, "stage1_block1_conv1")
    path = write_onnx(lower(plan, project.backbone, project.heads).graph, tmp_path / "m.onnx", fold=True, reuse=False)
    settings = Settings(minimum_samples=12, minimum_seconds=0.0, limit_seconds=2.0)
    (known,) = bench([path], settings).to_json()["models"]
    (unknown,) = bench([path], settings, limits=Limits(tensor_elements=10)).to_json()["models"]
    assert (known["macs"], unknown["macs"]) == (work_of(path), None)
    assert known["provider"] == unknown["provider"] == "cpu"


def write(folder: Path, **values: str) -> Path:
    (folder / "pipeline.toml").write_text(PIPELINE.format(**values))
    return folder / "pipeline.toml"
