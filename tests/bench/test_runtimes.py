"""Every runtime: found by its file, the same numbers, and an error where what was asked for would not run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from commands import ROOT
from fake_cuda_events import FakeEvents

from trunkline.bench.runtimes import cuda_graph, torch_compiled
from trunkline.bench.runtimes.base import TimedSession
from trunkline.bench.runtimes.cuda_graph import GraphSession, Recorded
from trunkline.bench.runtimes.registry import runtime_class, runtimes
from trunkline.bench.runtimes.torch_session import open_twin
from trunkline.bench.settings import Settings
from trunkline.errors import InvalidConfig, InvalidModel, WorkFailed
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph
from trunkline.limits import DEFAULT_LIMITS

QUICK = Settings(minimum_samples=11, minimum_seconds=0.0, warm_up_seconds=0.0, warm_up_limit_seconds=0.2)


def network(channels: int = 8, names: tuple[str, ...] = ("depth", "seg")) -> Graph:
    """Two convolutions with an activation between them, and an output for each name."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder("two_heads")
    image = builder.image("image", (3, 16, 16))
    weight = builder.tensor("trunk.weight", rng.standard_normal((channels, 3, 3, 3)).astype(np.float32))
    trunk = builder.node("Conv", [image, weight], name="trunk", attributes={"pads": [1, 1, 1, 1]})
    trunk = builder.node("Relu", [trunk], name="relu")
    outputs = []
    for number, name in enumerate(names, start=1):
        head = builder.tensor(f"{name}.weight", rng.standard_normal((number, channels, 1, 1)).astype(np.float32))
        outputs.append(builder.node("Conv", [trunk, head], name=f"{name}.conv", outputs=[name]))
    return builder.finish(outputs)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    ir.save(network().model, tmp_path / "two.onnx")
    return tmp_path / "two.onnx"


def answers(session: TimedSession, index: int) -> dict[str, np.ndarray]:
    session.feed(index)
    session.run()
    return session.outputs()


@pytest.mark.golden
def test_every_file_is_a_runtime() -> None:
    assert {"cuda-graph", "onnxruntime", "openvino", "torch", "torch-compile"} <= set(runtimes())
    page = (ROOT / "docs" / "runtimes.md").read_text()
    for name, kind in runtimes().items():
        assert kind.name == name and kind.needs
        assert set(kind.providers) <= {"cpu", "cuda", "tensorrt"}
        assert f"| `{name}` | {', '.join(kind.providers)} |" in page
    with pytest.raises(InvalidConfig, match='bench.runtime: there is no runtime "openvno".*\n.*"openvino"'):
        runtime_class("openvno")


@pytest.mark.abuse
@pytest.mark.parametrize("name", [*runtimes()])
def test_other_providers_are_refused(name: str) -> None:
    kind = runtimes()[name]
    for provider in {"cpu", "cuda", "tensorrt"} - set(kind.providers):
        with pytest.raises(InvalidConfig, match=f"not on {provider}"):
            kind().prepare(network(), replace(QUICK, provider=provider))


