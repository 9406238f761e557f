"""The TensorRT runtime, with a stand-in whose engines run in onnxruntime: what it feeds, reads and refuses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest
import torch
from fake_cuda_events import FakeEvents
from fake_tensorrt import FakeContext, FakeTensorRT

from trunkline.bench.footprint_process import footprint_here
from trunkline.bench.runtimes import tensorrt_engine
from trunkline.bench.runtimes.registry import runtime_class, runtimes
from trunkline.bench.settings import Settings
from trunkline.errors import WorkFailed
from trunkline.export.engine import build as engine_build
from trunkline.export.engine.key import GpuFacts
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph

SETTINGS = Settings(batch=2, provider="cuda", inputs=3)


def network() -> Graph:
    builder = GraphBuilder("two")
    image = builder.image("image", (3, 8, 8))
    weight = builder.tensor("w", np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32))
    conv = builder.node("Conv", [image, weight], name="conv", outputs=["seg"])
    return builder.finish([conv, builder.node("Sigmoid", [conv], name="edge", outputs=["edges"])])


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeTensorRT]:
    """TensorRT whose GPU is the processor."""
    fake = FakeTensorRT()
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setattr(engine_build, "gpu_here", lambda: GpuFacts("H200", "600", "9.0"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(tensorrt_engine, "_device", lambda: torch.device("cpu"))
    stream = SimpleNamespace(cuda_stream=7, synchronize=lambda: fake.calls.append(("synchronised",)))
    monkeypatch.setattr(tensorrt_engine, "_stream", lambda device: stream)
    monkeypatch.setattr("torch.cuda.Event", FakeEvents(fake.calls))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return fake


@pytest.mark.parity
@pytest.mark.parametrize("is_file", [True, False])
def test_an_engine_is_fed_and_read(trt: FakeTensorRT, tmp_path: Path, is_file: bool) -> None:
    model: Path | Graph = network()
    if is_file:
        model = tmp_path / "two.onnx"
        ir.save(network().model, model)
    session = runtime_class("tensorrt")().prepare(model, SETTINGS)
    plain = runtime_class("onnxruntime")().prepare(model, replace(SETTINGS, provider="cpu"))
    for index in (1, 2, 0):
        for each in (session, plain):
            each.feed(index)
            each.run()
        found, expected = session.outputs(), plain.outputs()
        assert found.keys() == expected.keys() == {"seg", "edges"}
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)
    outputs = sum(value.nbytes for value in expected.values())
    assert session.device_memory_bytes > 1000 + outputs
    assert session.describe()["runtime"] == "tensorrt 11.4.0.106"
    assert (session.provider, session.describe()["provider"]) == ("cuda", "H200")
    # Every run is waited for: the first one, and the three above.
    assert trt.names().count("synchronised") == 4
    # And timed by the device's own clock, on the stream that it ran on.
    assert trt.names()[-3:] == ["event", "event", "synchronised"] and session.device_ms == 2.5
    assert all(call[1].cuda_stream == 7 for call in trt.calls if call[0] == "event")
    profile = next(call[1] for call in trt.calls if call[0] == "profile")
    assert set(profile["image"]) == {(2, 3, 8, 8)}
    session.close()


def no_such_type() -> None:
    raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")


@pytest.mark.abuse
def test_what_does_not_load_or_run_is_an_error(
    trt: FakeTensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt.loads = False
    with pytest.raises(WorkFailed, match="two: TensorRT cannot load the engine"):
        runtime_class("tensorrt")().prepare(network(), SETTINGS)
    trt.loads = True
    monkeypatch.setattr(FakeContext, "execute_async_v3", lambda self, stream: False)
    with pytest.raises(WorkFailed, match="two: TensorRT's context did not run"):
        runtime_class("tensorrt")().prepare(network(), SETTINGS)
    monkeypatch.setattr(FakeContext, "set_input_shape", lambda self, name, shape: False)
    with pytest.raises(WorkFailed, match=r"does not take \(2, 3, 8, 8\)"):
        runtime_class("tensorrt")().prepare(network(), SETTINGS)
    monkeypatch.setattr(FakeContext, "set_input_shape", lambda self, name, shape: True)
    monkeypatch.setattr(FakeContext, "get_tensor_shape", lambda self, name: (-1, 4))
    with pytest.raises(WorkFailed, match="a size that only a run tells"):
        runtime_class("tensorrt")().prepare(network(), SETTINGS)
    monkeypatch.setattr(FakeContext, "get_tensor_shape", lambda self, name: (2, 4))
    monkeypatch.setattr(FakeTensorRT, "nptype", lambda self, dtype: no_such_type())
    with pytest.raises(WorkFailed, match='output "seg" has a type that numpy lacks'):
        runtime_class("tensorrt")().prepare(network(), SETTINGS)


@pytest.mark.golden
def test_device_memory_of_several_models(trt: FakeTensorRT, tmp_path: Path) -> None:
    """Engines each have their own, and add up; torch tells that of the process, once."""
    ir.save(network().model, tmp_path / "two.onnx")
    request = {"runtime": "tensorrt", "settings": replace(SETTINGS, input_size=None).to_json(), "limits": {}}
    one, two = (footprint_here({**request, "models": [str(tmp_path / "two.onnx")] * count}) for count in (1, 2))
    assert one["device_memory_bytes"] and two["device_memory_bytes"] == 2 * one["device_memory_bytes"]
    assert [name for name, kind in runtimes().items() if kind.one_allocator] == ["cuda-graph", "torch", "torch-compile"]


@pytest.mark.abuse
def test_tensorrt_without_torch_for_a_gpu(trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(WorkFailed, match="torch finds no GPU"):
        runtime_class("tensorrt")().prepare(network(), SETTINGS)
