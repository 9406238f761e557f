"""TensorRT engines, with a stand-in for TensorRT: how it is called, which engines are trusted, what is missing."""

from __future__ import annotations

import builtins
import json
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from commands import invoke, refused
from documented_json import check_keys, only_json
from fake_tensorrt import FakeTensorRT

from trunkline.errors import InvalidConfig, InvalidModel, WorkFailed
from trunkline.export.engine import build as engine_build
from trunkline.export.engine.build import Engine, engine_for
from trunkline.export.engine.key import EngineKey, GpuFacts, gpu_here, hash_model
from trunkline.export.engine.options import EngineOptions
from trunkline.export.engine.size_range import SizeRange
from trunkline.export.engine.tensorrt_module import require_tensorrt
from trunkline.export.formats.onnx_model import write_onnx

if TYPE_CHECKING:
    from tests.export.conftest import Nets

H200 = GpuFacts("NVIDIA H200", "600.10", "9.0")


@pytest.fixture
def model(nets: type[Nets], tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return write_onnx(nets.columns(tied=True), tmp_path / "models" / "m.onnx")


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeTensorRT]:
    """TensorRT and a GPU, as far as the builder can see, and a key of this test's own."""
    fake = FakeTensorRT()
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setattr(engine_build, "gpu_here", lambda: H200)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return fake


def seal_file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "trunkline" / "engine-seal"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def shapes_of(model: Path) -> tuple[str, tuple[int, ...]]:
    image = onnx.load(model).graph.input[0]
    return image.name, tuple(axis.dim_value for axis in image.type.tensor_type.shape.dim[1:])


@pytest.mark.golden
def test_how_tensorrt_is_asked(trt: FakeTensorRT, model: Path) -> None:
    """One strongly typed network, no TF32, a profile from the smallest batch to the largest, a timing cache."""
    engine = engine_for(model, EngineOptions(SizeRange(1, 4, 8)))
    name, rest = shapes_of(model)
    assert trt.calls == [
        ("create_network", 2),
        ("parse", "m.onnx"),
        ("clear_flag", "TF32"),
        ("profile", {name: ((1, *rest), (4, *rest), (8, *rest))}),
        ("create_timing_cache", b""),
        ("set_timing_cache", False),
        ("build",),
    ]
    assert engine.built_s is not None
    assert files(model.parent) == sorted(
        ["m.onnx", engine.path.name, f"{engine.path.name}.json", engine.key.timing_name]
    )


@pytest.mark.golden
def test_every_option_is_passed_on(trt: FakeTensorRT, model: Path) -> None:
    options = EngineOptions(workspace_bytes=2**31, version_compatible=True, hardware="ampere-plus", tf32=True, level=4)
    engine_for(model, options)
    assert ("clear_flag", "TF32") not in trt.calls
    assert [call for call in trt.calls if call[0] not in ("create_network", "parse", "profile", "build")][:4] == [
        ("set_flag", "VERSION_COMPATIBLE"),
        ("hardware_compatibility_level", "AMPERE_PLUS"),
        ("set_memory_pool_limit", "WORKSPACE", 2**31),
        ("builder_optimization_level", 4),
    ]


@pytest.mark.golden
def test_no_precision_flag_is_ever_asked_for(trt: FakeTensorRT, model: Path) -> None:
    """TensorRT 11 has none: the stand-in lacks them too, and would raise."""
    for version in ("10.13.2", "11.4.0"):
        trt.__version__ = version
        engine_for(model)
    assert not {"FP16", "INT8", "BF16"} & {str(part) for call in trt.calls for part in call}


@pytest.mark.golden
def test_an_engine_is_built_once(trt: FakeTensorRT, model: Path) -> None:
    first = engine_for(model)
    calls = len(trt.calls)
    again = engine_for(model)
    assert (again.path, again.plan, again.built_s) == (first.path, first.plan, None)
    assert len(trt.calls) == calls
    other = engine_for(model, EngineOptions(SizeRange(1, 2, 2)))
    assert other.path != first.path
    # What one build has timed, the next need not time.
    assert ("create_timing_cache", b"times") in trt.calls[calls:]


