"""Abuse tests of the TensorRT door: what is missing is said precisely, and nothing is written."""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.export.formats import tensorrt as backend
from trunkline.export.formats.onnx_model import write_onnx

if TYPE_CHECKING:
    from tests.export.conftest import Nets


@pytest.fixture
def model(nets: type[Nets], tmp_path: Path) -> Path:
    return write_onnx(nets.columns(tied=True), tmp_path / "m.onnx")


def importing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Callable[..., Any]:
    original = builtins.__import__

    def hooked(name: str, *args: object, **kwargs: object) -> None:
        if name == "tensorrt":
            raise error
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", hooked)


@pytest.mark.abuse
def test_missing_package_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, ModuleNotFoundError("No module named 'tensorrt'"))
    with pytest.raises(WorkFailed, match="pip install tensorrt"):
        backend.build_engine(model)
    assert [file.name for file in model.parent.iterdir()] == ["m.onnx"]


@pytest.mark.abuse
@pytest.mark.parametrize("kind", [ImportError, OSError])
def test_missing_library_is_named(model: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    importing(monkeypatch, kind("libnvonnxparser.so.11: cannot open shared object file"))
    with pytest.raises(WorkFailed, match="libnvonnxparser"):
        backend.build_engine(model)


@pytest.mark.abuse
def test_missing_gpu_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "require_tensorrt", lambda: types.SimpleNamespace(__version__="11.4.0"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WorkFailed, match="no NVIDIA GPU"):
        backend.build_engine(model)


@pytest.mark.abuse
def test_impossible_batch_is_refused(model: Path) -> None:
    with pytest.raises(InvalidConfig):
        backend.build_engine(model, max_batch=0)


@pytest.mark.properties
def test_key_covers_every_dependency(model: Path) -> None:
    base = {"model_sha256": "m", "tensorrt": "11", "gpu": "g", "driver": "d", "max_batch": 1, "tf32": False}
    changed = {**base, "model_sha256": "n"}, {**base, "tensorrt": "10"}, {**base, "gpu": "h"}, {**base, "driver": "e"}
    more = {**base, "max_batch": 2}, {**base, "tf32": True}
    keys = [backend.EngineKey(**fields) for fields in (base, *changed, *more)]
    assert len({key.digest for key in keys}) == 7
    assert keys[0].timing_name == keys[1].timing_name == keys[5].timing_name != keys[2].timing_name