@pytest.mark.abuse
@pytest.mark.parametrize("name", [name for name, kind in runtimes().items() if "cuda" in kind.providers])
def test_a_gpu_that_is_not_there(name: str, file: Path) -> None:
    """No runtime falls back to the processor."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(WorkFailed):
        runtimes()[name]().prepare(file, replace(QUICK, provider="cuda"))


RUNS_HERE = (
    pytest.param("openvino", id="openvino"),
    pytest.param("torch", id="torch"),
    pytest.param("torch-compile", id="torch-compile", marks=pytest.mark.slow),
)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inductor's own imports
@pytest.mark.parametrize("is_file", [True, False])
@pytest.mark.parametrize("name", RUNS_HERE)
def test_all_runtimes_compute_the_same(name: str, is_file: bool, file: Path) -> None:
    """For each of the inputs, with a batch, by the names of the outputs."""
    if name == "openvino":
        pytest.importorskip("openvino")
    settings, model = replace(QUICK, batch=2), file if is_file else network()
    mine = runtime_class(name)().prepare(model, settings)
    theirs = runtime_class("onnxruntime")().prepare(model, settings)
    for index in (2, 0):
        found, expected = answers(mine, index), answers(theirs, index)
        assert found.keys() == expected.keys() == {"depth", "seg"}
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(answers(mine, 0)["seg"], answers(mine, 1)["seg"])
    assert (mine.provider, mine.threads, mine.device_memory_bytes) == ("cpu", 1, None)
    assert mine.start_up_ms > 0
    mine.close()
    theirs.close()


@pytest.mark.golden
def test_torch_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default its convolutions are in TF32 on a GPU; what a user has set is restored."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    session = runtime_class("torch")().prepare(network(), QUICK)
    assert not cudnn.allow_tf32 and not matmul.allow_tf32
    session.close()
    assert cudnn.allow_tf32


@pytest.mark.golden
def test_openvino_tells_what_it_does(file: Path) -> None:
    pytest.importorskip("openvino")
    session = runtime_class("openvino")().prepare(file, QUICK)
    said = session.describe()
    assert said["runtime"].startswith("openvino 20")
    assert (said["provider"], said["precision"], said["streams"]) == ("CPU", "f32", "1")
    assert int(said["executed nodes"]) >= 3


@pytest.mark.abuse
@pytest.mark.parametrize("hint", ["bf16", "f16"])
def test_openvino_in_a_lower_precision_is_refused(file: Path, hint: str) -> None:
    """Asked behind our back, a processor that has it would take it, node by node."""
    ov = pytest.importorskip("openvino")
    from trunkline.bench.runtimes.openvino import require_asked_for

    compiled = ov.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1})
    kinds = {node.get_rt_info()["runtimePrecision"].astype(str) for node in compiled.get_runtime_model().get_ops()}
    if not kinds & {"bf16", "f16"}:
        pytest.skip(f"this processor does not compute in {hint}")
    with pytest.raises(WorkFailed, match="float32 was asked for, and nodes run in"):
        require_asked_for(compiled, QUICK, "two.onnx")
    # A processor without float16 takes bfloat16 where float16 is asked for.
    mine, other = ("float16", "bfloat16") if "f16" in kinds else ("bfloat16", "float16")
    require_asked_for(compiled, replace(QUICK, precision=mine), "two.onnx")
    with pytest.raises(WorkFailed, match=f"{other} was asked for"):
        require_asked_for(compiled, replace(QUICK, precision=other), "two.onnx")


@pytest.mark.abuse
def test_a_precision_that_no_node_has_is_refused(file: Path) -> None:
    """As where a processor lacks it: OpenVINO then computes in float32, without a word."""
    ov = pytest.importorskip("openvino")
    from trunkline.bench.runtimes.openvino import require_asked_for

    compiled = ov.Core().compile_model(
        str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    require_asked_for(compiled, QUICK, "two.onnx")
    with pytest.raises(WorkFailed, match="bfloat16 was asked for, and no node runs in it"):
        require_asked_for(compiled, replace(QUICK, precision="bfloat16"), "two.onnx")


@pytest.mark.abuse
def test_precisions_of_others_are_refused(file: Path) -> None:
    with pytest.raises(InvalidConfig, match=r'runtime "torch" computes in float32, not in bfloat16'):
        runtime_class("torch")().prepare(file, replace(QUICK, precision="bfloat16"))
    with pytest.raises(InvalidConfig, match="bench.precision"):
        replace(QUICK, precision="bf16")


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("devices", "threads", "says"),
    [(["GPU"], 1, "CPU was asked for, and it runs on GPU"), (["CPU"], 2, "1 threads were asked for, and it uses 2")],
)
def test_openvino_elsewhere_is_refused(devices: list[str], threads: int, says: str) -> None:
    from trunkline.bench.runtimes.openvino import require_asked_for

    properties = {"EXECUTION_DEVICES": devices, "INFERENCE_NUM_THREADS": threads}
    model = SimpleNamespace(get_ops=list)
    compiled = SimpleNamespace(get_property=properties.get, get_runtime_model=lambda: model)
    with pytest.raises(WorkFailed, match=says):
        require_asked_for(compiled, QUICK, "m.onnx")


@pytest.mark.abuse
def test_threads_that_there_are_not(file: Path) -> None:
    """OpenVINO would take fewer, without a word."""
    pytest.importorskip("openvino")
    with pytest.raises(WorkFailed, match=r"two\.onnx: OpenVINO: 4096 threads were asked for, and it uses"):
        runtime_class("openvino")().prepare(file, replace(QUICK, threads=4096))


@pytest.mark.abuse
def test_openvino_that_is_not_installed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(WorkFailed, match=r"pip install 'trunkline\[openvino\]'"):
        runtime_class("openvino")().prepare(file, QUICK)


@pytest.mark.abuse
def test_openvino_and_files_that_are_no_model(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    for content in (b"junk", bytes(range(256))):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(InvalidModel, match="bad.onnx"):
            runtime_class("openvino")().prepare(tmp_path / "bad.onnx", QUICK)


def compile_with(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    from torch._dynamo import lookup_backend

    monkeypatch.setattr(torch_compiled, "_inductor", lambda: lookup_backend(backend))


@pytest.mark.golden
def test_the_compiler_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_with(monkeypatch, "eager")
    session = runtime_class("torch-compile")().prepare(network(), QUICK)
    said = session.describe()
    assert (said["execution"], said["compiler"], int(said["compiled operations"]) >= 4) == (
        "compiled",
        "inductor",
        True,
    )
    assert answers(session, 0)["seg"].shape == (1, 2, 16, 16)


@pytest.mark.abuse
def test_a_compiler_that_is_switched_off_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """TORCHDYNAMO_DISABLE makes torch.compile do nothing, without a word."""
    compile_with(monkeypatch, "eager")
    with torch._dynamo.config.patch(disable=True), pytest.raises(WorkFailed, match="unset TORCHDYNAMO_DISABLE"):
        runtime_class("torch-compile")().prepare(network(), QUICK)


@pytest.mark.properties
def test_any_number_of_models_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch gives up after eight pieces of code for one function."""
    compile_with(monkeypatch, "eager")
    for channels in range(1, 11):
        session = runtime_class("torch-compile")().prepare(network(channels), QUICK)
    assert session.describe()["compiled operations"]