@pytest.mark.golden
def test_times_of_another_device_are_measured_anew(trt: FakeTensorRT, model: Path) -> None:
    engine_for(model)
    trt.takes_cache = False
    engine_for(model, EngineOptions(SizeRange(1, 2, 2)))
    assert [call[1] for call in trt.calls if call[0] == "create_timing_cache"] == [b"", b"times", b""]


@pytest.mark.properties
def test_the_key_covers_every_dependency(model: Path) -> None:
    options = EngineOptions()
    base = EngineKey.of(model, "11.4", H200, options)
    keys = [base, EngineKey.of(model, "11.5", H200, options)]
    keys += [
        EngineKey.of(model, "11.4", replace(H200, **{part: "x"}), options) for part in ("name", "driver", "capability")
    ]
    changes: list[dict[str, Any]] = [
        {"batch": SizeRange(1, 2, 2)},
        {"batch": SizeRange(1, 1, 2)},
        {"sizes": {"width": SizeRange(1, 2, 3)}},
        {"workspace_bytes": 1},
        {"version_compatible": True},
        {"hardware": "ampere-plus"},
        {"tf32": True},
        {"level": 3},
    ]
    assert {key for change in changes for key in change} == set(options.to_json())
    keys += [EngineKey.of(model, "11.4", H200, replace(options, **change)) for change in changes]
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    keys.append(EngineKey.of(model, "11.4", H200, options))
    assert len({key.digest for key in keys}) == len(keys)
    for key in keys[1:]:
        assert len(base.differences(key)) == 1
    assert base.timing_name == keys[-1].timing_name
    assert len({key.timing_name for key in keys[:4]}) == 4


@pytest.mark.properties
def test_weights_beside_a_file_are_in_its_key(tmp_path: Path) -> None:
    external(tmp_path)
    before = hash_model(tmp_path / "m.onnx")
    content = bytearray((tmp_path / "w.bin").read_bytes())
    content[5] ^= 1
    (tmp_path / "w.bin").write_bytes(content)
    assert hash_model(tmp_path / "m.onnx") != before


