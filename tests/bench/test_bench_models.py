"""Files on the real ONNX Runtime, and everything around it that needs none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from trunkline.bench import models
from trunkline.bench.candidate import Macs
from trunkline.bench.models import bench_files, count_work, names_of, open_candidate, split_group
from trunkline.bench.parameters import Parameters
from trunkline.bench.runtimes import ort as ort_runtime
from trunkline.bench.runtimes import torch_eager
from trunkline.bench.runtimes.inputs import Declared, FedInput, make_feeds
from trunkline.bench.runtimes.torch_session import require_device
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig, InvalidModel, TrunklineError, WorkFailed
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import HEAD, PART_KEY, Graph

if TYPE_CHECKING:
    from tests.bench.conftest import FakeSession


HAS_ORT = importlib.util.find_spec("onnxruntime") is not None
HAS_TWIN = importlib.util.find_spec("trunkline.twins.twin") is not None
needs_ort = pytest.mark.skipif(not HAS_ORT, reason="onnxruntime is not installed")
QUICK = Settings(minimum_samples=11, minimum_seconds=0.0, warm_up_seconds=0.0, warm_up_limit_seconds=0.2)


def _graph(channels: int = 4) -> Graph:
    """Conv 3 -> channels, and a one-channel head; weights are fixed."""
    generator = np.random.default_rng(0)
    builder = GraphBuilder("tiny")
    image = builder.image("image", (3, 8, 8))
    weight = builder.tensor("conv.weight", generator.standard_normal((channels, 3, 3, 3)).astype(np.float32))
    trunk = builder.node("Conv", [image, weight], name="conv", attributes={"pads": [1, 1, 1, 1]})
    head_weight = builder.tensor("head.seg.weight", np.ones((1, channels, 1, 1), dtype=np.float32))
    seg = builder.node("Conv", [trunk, head_weight], name="head.seg.conv", outputs=["seg"])
    builder.last.metadata_props[PART_KEY] = HEAD
    return builder.finish([seg])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    ir.save(_graph().model, path)
    return path


@pytest.mark.parity
@needs_ort
def test_session_computes_the_convolution(file: Path) -> None:
    settings = replace(QUICK, batch=2)
    session = ort_runtime.OrtRuntime().prepare(file, settings)
    shape = (2, 3, 8, 8)
    feeds = make_feeds([FedInput(Declared("image", shape, np.dtype(np.float32)), shape)], settings, place="tiny")
    graph = _graph()
    weight = graph.initializers["conv.weight"].const_value.numpy()
    for index in (0, 3, 1):
        session.feed(index)
        session.run()
        padded = np.pad(feeds[index]["image"], ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        expected = np.einsum("nchwij,kcij->nhw", windows, weight)[:, None]
        np.testing.assert_allclose(session.outputs()["seg"], expected, rtol=1e-4, atol=1e-4)
    assert (session.provider, session.threads, session.spinning) == ("cpu", 1, False)
    assert "bound in host memory" in session.region
    assert session.describe()["provider"] == "CPUExecutionProvider"
    session.close()


@pytest.mark.parity
@needs_ort
def test_graph_and_file_give_the_same(file: Path) -> None:
    found = []
    for model in (file, _graph()):
        session = ort_runtime.OrtRuntime().prepare(model, QUICK)
        session.run()
        found.append(session.outputs()["seg"])
    np.testing.assert_array_equal(*found)


@pytest.mark.golden
@needs_ort
def test_bench_files_and_groups(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_read", lambda *_: _graph())
    seen: list[int] = []
    found = bench_files([f"{file}+{file}", file], QUICK, progress=lambda done, planned: seen.append(done)).to_json()
    pair, single = found["models"]
    assert (pair["name"], single["name"]) == ("tiny+tiny", "tiny")
    assert (pair["samples"], pair["provider"], pair["threads"]) == (11, "cpu", 1)
    assert (single["backbone_macs"], single["head_macs"]) == (8 * 8 * 4 * 27, 8 * 8 * 4)
    assert single["macs_ratio"] == 0.5 and pair["macs"] == 2 * single["macs"]
    assert found["ratios"][0]["name"] == "tiny"
    assert found["settings"]["spinning"] is False
    assert seen == list(range(1, 12))


@pytest.mark.abuse
@needs_ort
@pytest.mark.parametrize(("content", "error"), [(b"not a model", InvalidModel), (b"", TrunklineError)])
def test_files_that_are_no_model(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(error, match="bad.onnx"):
        bench_files([path], QUICK)


def _one_node(node: onnx.NodeProto, output: onnx.ValueInfoProto, *initializers: onnx.TensorProto) -> onnx.ModelProto:
    image = onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, ["N", 3])
    graph = onnx.helper.make_graph([node], "g", [image], [output], initializers)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.abuse
@needs_ort
@pytest.mark.parametrize(
    ("op", "error", "says"),
    [
        ("Foo", InvalidModel, "No Op registered for Foo"),
        ("Reshape", WorkFailed, 'cannot run it on "cpu".*Reshape'),
        ("SequenceConstruct", InvalidModel, r"m\.onnx: .*only tensors can be measured"),
        ("RandomNormalLike", WorkFailed, "different outputs"),
    ],
)
def test_models_that_fail_or_vary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, op: str, error: type[Exception], says: str
) -> None:
    """Models that do not run, or do not repeat their outputs, are refused."""

    def unreadable(*_: object) -> Graph:
        raise InvalidModel("no")

    monkeypatch.setattr(models, "_read", unreadable)
    tensor = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    output = onnx.helper.make_value_info(
        "b", onnx.helper.make_sequence_type_proto(tensor) if op == "SequenceConstruct" else tensor
    )
    sizes = [onnx.numpy_helper.from_array(np.array([1, 4]), "s")] if op == "Reshape" else []
    node = onnx.helper.make_node(op, ["a", *(each.name for each in sizes)], ["b"])
    onnx.save(_one_node(node, output, *sizes), tmp_path / "m.onnx")
    with pytest.raises(error, match=says):
        bench_files([tmp_path / "m.onnx"], QUICK)


@pytest.mark.properties
def test_importing_the_bench_loads_no_runtime() -> None:
    code = (
        "import sys, trunkline.bench.models; from trunkline.bench.runtimes.registry import runtimes; runtimes();"
        "print(sorted({'torch', 'onnxruntime', 'openvino', 'tensorrt'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


@pytest.mark.abuse
@needs_ort
def test_provider_that_is_not_there(file: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(WorkFailed, match=r'provider "cuda" needs CUDAExecutionProvider.*\n.*trunkline\[gpu\]'):
        bench_files([file], replace(QUICK, provider="cuda"))


@pytest.mark.abuse
def test_provider_that_falls_back() -> None:
    """A provider that is listed, but that the session does not run on, is refused."""
    fallen_back = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    with pytest.raises(WorkFailed, match="asked for, and the session runs on CPUExecutionProvider"):
        ort_runtime._require_loaded(fallen_back, "cuda", "m.onnx")
    with pytest.raises(WorkFailed, match="needs TensorRT 10"):
        ort_runtime._require_loaded(fallen_back, "tensorrt", "m.onnx")
    ort_runtime._require_loaded(fallen_back, "cpu", "m.onnx")


@pytest.mark.golden
def test_cuda_libraries_are_loaded_for_a_gpu_only() -> None:
    calls: list[str] = []
    ort = SimpleNamespace(preload_dlls=lambda: calls.append("loaded"))
    ort_runtime.preload(ort, "cpu")
    assert not calls
    ort_runtime.preload(ort, "cuda")
    assert calls == ["loaded"]


@pytest.mark.abuse
def test_no_onnxruntime(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(WorkFailed, match=r"pip install trunkline\[cpu\]"):
        bench_files([file], QUICK)
    with pytest.raises(WorkFailed, match=r"pip install trunkline\[gpu\]"):
        bench_files([file], replace(QUICK, provider="cuda"))


@pytest.mark.abuse
@needs_ort
def test_non_finite_weights_stop_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_read", lambda *_: _graph())
    graph = _graph()
    weight = graph.initializers["conv.weight"]
    weight.const_value = ir.Tensor(np.full((4, 3, 3, 3), np.nan, dtype=np.float32), name="conv.weight")
    ir.save(graph.model, tmp_path / "nan.onnx")
    with pytest.raises(WorkFailed, match="not finite"):
        bench_files([tmp_path / "nan.onnx"], QUICK)


@pytest.mark.abuse
def test_missing_files_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel) as caught:
        bench_files([tmp_path / "a.onnx", f"{tmp_path}/b.onnx+{tmp_path}/c.onnx"], QUICK)
    assert [Path(problem.place).name for problem in caught.value.problems] == ["a.onnx", "b.onnx", "c.onnx"]
    with pytest.raises(InvalidConfig, match="nothing to measure"):
        bench_files([], QUICK)


@pytest.mark.golden
def test_names_and_groups(tmp_path: Path) -> None:
    odd = tmp_path / "a+b.onnx"
    odd.touch()
    assert split_group(odd) == (odd,)
    assert split_group("x/a.onnx+y/b.onnx") == (Path("x/a.onnx"), Path("y/b.onnx"))
    groups = [(Path("x/a.onnx"),), (Path("y/a.onnx"),), (Path("a.onnx"), Path("b.onnx"))]
    assert names_of(groups) == ["a#1", "a#2", "a+b"]


@pytest.mark.golden
def test_macs_where_they_can_be_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MACs of Graphs, and of files that are none."""

    def unreadable(*_: object) -> Graph:
        raise InvalidModel("no")

    monkeypatch.setattr(models, "_read", unreadable)
    assert count_work(_graph(2)) == (Macs(8 * 8 * 2 * 27, 8 * 8 * 2), Parameters(2 * 27 + 2, 2 * 27))
    assert count_work(tmp_path / "quantised.onnx") is None