@pytest.mark.abuse
def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler\n at a.py")

    monkeypatch.setattr(torch_compiled, "_inductor", lambda: broken)
    with pytest.raises(WorkFailed, match="two_heads: torch.compile cannot compile it: .*no C"):
        runtime_class("torch-compile")().prepare(network(), QUICK)


def recorded(replays: Callable[[Recorded, torch.nn.Module], None]) -> Callable[[], GraphSession]:
    """Return what makes a session of a graph that was recorded on the CPU, where replaying is a function of ours."""

    def made() -> GraphSession:
        opened = open_twin(network(), QUICK, DEFAULT_LIMITS)
        place = opened.images[0].clone()
        with torch.inference_mode():
            results = opened.twin(place)
        graph = Recorded(place, results, lambda: replays(graph, opened.twin))
        return GraphSession(opened.twin, graph, opened, QUICK)

    return made


def replay(graph: Recorded, twin: torch.nn.Module) -> None:
    for name, value in twin(graph.image).items():
        graph.results[name].copy_(value)


@pytest.mark.golden
def test_a_recorded_graph_reads_what_it_is_fed() -> None:
    session = recorded(replay)()
    expected = runtime_class("torch")().prepare(network(), QUICK)
    for index in (1, 3, 0):
        np.testing.assert_array_equal(answers(session, index)["seg"], answers(expected, index)["seg"])
    assert session.region.startswith("one graph of one forward")


@pytest.mark.abuse
def test_a_graph_that_replays_old_results_is_refused() -> None:
    with pytest.raises(WorkFailed, match="computes something else than the module"):
        recorded(lambda *_: None)()


@pytest.mark.golden
def test_recording_is_asked_of_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime hands over the model and its first image; that torch records it on a GPU is not tested here."""
    seen: list[Any] = []

    def record(forward: torch.nn.Module, image: torch.Tensor) -> Recorded:
        seen.append(image.shape)
        with torch.inference_mode():
            results = forward(image)
        graph = Recorded(image.clone(), results, lambda: replay(graph, forward))
        return graph

    monkeypatch.setattr(cuda_graph, "_record", record)
    monkeypatch.setattr(cuda_graph, "open_twin", lambda model, settings, limits: open_twin(model, QUICK, limits))
    monkeypatch.setattr("torch.cuda.synchronize", lambda: None)
    monkeypatch.setattr("torch.cuda.Event", FakeEvents())
    session = runtime_class("cuda-graph")().prepare(network(), replace(QUICK, provider="cuda"))
    assert seen == [(1, 3, 16, 16)]
    assert session.device_ms == 2.5
    plain = runtime_class("torch")().prepare(network(), QUICK)
    plain.run()
    assert plain.device_ms is None