def external(folder: Path) -> Path:
    """A model whose weights are in ``w.bin``."""
    make = onnx.helper
    x = make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 8, 8])
    y = make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    graph = make.make_graph([make.make_node("Conv", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    proto = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=8)
    onnx.save(proto, folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    return folder / "m.onnx"


@pytest.mark.abuse
@pytest.mark.parametrize("how", ["gone", "link", "hard link", "up", "absolute"])
def test_weights_from_elsewhere_are_refused(trt: FakeTensorRT, tmp_path: Path, how: str) -> None:
    """TensorRT's parser follows a link; an engine would carry what it points to."""
    (tmp_path / "inside").mkdir()
    model, weights, secret = external(tmp_path / "inside"), tmp_path / "inside" / "w.bin", tmp_path / "secret.bin"
    weights.rename(secret)
    if how == "link":
        weights.symlink_to(secret)
    if how == "hard link":
        weights.hardlink_to(secret)
    if how in ("up", "absolute"):
        proto = onnx.load(model, load_external_data=False)
        entries = {entry.key: entry for entry in proto.graph.initializer[0].external_data}
        entries["location"].value = "../secret.bin" if how == "up" else str(secret)
        model.write_bytes(proto.SerializeToString())
    said = {"gone": "is not there", "link": "is a link", "hard link": "several names"}.get(how, "outside its folder")
    refused(invoke("engine", model), "m.onnx: its data file", said)
    assert not trt.calls


@pytest.fixture
def built(trt: FakeTensorRT, model: Path) -> Engine:
    return engine_for(model)


def manifest(engine: Engine) -> Path:
    return Path(f"{engine.path}.json")


@pytest.mark.abuse
def test_a_changed_engine_is_refused(built: Engine, model: Path) -> None:
    content = bytearray(built.path.read_bytes())
    content[len(content) // 2] ^= 1
    built.path.write_bytes(content)
    with pytest.raises(InvalidModel, match=r"m\.[0-9a-f]+\.engine: it was changed after it was built\n.*is code"):
        engine_for(model)


@pytest.mark.abuse
def test_an_engine_without_a_manifest_is_refused(built: Engine, model: Path) -> None:
    manifest(built).unlink()
    with pytest.raises(InvalidModel, match="no manifest vouches for it"):
        engine_for(model)


@pytest.mark.abuse
@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"{", b"\xff", b"[" * 100_000, b'{"format": "trunkline-engine"}']
)
def test_a_manifest_of_another_form_is_refused(built: Engine, model: Path, content: bytes) -> None:
    manifest(built).write_bytes(content)
    with pytest.raises(InvalidModel, match="its manifest"):
        engine_for(model)


@pytest.mark.abuse
def test_a_manifest_from_elsewhere_is_refused(built: Engine, model: Path, tmp_path: Path) -> None:
    """Right in every word, and sealed on another machine."""
    seal_file(tmp_path).unlink()
    with pytest.raises(InvalidModel, match="not written by you on this machine"):
        engine_for(model)


@pytest.mark.abuse
@pytest.mark.parametrize("part", ["sha256", "key", "seal"])
def test_a_manifest_that_was_edited_is_refused(built: Engine, model: Path, part: str) -> None:
    content = json.loads(manifest(built).read_text())
    content[part] = {**content["key"], "gpu": "A100"} if part == "key" else "0" * 64
    manifest(built).write_text(json.dumps(content))
    with pytest.raises(InvalidModel, match="not written by you on this machine"):
        engine_for(model)


@pytest.mark.abuse
def test_an_engine_under_another_name_is_refused(built: Engine, trt: FakeTensorRT, model: Path) -> None:
    """Ours, and for another case: the message says for which."""
    other = engine_for(model, EngineOptions(SizeRange(1, 2, 2)))
    other.path.replace(built.path)
    manifest(other).replace(manifest(built))
    with pytest.raises(InvalidModel, match=r"built for another case: options\.batch 1,2,2 instead of 1,1,1"):
        engine_for(model)


@pytest.mark.abuse
def test_another_driver_builds_another_engine(
    built: Engine, trt: FakeTensorRT, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_build, "gpu_here", lambda: replace(H200, driver="601.0"))
    again = engine_for(model)
    assert again.built_s is not None and again.path != built.path


@pytest.mark.abuse
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_key_that_others_can_read_is_refused(built: Engine, model: Path, tmp_path: Path) -> None:
    assert seal_file(tmp_path).stat().st_mode & 0o777 == 0o600
    seal_file(tmp_path).chmod(0o644)
    with pytest.raises(WorkFailed, match="others may read or write the key"):
        engine_for(model)
    seal_file(tmp_path).chmod(0o600)
    seal_file(tmp_path).write_bytes(b"short")
    with pytest.raises(WorkFailed, match="damaged"):
        engine_for(model)


@pytest.mark.abuse
def test_what_the_parser_refuses_is_named(trt: FakeTensorRT, model: Path) -> None:
    trt.refuses = "Unsupported operator\x1b[31m"
    with pytest.raises(WorkFailed, match=r'm\.onnx: DeformConv "conv7": Unsupported operator') as caught:
        engine_for(model)
    assert "\x1b" not in str(caught.value)
    assert files(model.parent) == ["m.onnx"]


@pytest.mark.abuse
def test_an_engine_that_is_not_built_leaves_nothing(trt: FakeTensorRT, model: Path) -> None:
    trt.builds = False
    with pytest.raises(WorkFailed, match="TensorRT built no engine: no kernel for conv7"):
        engine_for(model)
    assert files(model.parent) == ["m.onnx"]


def free(path: Path) -> Path:
    """A model whose height and width are free too, and an input whose second axis has no name."""
    make = onnx.helper
    x = make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, "height", "width"])
    z = make.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["N", None])
    y = make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = make.make_graph([make.make_node("Relu", ["x"], ["y"])], "g", [x, z], [y])
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.golden
def test_ranges_of_free_sizes(trt: FakeTensorRT, tmp_path: Path) -> None:
    sizes = {"height": SizeRange(32, 64, 128), "x:3": SizeRange(64, 64, 64), "z:1": SizeRange(1, 2, 3)}
    engine_for(free(tmp_path / "free.onnx"), EngineOptions(SizeRange(2, 2, 4), sizes))
    profile = next(call[1] for call in trt.calls if call[0] == "profile")
    assert profile == {
        "x": ((2, 3, 32, 64), (2, 3, 64, 64), (4, 3, 128, 64)),
        "z": ((2, 1), (2, 2), (4, 3)),
    }


