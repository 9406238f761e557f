"""Golden and property tests of the passes: what merges, what must not, and under which names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trunkline.export.passes import REUSE, Deduplicate, FoldBatchNorm, NumberValues, optimise
from trunkline.graph.graph import TASKS_KEY, Graph, array_of
from trunkline.graph.passes.base import run_passes
from trunkline.graph.passes.eliminate_identity import EliminateIdentity
from trunkline.graph.passes.remove_dead import RemoveDead

if TYPE_CHECKING:
    from tests.export.conftest import Net, Nets


def reuse(graph: Graph) -> Graph:
    result = graph.copy()
    run_passes(result.model.graph, REUSE)
    return result


def check(graph: Graph) -> None:
    """The graph is valid ONNX, its names are unique, and nothing in it is dead."""
    onnx.checker.check_model(ir.to_proto(graph.model), full_check=True)
    names = [value.name for node in graph.nodes for value in node.outputs] + list(graph.initializers)
    assert len(names) == len(set(names))
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    assert RemoveDead()(graph.copy().model.graph) == 0


# golden: counts and names


@pytest.mark.golden
@pytest.mark.parametrize("tied", [True, False])
def test_naive_columns_become_the_ideal_graph(nets: Any, tied: bool) -> None:
    graph = nets.columns(tied=tied, shared=2, own=1)
    assert nets.ops(graph) == {"Conv": 8, "BatchNormalization": 6, "Relu": 6}
    result = optimise(graph)
    check(result)
    assert nets.ops(result) == {"Conv": 6, "Relu": 4}
    assert nets.ops(optimise(graph, fold=False)) == {"Conv": 6, "BatchNormalization": 4, "Relu": 4}
    assert [output.name for output in result.outputs] == ["depth", "seg"]


@pytest.mark.golden
def test_folded_weights_keep_their_names(nets: Any) -> None:
    """Folded weights keep the names of the convolution."""
    result = optimise(nets.columns(tied=False))
    assert sorted(result.initializers) == sorted(
        f"{name}.{part}"
        for name in ("block0", "block1", "head.depth.0", "head.seg.0", "head.depth.out", "head.seg.out")
        for part in ("weight", "bias")
    )
    assert result.node("block0").outputs[0].name == "block0.bn"


@pytest.mark.golden
def test_merged_node_serves_all_tasks(nets: Any) -> None:
    """A merged node serves the tasks of all nodes that it replaces."""
    result = optimise(nets.columns(tied=False, tasks=("depth", "seg", "edges")))
    tasks = {node.name: node.metadata_props[TASKS_KEY] for node in result.nodes}
    assert tasks["block0"] == tasks["block1.relu"] == "depth,seg,edges"
    assert tasks["head.seg.0"] == "seg"


@pytest.mark.properties
def test_input_graph_is_not_changed(nets: Any) -> None:
    graph = nets.columns(tied=True)
    before = ir.to_proto(graph.model).SerializeToString()
    optimise(graph)
    assert ir.to_proto(graph.model).SerializeToString() == before


@pytest.mark.golden
def test_equal_outputs_keep_their_names(nets: Any) -> None:
    graph = nets.columns(tied=True, shared=2, own=0)
    head = graph.initializers["head.depth.out.weight"].const_value
    graph.initializers["head.seg.out.weight"].const_value = head
    graph.initializers["head.seg.out.bias"].const_value = graph.initializers["head.depth.out.bias"].const_value
    result = optimise(graph)
    check(result)
    assert [output.name for output in result.outputs] == ["depth", "seg"]
    assert nets.ops(result) == {"Conv": 3, "Relu": 2, "Identity": 1}
    outputs = nets.run(result, nets.picture())
    assert np.array_equal(outputs["depth"], outputs["seg"])


@pytest.mark.golden
def test_output_inside_a_shared_column(nets: Any) -> None:
    """An output inside a shared column gives its name to the merged value."""
    net = nets.Net()
    x = net.image("image", (3, 8, 8))
    first = net.tagged("Relu", [x], "inner", "", {})
    net_out = net.tagged("Neg", [first], "outer", "", {})
    second = net.tagged("Relu", [x], "task", "", {})
    result = optimise(net.finish([net_out, second]))
    check(result)
    assert nets.ops(result) == {"Relu": 1, "Neg": 1}
    assert [output.name for output in result.outputs] == ["outer", "task"]


# deduplication


@pytest.mark.golden
def test_deduplication_compares_shape_type_and_bits(nets: Any) -> None:
    """Tensors that differ in shape, type or the sign of a zero stay apart."""
    net = nets.Net()
    x = net.image("image", (4, 2, 2))
    arrays = {
        "a": np.zeros((4, 1, 1), np.float32),
        "b": np.zeros((4, 1, 1), np.float32),
        "reshaped": np.zeros((1, 4, 1, 1), np.float32),
        "negative": -np.zeros((4, 1, 1), np.float32),
        "int": np.zeros((4, 1, 1), np.int32),
    }
    values = {name: net.tensor(name, array) for name, array in arrays.items()}
    for name in ("a", "b", "reshaped", "negative"):
        x = net.node("Add", [x, values[name]], name=f"add_{name}")
    cast = net.node("Cast", [values["int"]], name="cast", attributes={"to": 1})
    graph = net.finish([net.node("Add", [x, cast], name="out")])
    assert Deduplicate()(graph.model.graph) == 1
    assert sorted(graph.initializers) == ["a", "int", "negative", "reshaped"]


@pytest.mark.golden
def test_deduplication_of_nan_and_scalars(nets: Any) -> None:
    """Deduplication handles NaN, scalars, and readers of several weights."""
    net = nets.Net()
    x = net.image("image", (1, 2, 2))
    for index in range(3):
        x = net.node("Add", [x, net.tensor(f"w{index}", np.array(np.nan, np.float32))], name=f"add{index}")
    graph = net.finish([x])
    assert Deduplicate()(graph.model.graph) == 2
    assert list(graph.initializers) == ["w0"]


# value numbering


@pytest.mark.golden
def test_different_nodes_stay_apart(nets: Any) -> None:
    """Attributes, inputs and their order keep nodes apart."""
    net = nets.Net()
    x, y = net.image("image", (3, 8, 8)), None
    y = net.node("Neg", [x], name="y")
    parts = [
        net.node("Sub", [x, y], name="xy"),
        net.node("Sub", [y, x], name="yx"),
        net.node("LeakyRelu", [x], name="a", attributes={"alpha": 0.1}),
        net.node("LeakyRelu", [x], name="b", attributes={"alpha": 0.2}),
        net.node("Softmax", [x], name="c", attributes={"axis": 1}),
        net.node("Softmax", [x], name="d", attributes={"axis": -1}),
        net.node("Softmax", [x], name="e"),
    ]
    graph = net.finish([net.node("Concat", parts, name="out", attributes={"axis": 1})])
    assert NumberValues()(graph.model.graph) == 1, "axis=-1 is Softmax's default, so only d and e are equal"
    assert "e" not in {node.name for node in graph.nodes}


@pytest.mark.golden
def test_random_nodes_are_never_merged(nets: Any) -> None:
    net = nets.Net()
    x = net.image("image", (3, 8, 8))
    noise = [net.node("RandomNormalLike", [x], name=f"noise{index}") for index in range(2)]
    graph = net.finish([net.node("Sub", noise, name="out")])
    assert NumberValues()(graph.model.graph) == 0


@pytest.mark.golden
def test_merging_handles_nodes_with_several_outputs(nets: Any) -> None:
    net = nets.Net()
    x = net.image("image", (4, 8, 8))
    halves = []
    for side in "ab":
        first = net.node(
            "Split",
            [x],
            name=f"split_{side}",
            outputs=[f"{side}0", f"{side}1"],
            attributes={"axis": 1, "num_outputs": 2},
        )
        halves += list(first.producer().outputs)
    graph = net.finish([net.node("Concat", halves, name="out", attributes={"axis": 1})])
    before = nets.run(graph, nets.picture((2, 4, 8, 8)))
    assert NumberValues()(graph.model.graph) == 1
    check(graph)
    assert np.array_equal(nets.run(graph, nets.picture((2, 4, 8, 8)))["out"], before["out"])


# Dropout and Identity


def dropout(net: Net, x: ir.Value, name: str) -> ir.Value:
    return net.node("Dropout", [x, net.tensor(f"{name}.ratio", np.array(0.5, np.float32))], name=name)


@pytest.mark.golden
def test_noops_vanish_outputs_keep_names(nets: Any) -> None:
    net = nets.Net()
    x = net.image("image", (3, 8, 8))
    y = dropout(net, net.node("Relu", [dropout(net, x, "first")], name="relu"), "second")
    graph = net.finish([net.node("Identity", [y], name="out")])
    result = optimise(graph)
    check(result)
    assert nets.ops(result) == {"Relu": 1}
    assert not result.initializers
    assert result.outputs[0].name == "out"


@pytest.mark.golden
def test_image_as_output_stays_an_identity(nets: Any) -> None:
    net = nets.Net()
    x = net.image("image", (3, 8, 8))
    graph = net.finish([dropout(net, x, "a"), net.node("Identity", [x], name="b"), net.node("Neg", [x], name="c")])
    result = optimise(graph)
    check(result)
    assert [output.name for output in result.outputs] == ["a", "b", "c"]
    assert nets.ops(result) == {"Identity": 2, "Neg": 1}


@pytest.mark.golden
def test_dropout_that_trains_is_kept(nets: Any) -> None:
    net = nets.Net()
    x = net.image("image", (3, 8, 8))
    ratio, training = net.tensor("ratio", np.array(0.5, np.float32)), net.tensor("on", np.array(True))
    graph = net.finish([net.node("Dropout", [x, ratio, training], name="out")])
    assert EliminateIdentity(inference=True)(graph.model.graph) == 0


# folding


def norm_after(
    nets: type[Nets], op: str, shape: Sequence[int], *, bias: bool, groups: int = 1, seed: int = 0, **attributes: object
) -> tuple[Graph, int]:
    """One linear node with BN behind it, and ReLU so that BN is not an output."""
    net = nets.Net(seed=seed)
    channels = shape[0] if op == "Conv" else shape[1] * groups
    inward = shape[1] * groups if op == "Conv" else shape[0]
    x = net.image("image", (inward, 6, 7))
    weights = [net.draw("conv.weight", shape)] + ([net.draw("conv.bias", (channels,))] if bias else [])
    y = net.node(op, [x, *weights], name="conv", attributes={"group": groups, **attributes})
    y = net.bn(y, net.bn_weights("bn", channels), "bn")
    return net.finish([net.node("Relu", [y], name="out")]), inward


@pytest.mark.parity
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    op=st.sampled_from(["Conv", "ConvTranspose"]),
    groups=st.integers(1, 3),
    inner=st.integers(1, 3),
    outer=st.integers(1, 3),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_folded_convolution_is_exact_in_float64(
    nets: Any, op: str, groups: int, inner: int, outer: int, bias: bool, seed: int
) -> None:
    shape = (outer * groups, inner, 2, 3) if op == "Conv" else (inner * groups, outer, 2, 3)
    graph, inward = norm_after(nets, op, shape, bias=bias, groups=groups, seed=seed, strides=[2, 1])
    folded = optimise(graph)
    assert nets.ops(folded) == {op: 1, "Relu": 1}
    image = nets.picture((2, inward, 6, 7), seed)
    assert sorted(folded.initializers) == ["conv.bias", "conv.weight"]
    np.testing.assert_allclose(nets.run(folded, image)["out"], nets.run(graph, image)["out"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(
        folded_weight_by_hand(graph, op, groups), array_of(folded.initializers["conv.weight"]), rtol=1e-6
    )


def folded_weight_by_hand(graph: Graph, op: str, groups: int) -> np.ndarray:
    """Scale the weight channel by channel, with plain loops."""
    get = {name: array_of(value).astype(np.float64) for name, value in graph.initializers.items()}
    weight, scale = get["conv.weight"].copy(), get["bn.scale"] / np.sqrt(get["bn.var"] + np.float64(np.float32(1e-5)))
    for channel, factor in enumerate(scale):
        if op == "Conv":
            weight[channel] *= factor
        else:
            rows, columns = weight.shape[0] // groups, weight.shape[1]
            group, inside = divmod(channel, columns)
            weight[group * rows : (group + 1) * rows, inside] *= factor
    return weight


@pytest.mark.golden
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("bias_shape", [None, (5,), (1, 5), (1,), ()])
def test_folding_gemm(nets: Any, trans_b: int, bias_shape: tuple[int, ...] | None) -> None:
    net = nets.Net()
    x = net.image("image", (3, 2, 2))
    y = net.node("Flatten", [x], name="flat", attributes={"axis": 1})
    weights = [net.draw("fc.weight", (5, 12) if trans_b else (12, 5))]
    weights += [] if bias_shape is None else [net.draw("fc.bias", bias_shape)]
    y = net.node("Gemm", [y, *weights], name="fc", attributes={"transB": trans_b, "alpha": 0.5, "beta": 2.0})
    graph = net.finish([net.bn(y, net.bn_weights("bn", 5), "bn")])
    folded = optimise(graph)
    check(folded)
    assert nets.ops(folded) == {"Flatten": 1, "Gemm": 1}
    image = nets.picture((4, 3, 2, 2))
    np.testing.assert_allclose(nets.run(folded, image)["bn"], nets.run(graph, image)["bn"], atol=1e-5, rtol=1e-5)


def shared_weight(nets: type[Nets], norms: list[str], *, plain: bool = False) -> Graph:
    """Convs that share one weight on different inputs, each followed by the named BN."""
    net = nets.Net()
    x = net.image("image", (4, 6, 6))
    weight = net.weights("conv", (4, 4, 3, 3))
    bns = {name: net.bn_weights(name, 4) for name in dict.fromkeys(norms)}
    outputs = []
    for index, name in enumerate(norms):
        y = net.node("LeakyRelu", [x], name=f"in{index}", attributes={"alpha": 0.1 * (index + 1)})
        outputs.append(net.bn(net.conv(y, weight, f"conv@{index}"), bns[name], f"out{index}"))
    if plain:
        outputs.append(net.conv(x, weight, "plain"))
    return net.finish(outputs)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("norms", "plain", "left"),
    [(["bn", "bn"], False, 0), (["bn", "other"], False, 2), (["bn", "bn"], True, 2), (["bn", "other", "bn"], True, 3)],
)
def test_shared_weight_is_stored_once(nets: Any, norms: list[str], plain: bool, left: int) -> None:
    """It is folded where all that read it fold alike; else BatchNormalizations stay, for runtimes to fold."""
    graph = shared_weight(nets, norms, plain=plain)
    folded = optimise(graph)
    check(folded)
    assert nets.ops(folded).get("BatchNormalization", 0) == left
    assert [name for name in folded.initializers if name.startswith("conv.weight")] == ["conv.weight"]
    image = nets.picture((2, 4, 6, 6))
    before, after = nets.run(graph, image), nets.run(folded, image)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)
    if plain:
        assert np.array_equal(after["plain"], before["plain"])


@pytest.mark.golden
def test_merged_zero_biases_are_separated_again(nets: Any) -> None:
    """Zero biases that were merged by content get their own names back."""
    net = nets.Net()
    x = net.image("image", (4, 6, 6))
    for name in ("a", "b", "c"):
        weights = [net.draw(f"{name}.weight", (4, 4, 3, 3)), net.tensor(f"{name}.bias", np.zeros(4, np.float32))]
        x = net.bn(net.conv(x, weights, name), net.bn_weights(f"{name}.bn", 4), f"{name}.bn")
    folded = optimise(net.finish([x]))
    check(folded)
    assert sorted(folded.initializers) == sorted(f"{name}.{part}" for name in "abc" for part in ("weight", "bias"))


@pytest.mark.golden
def test_chain_of_norms_is_folded_whole(nets: Any) -> None:
    net = nets.Net()
    x = net.image("image", (4, 6, 6))
    y = net.conv(x, net.weights("conv", (4, 4, 3, 3)), "conv")
    y = net.bn(net.bn(y, net.bn_weights("a", 4), "a"), net.bn_weights("b", 4), "b")
    graph = net.finish([y])
    folded = optimise(graph)
    assert nets.ops(folded) == {"Conv": 1}
    image = nets.picture((2, 4, 6, 6))
    np.testing.assert_allclose(nets.run(folded, image)["b"], nets.run(graph, image)["b"], atol=1e-5)


@pytest.mark.golden
def test_unfoldable_norms_are_left(nets: Any) -> None:
    net = nets.Net()
    x = net.image("image", (4, 6, 6))
    lonely = net.bn(x, net.bn_weights("lonely", 4), "lonely")
    twice = net.conv(lonely, net.weights("twice", (4, 4, 3, 3)), "twice")
    seen = net.bn(twice, net.bn_weights("seen", 4), "seen")
    shown = net.conv(seen, net.weights("shown", (4, 4, 3, 3)), "shown")
    after = net.bn(shown, net.bn_weights("after", 4), "after")
    graph = net.finish([net.node("Add", [twice, after], name="sum"), shown])
    assert FoldBatchNorm()(graph.model.graph) == 0


@pytest.mark.abuse
@pytest.mark.parametrize("variance", [-1.0, float("nan")])
def test_broken_variance_is_not_folded(nets: Any, variance: float) -> None:
    graph, _ = norm_after(nets, "Conv", (2, 3, 1, 1), bias=False)
    graph.initializers["bn.var"].const_value = ir.Tensor(np.array([variance, 1.0], np.float32), name="bn.var")
    assert FoldBatchNorm()(graph.model.graph) == 0


@pytest.mark.abuse
def test_overflow_is_not_folded_in(nets: Any) -> None:
    graph, _ = norm_after(nets, "Conv", (2, 3, 1, 1), bias=False)
    graph.initializers["conv.weight"].const_value = ir.Tensor(np.full((2, 3, 1, 1), 3e38, np.float32))
    graph.initializers["bn.scale"].const_value = ir.Tensor(np.full(2, 1e3, np.float32))
    assert FoldBatchNorm()(graph.model.graph) == 0


# properties: random multi-column graphs

Recipe = list[list[tuple[str, int]]]
"""Per task, what each step is and which of the common weights it takes."""


@st.composite
def random_columns(draw: st.DrawFn) -> Recipe:
    """Per task a chain of ops; each op chooses a weight from a small pool, so columns often agree by chance."""
    tasks = draw(st.integers(1, 4))
    depth = draw(st.integers(1, 5))
    step = st.tuples(st.sampled_from(["conv", "norm", "relu", "drop", "copy", "add"]), st.integers(0, 1))
    return [draw(st.lists(step, min_size=depth, max_size=depth)) for _ in range(tasks)]


def build(nets: type[Nets], recipe: Recipe) -> Graph:
    net = nets.Net()
    image = net.image("image", (2, 5, 5))
    convs = [net.weights(f"conv{index}", (2, 2, 3, 3)) for index in range(2)]
    norms = [net.bn_weights(f"bn{index}", 2) for index in range(2)]
    outputs = []
    for task, steps in enumerate(recipe):
        x = image
        for index, (kind, choice) in enumerate(steps):
            x = apply_step(net, x, kind, choice, f"t{task}.{index}.{kind}", convs, norms, f"task{task}", image)
        outputs.append(net.node("Identity", [x], name=f"task{task}"))
    return net.finish(outputs)


def apply_step(
    net: Net,
    x: ir.Value,
    kind: str,
    choice: int,
    name: str,
    convs: Sequence[Sequence[ir.Value]],
    norms: Sequence[Sequence[ir.Value]],
    task: str,
    image: ir.Value,
) -> ir.Value:
    if kind == "conv":
        return net.conv(x, convs[choice], name, tasks=task)
    if kind == "norm":
        return net.bn(x, norms[choice], name, tasks=task)
    if kind == "add":
        return net.tagged("Add", [x, image], name, task, {})
    op = {"relu": "Relu", "drop": "Dropout", "copy": "Identity"}[kind]
    return net.tagged(op, [x], name, task, {})


def distinct_values(recipe: Recipe) -> int:
    """Count the distinct values by brute force: one per distinct sequence of steps that do something."""
    seen = set()
    for steps in recipe:
        path = ()
        for kind, choice in steps:
            if kind in ("drop", "copy"):
                continue
            path = (*path, (kind, choice if kind in ("conv", "norm") else 0))
            seen.add(path)
    return len(seen)


@pytest.mark.properties
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipe=random_columns())
def test_reuse_is_exact_and_complete(nets: Any, recipe: list[list[tuple[str, int]]]) -> None:
    """Reuse is exact to the bit, and leaves one node per distinct value."""
    graph = build(nets, recipe)
    result = reuse(graph)
    RemoveDead()(result.model.graph)
    check(result)
    computing = [node for node in result.nodes if node.op_type != "Identity"]
    assert len(computing) == distinct_values(recipe)
    assert [output.name for output in result.outputs] == [output.name for output in graph.outputs]
    image = nets.picture((2, 2, 5, 5))
    before, after = nets.run(graph, image), nets.run(result, image)
    for name in before:
        assert np.array_equal(before[name], after[name])


@pytest.mark.properties
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recipe=random_columns())
def test_folding_keeps_values_adds_no_nodes(nets: Any, recipe: list[list[tuple[str, int]]]) -> None:
    graph = build(nets, recipe)
    result, unfolded = optimise(graph), optimise(graph, fold=False)
    check(result)
    assert len(result.nodes) <= len(unfolded.nodes)
    again = optimise(result)
    assert nets.ops(again) == nets.ops(result), "a second run finds nothing"
    image = nets.picture((2, 2, 5, 5))
    before, after = nets.run(graph, image), nets.run(result, image)
    for name in before:
        scale = max(1.0, float(np.abs(before[name]).max()))
        np.testing.assert_allclose(after[name], before[name], atol=1e-5 * scale)