@pytest.mark.golden
def test_sessions_are_closed(session: Callable[..., FakeSession]) -> None:
    made = []

    class Fake:
        def prepare(self, model: Graph, settings: Settings) -> FakeSession:
            made.append(session(1.0))
            return made[-1]

    with ExitStack() as stack:
        candidate = open_candidate("two", [_graph(1), _graph(2)], QUICK, stack=stack, runtime=Fake())
        assert candidate.macs == Macs(8 * 8 * 3 * 27, 8 * 8 * 3)
        assert not any(each.closed for each in made)
    assert len(made) == 2 and all(each.closed for each in made)


@pytest.mark.properties
def test_inputs_differ_by_turn_not_name() -> None:
    """Inputs are seeded, and differ by turn, not by name."""

    def draw(name: str, seed: int = 0, kind: str = "float32") -> list[np.ndarray]:
        one = FedInput(Declared(name, ("N", 3), np.dtype(kind)), (2, 3))
        feeds = make_feeds([one], Settings(seed=seed), place="m")
        return [feed[name] for feed in feeds]

    np.testing.assert_array_equal(draw("a"), draw("b"))
    assert not np.array_equal(draw("a")[0], draw("a")[1])
    assert not np.array_equal(draw("a")[0], draw("a", seed=1)[0])
    for kind in ("float16", "float64", "uint8", "int64", "bool"):
        assert draw("a", kind=kind)[0].dtype == kind
    with pytest.raises(InvalidModel, match="cannot draw"):
        draw("a", kind="U1")


@pytest.mark.parity
@pytest.mark.skipif(not HAS_TWIN, reason="the twin is not part of this installation")
def test_eager_torch_agrees_with_onnxruntime() -> None:
    import torch

    before = torch.get_num_threads()
    session = torch_eager.TorchRuntime().prepare(_graph(), replace(QUICK, batch=2))
    other = ort_runtime.OrtRuntime().prepare(_graph(), replace(QUICK, batch=2))
    for index in (0, 1):
        for each in (session, other):
            each.feed(index)
            each.run()
        np.testing.assert_allclose(session.outputs()["seg"], other.outputs()["seg"], rtol=1e-4, atol=1e-4)
    session.close()
    assert torch.get_num_threads() == before


@pytest.mark.abuse
def test_torch_without_a_gpu() -> None:
    with pytest.raises(WorkFailed, match="torch finds no GPU"):
        require_device("cuda", has_gpu=False)
    with pytest.raises(InvalidConfig, match="not on tensorrt"):
        torch_eager.TorchRuntime().prepare(_graph(), replace(QUICK, provider="tensorrt"))
    require_device("cpu", has_gpu=False)