@pytest.mark.abuse
def test_sizes_that_are_missing_or_meant_for_nothing(trt: FakeTensorRT, tmp_path: Path) -> None:
    sizes = {"heigth": SizeRange(), "x:1": SizeRange(3, 3, 3)}
    with pytest.raises(InvalidConfig) as caught:
        engine_for(free(tmp_path / "free.onnx"), EngineOptions(sizes=sizes))
    text = str(caught.value)
    for part in ("axis 2 is not known", "--size width=LEAST", "--size z:1=LEAST", 'did you mean "height"', '"x:1"'):
        assert part in text, text
    assert len(caught.value.problems) == 5


@pytest.mark.abuse
@pytest.mark.parametrize("sizes", [(0, 1, 1), (2, 1, 3), (1, 3, 2)])
def test_impossible_ranges_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidConfig, match="no range of sizes"):
        SizeRange(*sizes)


@pytest.mark.abuse
@pytest.mark.parametrize("options", [{"workspace_bytes": 0}, {"level": 6}, {"hardware": "turing"}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        EngineOptions(**options)


def importing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    original = builtins.__import__

    def hooked(name: str, *args: object, **kwargs: object) -> object:
        if name == "tensorrt":
            raise error
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", hooked)


@pytest.mark.abuse
def test_a_missing_package_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, ModuleNotFoundError("No module named 'tensorrt'"))
    refused(invoke("engine", model), "WorkFailed", "pip install tensorrt", code=3)
    assert files(model.parent) == ["m.onnx"]


@pytest.mark.abuse
@pytest.mark.parametrize("kind", [ImportError, OSError])
def test_a_missing_library_is_named(model: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    importing(monkeypatch, kind("libnvonnxparser.so.11: cannot open shared object file"))
    with pytest.raises(WorkFailed, match="libnvonnxparser"):
        engine_for(model)


@pytest.mark.abuse
def test_an_old_tensorrt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, is_old in (("8.6.1", True), ("10.12.0.36", True), ("10.13.2.6", False), ("11.4.0.106", False)):
        monkeypatch.setitem(sys.modules, "tensorrt", types.SimpleNamespace(__version__=version))
        if is_old:
            with pytest.raises(WorkFailed, match=r"older than 10\.13"):
                require_tensorrt()
        else:
            assert require_tensorrt().__version__ == version


@pytest.mark.abuse
def test_a_missing_gpu_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorRT())
    monkeypatch.setenv("PATH", "")
    refused(invoke("engine", model), "no NVIDIA GPU", "--check", code=3)


@pytest.mark.golden
def test_what_the_driver_says_of_the_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 600.10, 9.0'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert gpu_here() == H200
    tool.write_text("#!/bin/sh\necho 'no devices'\n")
    with pytest.raises(WorkFailed, match="nvidia-smi answers"):
        gpu_here()


@pytest.mark.golden
def test_the_command_builds_an_engine(trt: FakeTensorRT, model: Path) -> None:
    asked = ("--batch", "1,4,8", "--workspace", "2GiB", "--hardware", "same-compute-capability", "--version-compatible")
    content = only_json(invoke("engine", model, *asked, "--json"))
    key = content["engine"]["key"]
    assert (key["gpu"], key["tensorrt"], key["options"]["batch"]) == ("NVIDIA H200", "11.4.0.106", "1,4,8")
    assert key["options"]["workspace_bytes"] == 2**31
    check_keys("engine", content)
    said = invoke("engine", model, *asked)
    assert said.code == 0
    assert "was there" in said.out and "driver 600.10" in said.out


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--batch", "x"], ("--batch", "1,4,8")),
        (["--batch", "4,1"], ("no range",)),
        (["--size", "width"], ("--size", "NAME=LEAST")),
        (["--size", "w=1", "--size", "w=2"], ("two ranges",)),
        (["--size", "w=1"], ('no input has a free axis "w"',)),
        (["--workspace", "lots"], ("--workspace", "2GiB")),
        (["--level", "9"], ("engine.level",)),
        (["--hardware", "turing"], ("--hardware",)),
    ],
)
def test_wrong_arguments_are_refused(
    trt: FakeTensorRT, model: Path, arguments: list[str], fragments: tuple[str, ...]
) -> None:
    refused(invoke("engine", model, *arguments), *fragments)
    refused(invoke("engine", "nope.onnx"), "nope.onnx", "no such file")
