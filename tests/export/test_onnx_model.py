"""Golden, property and abuse tests of the written file: header, names, bytes, failure."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from trunkline.errors import InvalidConfig, InvalidModel, WorkFailed
from trunkline.export.exporter import export_model
from trunkline.export.formats import onnx_model
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.export.provenance import Provenance, sha256_of
from trunkline.files import staging
from trunkline.graph.fillers import FILLER_KEY
from trunkline.graph.graph import SOURCE_KEY, TASKS_KEY, array_of

HOSTILE = ["<script>alert(1)</script>", "\x1b[31mred\x1b[0m", "\u202eright to left", "a" * 10_000, "a b/c:0", "--flag"]


# golden: what the file says


@pytest.mark.golden
def test_header_batch_axis_outputs_and_tasks(nets: Any, tmp_path: Path) -> None:
    path = write_onnx(nets.columns(tied=False), tmp_path / "model.onnx")
    proto = onnx.load(path)
    assert (proto.ir_version, proto.producer_name) == (8, "trunkline")
    assert [(item.domain, item.version) for item in proto.opset_import] == [("", 18)]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert [output.name for output in proto.graph.output] == ["depth", "seg"]
    assert all(output.type.tensor_type.shape.dim[0].dim_param == "N" for output in proto.graph.output)
    tasks = {node.name: {prop.key: prop.value for prop in node.metadata_props} for node in proto.graph.node}
    assert tasks["block0"][TASKS_KEY] == "depth,seg"


@pytest.mark.golden
def test_provenance_without_paths_and_traces(nets: Any, tmp_path: Path) -> None:
    graph = nets.columns(tied=True)
    node = graph.node("block0")
    node.metadata_props.update(
        {SOURCE_KEY: "/home/ann/nets/deeplab.prototxt:12", "pkg.torch.stack_trace": "/home/ann/x.py"}
    )
    node.doc_string = graph.model.doc_string = graph.model.graph.doc_string = "made in /home/ann"
    graph.model.metadata_props["exported_at"] = "/home/ann today"
    graph.input.doc_string = node.outputs[0].doc_string = "/home/ann"
    provenance = Provenance("resnet34", sha256_of("plan"), sha256_of("config"), (0.485, 0.456, 0.406), (0.2, 0.2, 0.2))
    path = write_onnx(graph, tmp_path / "model.onnx", metadata=provenance.to_metadata())
    assert b"/home" not in path.read_bytes() and str(tmp_path).encode() not in path.read_bytes()
    found = {prop.key: prop.value for prop in onnx.load(path).metadata_props}
    assert list(found) == sorted(found)
    assert found["trunkline.backbone"] == "resnet34"
    assert found["trunkline.plan_sha256"] == hashlib.sha256(b"plan").hexdigest()
    assert json.loads(found["trunkline.normalisation"])["mean"] == [0.485, 0.456, 0.406]
    assert "trunkline.version" in found and "exported_at" not in found
    props = {node.name: {prop.key: prop.value for prop in node.metadata_props} for node in onnx.load(path).graph.node}
    assert props["block0"][SOURCE_KEY] == "deeplab.prototxt:12"


@pytest.mark.golden
def test_weights_are_assigned_by_name(nets: Any, tmp_path: Path) -> None:
    graph = nets.columns(tied=False, own=0)
    weights = {name: array_of(value) * 2 for name, value in graph.initializers.items()}
    weights["block0.bn.var"] = weights["block0.bn.var"].astype(np.float64)
    path = write_onnx(graph, tmp_path / "model.onnx", weights=weights, fold=False, reuse=False)
    written = {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    assert written.keys() == weights.keys()
    for name, array in written.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, weights[name].astype(np.float32))


@pytest.mark.golden
def test_lazy_weights_are_drawn(nets: Any, tmp_path: Path) -> None:
    """Lazy weights are drawn, and their recipe is not written."""
    net = nets.Net()
    x = net.image("image", (3, 8, 8))
    weight = net.weight("conv.weight", (4, 3, 3, 3), nets.Filler())
    path = write_onnx(net.finish([net.conv(x, [weight], "conv")]), tmp_path / "model.onnx")
    assert FILLER_KEY.encode() not in path.read_bytes()
    stored = onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    assert np.array_equal(stored, nets.Filler().draw((4, 3, 3, 3), "conv.weight"))


@pytest.mark.golden
def test_without_reuse_equal_weights_stay_apart(nets: Any, tmp_path: Path) -> None:
    """Without reuse, weights that only start equal stay apart, because they will be trained."""
    net = nets.Net()
    x = net.image("image", (3, 8, 8))
    for name in ("a", "b"):
        ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
        parts = [
            net.tensor(f"{name}.{part}", array) for part, array in zip("sbmv", (ones, zeros, zeros, ones), strict=True)
        ]
        x = net.bn(x, parts, f"{name}.bn")
    graph = net.finish([x])
    apart = onnx.load(write_onnx(graph, tmp_path / "apart.onnx", fold=False, reuse=False))
    assert len(apart.graph.initializer) == 8
    merged = onnx.load(write_onnx(graph, tmp_path / "merged.onnx", fold=False))
    assert sorted(item.name for item in merged.graph.initializer) == ["a.b", "a.m", "a.s", "a.v"], (
        "roles are kept apart"
    )


# properties: the file is a function of its inputs

SCRIPT = """
import sys, importlib.util
spec = importlib.util.spec_from_file_location("nets", sys.argv[1])
nets = importlib.util.module_from_spec(spec); sys.modules["nets"] = nets; spec.loader.exec_module(nets)
from trunkline.export.formats.onnx_model import write_onnx
metadata = {key: "x" for key in set("zyxabc")}
write_onnx(nets.columns(tied=False, tasks=("b", "a", "c")), sys.argv[2], metadata=metadata)
"""


@pytest.mark.properties
def test_bytes_depend_on_nothing_else(tmp_path: Path) -> None:
    """The bytes of a file do not depend on hash seed, folder, locale or time zone."""
    conftest = str(__import__("pathlib").Path(__file__).with_name("conftest.py"))
    hashes = set()
    for seed, zone in (("0", "UTC"), ("1", "Asia/Tokyo"), ("4242", "America/Lima")):
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", SCRIPT, conftest, str(folder / "m.onnx")], env=environment, check=True)
        hashes.add(hashlib.sha256((folder / "m.onnx").read_bytes()).hexdigest())
    assert len(hashes) == 1


@pytest.mark.golden
def test_second_export_replaces_the_first(nets: Any, tmp_path: Path) -> None:
    first = write_onnx(nets.columns(tied=True), tmp_path / "m.onnx").read_bytes()
    again = write_onnx(nets.columns(tied=True), tmp_path / "m.onnx").read_bytes()
    other = write_onnx(nets.columns(tied=True, shared=1), tmp_path / "m.onnx").read_bytes()
    assert first == again != other
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.golden
def test_too_many_weights_go_beside_it(nets: Any, tmp_path: Path) -> None:
    """Weights that are too many for one file go into a second one beside it."""
    graph = nets.columns(tied=False)
    result = export_model(graph, None, tmp_path / "big.onnx", external_bytes=1000, parity_inputs=8)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["big.onnx", "big.onnx.data"]
    assert result.file_bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert result.parity.passed
    small = onnx.load(write_onnx(graph, tmp_path / "small.onnx"))
    large = onnx.load(result.path)
    assert [item.name for item in large.graph.initializer] == [item.name for item in small.graph.initializer]
    for one, other in zip(large.graph.initializer, small.graph.initializer, strict=True):
        assert np.array_equal(onnx.numpy_helper.to_array(one), onnx.numpy_helper.to_array(other))


# abuse


@pytest.mark.abuse
def test_all_weight_faults_are_reported_at_once(nets: Any, tmp_path: Path) -> None:
    graph = nets.columns(tied=False, own=0)
    weights = {name: array_of(value) for name, value in graph.initializers.items()}
    del weights["block0.weight"], weights["block1.bn.var"]
    weights["block0.wieght"] = np.zeros(1, np.float32)
    weights["block1.weight"] = np.zeros((1, 2), np.float32)
    weights["block1.bn.mean"] = np.full(4, np.nan, np.float32)
    with pytest.raises(InvalidModel) as caught:
        write_onnx(graph, tmp_path / "m.onnx", weights=weights)
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    for part in ("block0.weight", "block1.bn.var", 'did you mean "block0.weight"?', "[1, 2]", "NaN or infinity"):
        assert part in text
    assert not list(tmp_path.iterdir())


@pytest.mark.abuse
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_escaped_in_messages(nets: Any, tmp_path: Path, name: str) -> None:
    """Hostile names survive the export, and are escaped in messages."""
    net = nets.Net(name)
    x = net.image(f"{name}.in", (3, 8, 8))
    weights = [net.draw(f"{name}.weight", (4, 3, 3, 3))]
    graph = net.finish(
        [net.bn(net.conv(x, weights, f"{name}.conv"), net.bn_weights(f"{name}.bn", 4), name, tasks=name)]
    )
    result = export_model(graph, None, tmp_path / "m.onnx", metadata={name: name}, parity_inputs=8)
    proto = onnx.load(result.path)
    assert proto.graph.output[0].name == name
    assert {item.name for item in proto.graph.initializer} == {f"{name}.weight", f"{name}.bias"}
    table = result.parity.table()
    assert "\x1b" not in table and "\u202e" not in table and len(table) < 500
    with pytest.raises(InvalidModel) as caught:
        write_onnx(graph, tmp_path / "m.onnx", weights={name: np.zeros(1)})
    assert "\x1b" not in str(caught.value) and "\u202e" not in str(caught.value) and len(str(caught.value)) < 2000


@pytest.mark.abuse
@pytest.mark.parametrize("step", ["write_unchecked", "check_file"])
def test_failure_leaves_only_the_old_file(
    nets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A failure leaves the old file and nothing else."""
    path = write_onnx(nets.columns(tied=True), tmp_path / "m.onnx")
    before = path.read_bytes()

    def fail(*args: object, **kwargs: object) -> None:
        raise WorkFailed("no space")

    monkeypatch.setattr(onnx_model, step, fail)
    with pytest.raises(WorkFailed):
        write_onnx(nets.columns(tied=True, shared=1), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.abuse
def test_interrupt_leaves_nothing(nets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(staging.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_onnx(nets.columns(tied=True), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.abuse
def test_full_disk_is_reported(nets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ir, "save", full)
    with pytest.raises(WorkFailed, match="No space left"):
        write_onnx(nets.columns(tied=True), tmp_path / "m.onnx", external_bytes=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.abuse
def test_invalid_result_is_not_delivered(nets: Any, tmp_path: Path) -> None:
    graph = nets.columns(tied=True)
    graph.node("block0").attributes["strides"] = ir.AttrInt64s("strides", [1, 1, 1])
    with pytest.raises(WorkFailed, match="not valid ONNX"):
        write_onnx(graph, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.abuse
def test_unwritable_path_is_refused_first(nets: Any, tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "m.onnx", tmp_path):
        with pytest.raises(InvalidConfig):
            write_onnx(nets.columns(tied=True), path)
