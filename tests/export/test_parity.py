"""Parity tests: right files pass, every seeded defect is found, at the right node."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from trunkline.graph.graph import Graph

pytest.importorskip("onnxruntime")

from parameters import parameter_count

from trunkline.errors import InvalidConfig, ParityFailure, WorkFailed
from trunkline.export import exporter
from trunkline.export.count import count_file
from trunkline.export.exporter import export_model
from trunkline.export.formats.onnx_model import finished
from trunkline.export.parity.check import check_parity
from trunkline.export.parity.locate import locate
from trunkline.export.parity.probes import probes
from trunkline.export.parity.reference import Reference
from trunkline.export.parity.tolerance import Errors, measure, with_torch
from trunkline.graph.cost import graph_cost
from trunkline.twins.twin import Twin

if TYPE_CHECKING:
    from tests.export.conftest import Nets


def proto_of(graph: Graph, **options: object) -> onnx.ModelProto:
    proto = ir.to_proto(finished(graph, **options))
    proto.graph.ClearField("value_info")
    return proto


def varied(nets: type[Nets], seed: int = 0) -> Graph:
    """A net with every kind of node the defects below touch, and a shortcut, a shared trunk and two tasks."""
    net = nets.Net(seed=seed)
    x = net.image("image", (3, 17, 19))
    x = net.block(x, "stem", 6)
    x = net.node(
        "MaxPool",
        [x],
        name="pool",
        attributes={"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 0, 0], "ceil_mode": 0},
    )
    x = net.tagged("Add", [net.block(x, "left", 6), x], "sum", "", {})
    y = net.conv(x, net.weights("square", (6, 6, 1, 1), bias=True), "square")
    y = net.node("Softmax", [y], name="softmax", attributes={"axis": 1})
    y = net.node("Concat", [x, y], name="concat", attributes={"axis": 1})
    down = net.conv(y, net.weights("wide", (12, 12, 3, 3)), "wide", strides=[2, 2])
    norm = net.bn(
        net.node("LeakyRelu", [down], name="leaky", attributes={"alpha": 0.1}), net.bn_weights("late", 12), "late"
    )
    flat = net.node("Flatten", [net.node("GlobalAveragePool", [norm], name="gap")], name="flat", attributes={"axis": 1})
    first = net.node("Gemm", [flat, *net.weights("fc", (12, 12), bias=True)], name="class", attributes={"transB": 1})
    second = net.conv(norm, net.weights("seg", (2, 12, 3, 3), bias=True), "seg")
    return net.finish([first, second])


# defects: change one node of an exported file; return the changed node's name


def attribute_of(node: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    return next(item for item in node.attribute if item.name == name)


def wrong_pad(proto: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto:
    node = rng.choice([n for n in proto.graph.node if n.op_type == "Conv" and any(attribute_of(n, "pads").ints)])
    attribute_of(node, "pads").ints[:] = [2, 2, 0, 0]
    return node


def wrong_rounding(proto: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto:
    node = next(n for n in proto.graph.node if n.op_type == "MaxPool")
    attribute_of(node, "ceil_mode").i = 1
    attribute_of(node, "strides").ints[:] = [3, 3]
    return node


def wrong_axis(proto: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto:
    node = next(n for n in proto.graph.node if n.op_type == "Softmax")
    attribute_of(node, "axis").i = int(rng.choice([2, 3]))
    return node


def wrong_epsilon(proto: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto:
    node = next(n for n in proto.graph.node if n.op_type == "BatchNormalization")
    attribute_of(node, "epsilon").f = float(rng.choice([1e-3, 1e-2]))
    return node


def transposed_weight(proto: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto:
    names = {"square.weight", "wide.weight", "fc.weight", "left.weight"}
    stored = [item for item in proto.graph.initializer if item.name in names]
    tensor = stored[rng.integers(len(stored))]
    array = onnx.numpy_helper.to_array(tensor).swapaxes(0, 1).copy()
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return next(n for n in proto.graph.node if tensor.name in n.input)


def nudged_bias(proto: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto:
    stored = [item for item in proto.graph.initializer if item.name.endswith(".bias")]
    tensor = stored[rng.integers(len(stored))]
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[rng.integers(array.size)] += 1e-2
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return next(n for n in proto.graph.node if tensor.name in n.input)


def wrong_slope(proto: onnx.ModelProto, rng: np.random.Generator | None) -> onnx.NodeProto:
    node = next(n for n in proto.graph.node if n.op_type == "LeakyRelu")
    attribute_of(node, "alpha").f = 0.11
    return node


def swapped_concat(proto: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto:
    node = next(n for n in proto.graph.node if n.op_type == "Concat")
    node.input[:] = list(node.input)[::-1]
    return node


def wrong_operator(proto: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto:
    node = rng.choice([n for n in proto.graph.node if n.op_type == "Relu"])
    node.op_type = "Sigmoid"
    return node


DEFECTS = [
    wrong_pad,
    wrong_rounding,
    wrong_axis,
    wrong_epsilon,
    transposed_weight,
    nudged_bias,
    wrong_slope,
    swapped_concat,
    wrong_operator,
]


def assert_located(
    nets: type[Nets], defect: Callable[[onnx.ModelProto, np.random.Generator], onnx.NodeProto], seed: int, *, fold: bool
) -> None:
    graph, rng = varied(nets, seed), np.random.default_rng(seed)
    proto = proto_of(graph, fold=fold)
    wrong = defect(proto, rng)
    report = check_parity(proto.SerializeToString(), graph, inputs=8, seed=seed)
    assert not report.passed
    assert report.divergence is not None
    assert report.divergence.node == wrong.name, f"{defect.__name__}, seed {seed}: {report.divergence}"
    with pytest.raises(ParityFailure) as caught:
        report.raise_if_failed()
    assert f'"{wrong.name}"' in str(caught.value) and caught.value.exit_code == 3


@pytest.mark.parity
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_found_at_its_node(nets: Any, defect: Any, fold: bool) -> None:
    """A defect of one node is found at that node."""
    assert_located(nets, defect, 0, fold=fold)


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 12))
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("defect", DEFECTS)
def test_two_hundred_defects_are_found(nets: Any, defect: Any, seed: int, fold: bool) -> None:
    assert_located(nets, defect, seed, fold=fold)


@pytest.mark.parity
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_right_files_pass(nets: Any, seed: int, fold: bool) -> None:
    graph = varied(nets, seed)
    report = check_parity(proto_of(graph, fold=fold).SerializeToString(), graph, seed=seed)
    assert report.passed, report.table()
    assert report.inputs == 32 and len(report.outputs) == 2 and report.divergence is None
    assert all(output.max_rel < 1e-5 for output in report.outputs)
    report.raise_if_failed()


@pytest.mark.parity
def test_trained_twin_is_left_as_it_is(nets: Any, tmp_path: Path) -> None:
    """A trained twin is the reference, and is left as it is."""
    graph = nets.columns(tied=True)
    twin = Twin(graph).train()
    state = {name: tensor.clone() for name, tensor in twin.state_dict().items()}
    weights = {name: tensor.numpy() * 1.5 for name, tensor in state.items()}
    path = export_model(graph, weights, tmp_path / "m.onnx", parity_inputs=8).path
    assert not check_parity(path, twin, inputs=8).passed, "the twin has other weights"
    twin.load_weights(weights)
    assert check_parity(path, twin, inputs=8).passed
    assert twin.training and next(twin.parameters()).dtype.is_floating_point
    assert {tensor.dtype for tensor in twin.state_dict().values()} == {tensor.dtype for tensor in state.values()}


@pytest.mark.parity
def test_export_delivers_what_it_reports(nets: Any, tmp_path: Path) -> None:
    graph = nets.columns(tied=False, shared=2, own=1)
    result = export_model(graph, None, tmp_path / "m.onnx")
    assert result.path == tmp_path / "m.onnx" and result.path.stat().st_size == result.file_bytes
    assert result.parity.passed and result.nodes == 10
    ideal = nets.columns(tied=True)
    single, double = (graph_cost(nets.columns(tied=True, tasks=tasks)).macs for tasks in (("depth",), ("depth", "seg")))
    assert single < result.macs < double == graph_cost(ideal).macs
    assert json.loads(json.dumps(result.parity.to_json(), allow_nan=False))["passed"] is True


@pytest.mark.abuse
def test_failed_parity_leaves_no_file(nets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed parity leaves no file, and says where the fault is."""
    graph = varied(nets)

    def broken(*args: object, **kwargs: object) -> ir.Model:
        model = finished(*args, **kwargs)
        node = next(node for node in model.graph if node.name == "wide")
        node.attributes["pads"] = ir.AttrInt64s("pads", [2, 2, 0, 0])
        return model

    monkeypatch.setattr(exporter, "finished", broken)
    with pytest.raises(ParityFailure, match='Conv "wide"'):
        export_model(graph, None, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


# NaN, infinity, missing things


def poisoned(nets: type[Nets], number: float, where: str) -> Graph:
    graph = nets.columns(tied=True)
    array = graph.initializers[where].const_value.numpy().copy()
    array.reshape(-1)[0] = number
    graph.initializers[where].const_value = ir.Tensor(array, name=where)
    return graph


@pytest.mark.abuse
@pytest.mark.parametrize(("number", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_nan_and_infinity_fail_by_name(nets: Any, number: float, word: str) -> None:
    """NaN and infinity are failures by name, even where both sides have them."""
    graph = poisoned(nets, number, "head.seg.out.bias")
    report = check_parity(proto_of(graph).SerializeToString(), graph, inputs=4)
    verdicts = {output.name: output for output in report.outputs}
    assert verdicts["depth"].passed and not verdicts["seg"].passed
    assert word in verdicts["seg"].note and "zeros" in verdicts["seg"].note
    assert report.divergence.node == "seg"
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["outputs"][1]["passed"] is False


@pytest.mark.abuse
def test_missing_output_is_a_failure(nets: Any) -> None:
    graph = nets.columns(tied=True)
    proto = proto_of(graph)
    del proto.graph.output[1]
    report = check_parity(proto.SerializeToString(), graph, inputs=2)
    assert [output.passed for output in report.outputs] == [True, False]
    assert "no such output" in report.table()


@pytest.mark.abuse
def test_unloadable_file_fails_with_the_reason(nets: Any) -> None:
    """A file that does not load fails with the runtime's reason."""
    graph = nets.columns(tied=True)
    proto = proto_of(graph)
    proto.graph.node[3].op_type = "NoSuchOperator"
    report = check_parity(proto.SerializeToString(), graph, inputs=2)
    assert not report.passed and "cannot load" in report.outputs[0].note
    assert report.divergence.node == proto.graph.node[3].name


@pytest.mark.abuse
def test_without_onnxruntime_nothing_is_written(nets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *args: object, **kwargs: object) -> None:
        if name == "onnxruntime":
            raise ModuleNotFoundError("No module named 'onnxruntime'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(WorkFailed, match="pip install onnxruntime"):
        export_model(nets.columns(tied=True), None, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.abuse
def test_parity_on_no_inputs_is_refused(nets: Any) -> None:
    with pytest.raises(InvalidConfig):
        check_parity(b"", nets.columns(tied=True), inputs=0)


# the rule and its inputs


@pytest.mark.golden
def test_tolerance_is_margin_and_floor() -> None:
    """The rule is ten times torch's error, and a floor."""
    errors = Errors(error=1.99e-5, torch_error=1e-6, scale=1.0)
    assert errors.passed("float32") and not Errors(2.01e-5, 1e-6, 1.0).passed("float32")
    assert Errors(1e-3, 0.0, 1.0).passed("float16") and not Errors(1e-3, 0.0, 1.0).passed("float32")
    assert Errors().passed("int64") and not Errors(1.0, 0.0, 5.0).passed("int64")
    assert not Errors(fault="NaN").passed("float32")


@pytest.mark.golden
def test_measuring_by_hand() -> None:
    double = np.array([[1.0, -4.0]])
    errors = with_torch(measure(np.array([[1.5, -4.0]], np.float32), double), np.array([[1.0, -4.25]]), double)
    assert (errors.error, errors.torch_error, errors.scale, errors.fault) == (0.5, 0.25, 4.0, "")
    assert "shape [2] instead of [1, 2]" in measure(np.zeros(2), double).fault
    assert "float64 twin gives infinity" in measure(double, double * np.inf).fault
    assert "float32 twin gives NaN" in with_torch(errors, double * np.nan, double).fault


@pytest.mark.properties
def test_probes_are_seeded_of_all_kinds() -> None:
    drawn = list(probes(32, (3, 9, 11), seed=3))
    again = list(probes(32, (3, 9, 11), seed=3))
    assert all(np.array_equal(one.image, two.image) for one, two in zip(drawn, again, strict=True))
    assert {probe.image.shape for probe in drawn} == {(1, 3, 9, 11), (2, 3, 9, 11)}
    assert {probe.amplitude for probe in drawn} == {"ordinary", "large", "small"}
    assert len({probe.kind for probe in drawn}) == 8 and not drawn[0].image.any()
    sizes = {kind: {p.image.shape[0] for p in drawn if p.kind == kind} for kind in {p.kind for p in drawn}}
    assert all(size == {1, 2} for size in sizes.values()), "every kind comes alone and in a batch"
    assert all(probe.image.dtype == np.float32 and np.isfinite(probe.image).all() for probe in drawn)
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(drawn, probes(32, (3, 9, 11), seed=4), strict=True))


@pytest.mark.parity
def test_locating_reads_external_weights(nets: Any, tmp_path: Path) -> None:
    graph = varied(nets)
    path = export_model(graph, None, tmp_path / "m.onnx", external_bytes=100, parity_inputs=2).path
    reference = Reference(graph)
    image = nets.picture((1, 3, 17, 19))
    assert locate(path, reference, image) is None
    proto = onnx.load(path, load_external_data=False)
    wrong = wrong_slope(proto, None)
    path.write_bytes(proto.SerializeToString())
    assert locate(path, reference, image).node == wrong.name


# counting a file


@pytest.mark.parity
def test_counts_agree_with_graph_cost(nets: Any, tmp_path: Path) -> None:
    """Counts of the file agree with the Graph's own cost."""
    graph = varied(nets)
    proto = proto_of(graph, fold=False, reuse=False)
    count = count_file(proto)
    assert count.macs == graph_cost(graph).macs
    assert count.parameters == parameter_count(graph)
    assert count.nodes == len(graph.nodes) and count.ops == nets.ops(graph) and sum(count.ops.values()) == count.nodes
    assert count_file(proto.SerializeToString(), batch=3).macs == 3 * count.macs


@pytest.mark.golden
@pytest.mark.parametrize("groups", [1, 2])
def test_counting_by_hand(nets: Any, groups: int) -> None:
    net = nets.Net()
    x = net.image("image", (4, 10, 12))
    y = net.conv(x, [net.draw("a.weight", (6, 4 // groups, 3, 3))], "a", group=groups, strides=[2, 2])
    y = net.node("ConvTranspose", [y, net.draw("b.weight", (6, 5, 2, 2))], name="b", attributes={"strides": [2, 2]})
    low, high = net.tensor("low", np.array(0, np.float32)), net.tensor("high", np.array(6, np.float32))
    y = net.node("Clip", [y, low, high], name="clip")
    y = net.node("Flatten", [y], name="flat", attributes={"axis": 1})
    graph = net.finish([net.node("MatMul", [y, net.draw("c.weight", (600, 7))], name="c")])
    count = count_file(proto_of(graph))
    conv, transposed, product = 6 * 5 * 6 * 9 * 4 // groups, 6 * 5 * 6 * 5 * 4, 600 * 7
    assert count.macs == conv + transposed + product
    assert count.parameters == 6 * 4 // groups * 9 + 6 * 5 * 4 + 600 * 7
    assert count.weight_bytes == 4 * (count.parameters + 2)
