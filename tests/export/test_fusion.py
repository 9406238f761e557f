"""Horizontal fusion: the same numbers from fewer convolutions, under the same names, for the same tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trunkline.export.count import count_file
from trunkline.export.passes import SIDE_BY_SIDE, FuseSiblings
from trunkline.graph.graph import BACKBONE, FUSED_KEY, HEAD, INSTANCE_KEY, PART_KEY, TASKS_KEY, UNIT_KEY, Graph
from trunkline.graph.owners import nodes_of_heads
from trunkline.graph.passes.base import run_passes
from trunkline.graph.passes.remove_dead import RemoveDead

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def fused(graph: Graph, *passes: Any) -> Graph:
    """The graph after ``passes``: valid, sorted, nothing dead, and a fixed point."""
    result = graph.copy()
    chosen = passes or SIDE_BY_SIDE
    run_passes(result.model.graph, chosen)
    onnx.checker.check_model(ir.to_proto(result.model), full_check=True)
    names = [value.name for node in result.nodes for value in node.outputs] + list(result.initializers)
    assert len(names) == len(set(names))
    assert len({node.name for node in result.nodes}) == len(result.nodes)
    assert RemoveDead()(result.copy().model.graph) == 0
    assert run_passes(result.model.graph, chosen) == 0
    return result


def assert_same(nets: Any, graph: Graph, other: Graph) -> None:
    image = nets.picture()
    before, after = nets.run(graph, image), nets.run(other, image)
    assert list(before) == list(after)
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(expected).max()))
    first, second = (count_file(ir.to_proto(one.model)) for one in (graph, other))
    assert first.macs == second.macs


def convs(nets: Any, graph: Graph) -> int:
    return int(nets.ops(graph).get("Conv", 0))


def siblings(nets: Any, *each: dict[str, Any], bias: tuple[bool, ...] = (), groups: int = 1) -> Graph:
    """Convolutions of one map of four channels, each with settings of its own."""
    net = nets.Net()
    x = net.block(net.image("image", (3, 12, 16)), "stem", 4)
    outputs = []
    for index, own in enumerate(each):
        settings = {"channels": 5, "kernel": 3, "group": groups, **own}
        channels, kernel = settings.pop("channels"), settings.pop("kernel")
        has_bias = bias[index] if bias else True
        weights = net.weights(f"c{index}", (channels, 4 // settings["group"], kernel, kernel), bias=has_bias)
        outputs.append(net.conv(x, weights, f"out{index}", **settings))
    return net.finish(outputs)


@pytest.mark.golden
def test_siblings_become_one_wide_convolution(nets: Any) -> None:
    graph = siblings(nets, {"channels": 5}, {"channels": 2}, {})
    result = fused(graph, FuseSiblings())
    assert nets.ops(result) == {"Conv": 2, "BatchNormalization": 1, "Relu": 1, "Split": 1}
    assert [output.name for output in result.outputs] == ["out0", "out1", "out2"]
    wide = result.node("out0.fused")
    assert wide.metadata_props[FUSED_KEY] == "3"
    assert list(wide.inputs[1].shape) == [12, 4, 3, 3]
    assert_same(nets, graph, result)


@pytest.mark.golden
@pytest.mark.parametrize(
    "other",
    [{"kernel": 1}, {"dilations": [2, 2]}, {"pads": [1, 1, 0, 0]}, {"strides": [2, 2]}, {"group": 2, "channels": 4}],
)
def test_what_differs_in_settings_stays_apart(nets: Any, other: dict[str, Any]) -> None:
    graph = siblings(nets, {"channels": 4}, other)
    assert convs(nets, fused(graph)) == convs(nets, graph)


@pytest.mark.golden
def test_depthwise_siblings_stay_apart(nets: Any) -> None:
    """Each filter sees one channel of the map, which one wide convolution cannot say."""
    graph = siblings(nets, {"channels": 4}, {"channels": 4}, groups=4)
    assert convs(nets, fused(graph)) == 3


@pytest.mark.golden
@pytest.mark.parametrize("bias", [(True, False), (False, True), (False, False)])
def test_absent_biases_are_zeros_beside_others(nets: Any, bias: tuple[bool, bool]) -> None:
    graph = siblings(nets, {}, {"channels": 3}, bias=bias)
    result = fused(graph)
    assert len(result.node("out0.fused").inputs) == 2 + any(bias)
    assert_same(nets, graph, result)


@pytest.mark.golden
def test_shared_weight_is_copied_and_left_to_others(nets: Any) -> None:
    """One tensor, read by two siblings and by a third convolution on another map."""
    net = nets.Net()
    x = net.block(net.image("image", (3, 12, 16)), "stem", 4)
    weights = net.weights("shared", (4, 4, 3, 3), bias=True)
    outputs = [net.conv(x, weights, "a"), net.conv(x, weights, "b")]
    outputs.append(net.conv(net.node("Relu", [outputs[0]], name="deeper"), weights, "c"))
    graph = net.finish(outputs)
    result = fused(graph)
    assert convs(nets, result) == 3
    assert {"shared.weight", "shared.bias"} <= set(result.initializers)
    assert_same(nets, graph, result)


@pytest.mark.golden
def test_computed_weight_stays_apart(nets: Any) -> None:
    net = nets.Net()
    x = net.block(net.image("image", (3, 12, 16)), "stem", 4)
    gain = net.node("Mul", [net.draw("w", (4, 4, 3, 3)), net.draw("gain", (4, 1, 1, 1))], name="product")
    graph = net.finish([net.conv(x, [gain], "a"), net.conv(x, net.weights("b", (4, 4, 3, 3)), "b")])
    assert convs(nets, fused(graph)) == 3


@pytest.mark.golden
def test_stored_maps_are_none(nets: Any) -> None:
    """Without folding a file may compute on stored tensors alone."""
    net = nets.Net()
    image, outputs = net.image("image", (3, 12, 16)), []
    for name in "ab":
        y = net.conv(net.draw(f"map{name}", (1, 3, 12, 16)), net.weights(name, (3, 3, 3, 3)), name)
        y = net.node("Add", [y, net.node("Exp", [net.draw(f"e{name}", ())], name=f"exp{name}")], name=f"plus{name}")
        outputs.append(net.node("Mul", [image, y], name=f"out{name}"))
    graph = net.finish(outputs)
    assert_same(nets, graph, fused(graph))


@pytest.mark.golden
def test_equal_layers_that_follow_each_other_stay_a_chain(nets: Any) -> None:
    """The one reads what the other gives: put together they would be a circle."""
    net = nets.Net()
    x = net.block(net.image("image", (3, 12, 16)), "stem", 4)
    first = net.conv(x, net.weights("first", (4, 4, 3, 3)), "first")
    second = net.conv(first, net.weights("second", (4, 4, 3, 3)), "second")
    graph = net.finish([net.node("Add", [first, second], name="sum")])
    assert convs(nets, fused(graph)) == 3


def crossed(nets: Any) -> Graph:
    """Four equal layers of two kinds, where each first one is before the other kind's second."""
    net = nets.Net()
    x = net.image("image", (3, 12, 16))
    ends = []
    for name, kernels in (("a", (3, 1)), ("b", (1, 3))):
        y = net.block(x, f"{name}.stem", 4)
        for index, kernel in enumerate(kernels):
            y = net.conv(y, net.weights(f"{name}{index}", (4, 4, kernel, kernel)), f"{name}{index}")
        ends.append(y)
    return net.finish(ends)


@pytest.mark.golden
def test_crossed_branches_are_no_circle(nets: Any) -> None:
    graph = crossed(nets)
    result = fused(graph)
    assert_same(nets, graph, result)
    assert convs(nets, result) == convs(nets, graph) - 1  # the stems alone


def columns(nets: Any, tasks: int, depth: int, *, depthwise: bool, residual: bool, alone: bool) -> Graph:
    """A column for each task, on one map or each on its own: layers with activations, and sums around them."""
    net = nets.Net()
    image = net.image("image", (3, 12, 16))
    outputs = []
    for task in range(tasks):
        x = (
            net.node("Mul", [image, net.constant(f"by{task}", np.array(task + 1, np.float32))], name=f"m{task}")
            if alone
            else image
        )
        x = net.conv(x, net.weights(f"t{task}.in", (4, 3, 3, 3), bias=True), f"t{task}.in")
        for layer in range(depth):
            name, group = f"t{task}.{layer}", 4 if depthwise and layer % 2 else 1
            y = net.conv(x, net.weights(name, (4, 4 // group, 3, 3), bias=layer % 2 == 0), name, group=group)
            y = net.node("LeakyRelu", [y], name=f"{name}.relu", attributes={"alpha": 0.1})
            x = net.node("Add", [x, y], name=f"{name}.sum") if residual else y
        outputs.append(net.node("Identity", [x], name=f"task{task}"))
    return net.finish(outputs)


@pytest.mark.properties
@QUICK
@given(
    tasks=st.integers(2, 4),
    depth=st.integers(1, 3),
    depthwise=st.booleans(),
    residual=st.booleans(),
    alone=st.booleans(),
)
def test_columns_become_one(nets: Any, tasks: int, depth: int, depthwise: bool, residual: bool, alone: bool) -> None:
    """As deep as one column, however many there are; cut once, at the end, and put together once, if at all."""
    graph = columns(nets, tasks, depth, depthwise=depthwise, residual=residual, alone=alone)
    result = fused(graph)
    assert_same(nets, graph, result)
    found = nets.ops(result)
    assert found["Conv"] == depth + 1
    assert found["LeakyRelu"] == depth
    assert found["Split"] == 1
    assert found.get("Concat", 0) == alone


Step = tuple[str, int, int, int]


@st.composite
def random_steps(draw: st.DrawFn) -> list[Step]:
    """Layers, each of any earlier map: kind, which map, kernel or size, and how many filters."""
    kinds = st.sampled_from(["Conv", "Conv", "Conv", "Grouped", "Relu", "Add", "Concat", "Pool"])
    step = st.tuples(kinds, st.integers(0, 9), st.sampled_from([1, 3]), st.sampled_from([4, 4, 8]))
    return draw(st.lists(step, min_size=2, max_size=14))


def random_graph(nets: Any, steps: list[Step]) -> Graph:
    net = nets.Net()
    maps = [net.conv(net.image("image", (3, 12, 16)), net.weights("stem", (4, 3, 3, 3)), "stem")]
    for index, (kind, which, kernel, filters) in enumerate(steps):
        x, other, name = maps[which % len(maps)], maps[(which * 7 + 3) % len(maps)], f"n{index}"
        channels = x.shape[1]
        if kind in ("Conv", "Grouped"):
            group = 2 if kind == "Grouped" else 1
            weights = net.weights(name, (filters, channels // group, kernel, kernel), bias=index % 3 > 0)
            maps.append(net.conv(x, weights, name, group=group))
        elif kind == "Add" and other.shape[1] == channels:
            maps.append(net.node("Add", [x, other], name=name))
        elif kind == "Concat":
            maps.append(net.node("Concat", [x, other], name=name, attributes={"axis": 1}))
        elif kind == "Pool":
            size = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
            maps.append(net.node("MaxPool", [x], name=name, attributes=size))
        else:
            maps.append(net.node("Relu", [x], name=name))
    ends = [value for value in maps if not value.uses()]
    inner = [value for value in maps[:: len(maps) // 2 + 1] if value.uses()]  # an output inside a chain
    return net.finish([*ends, *inner])


@pytest.mark.properties
@settings(parent=QUICK, max_examples=120)
@given(steps=random_steps())
def test_any_graph_keeps_its_numbers_and_names(nets: Any, steps: list[Step]) -> None:
    graph = random_graph(nets, steps)
    result = fused(graph)
    assert convs(nets, result) <= convs(nets, graph)
    assert (convs(nets, result) < convs(nets, graph)) == any(
        FUSED_KEY in n.metadata_props for n in result.nodes if n.op_type == "Conv"
    )
    assert_same(nets, graph, result)


@pytest.mark.golden
def test_part_of_a_split_is_left_alone(nets: Any) -> None:
    """Two of three go on alike; to cut, put together and cut again would be no gain."""
    net = nets.Net()
    x = net.block(net.image("image", (3, 12, 16)), "stem", 4)
    first = [net.conv(x, net.weights(f"a{index}", (4, 4, 3, 3)), f"a{index}") for index in range(3)]
    graph = net.finish(
        [first[2], *(net.conv(y, net.weights(f"b{i}", (4, 4, 3, 3)), f"b{i}") for i, y in enumerate(first[:2]))]
    )
    result = fused(graph)
    assert nets.ops(result)["Conv"] == 4 and "Concat" not in nets.ops(result)
    assert_same(nets, graph, result)


def owned(nets: Any) -> Graph:
    """A shared layer, a unit that two tasks have of their own, and their heads; a head and a unit read one map."""
    net = nets.Net()
    x = net.conv(net.image("image", (3, 12, 16)), net.weights("stem", (4, 3, 3, 3)), "stem", tasks="a,b,c")
    own = {task: net.conv(x, net.weights(f"u@{task}", (4, 4, 3, 3)), f"u@{task}", tasks=task) for task in "ab"}
    ends = [net.conv(own[task], net.weights(f"h{task}", (4, 4, 3, 3)), task, tasks=task) for task in "ab"]
    ends.append(net.conv(x, net.weights("hc", (4, 4, 3, 3)), "c", tasks="c"))
    graph = net.finish(ends)
    for node in graph.nodes:
        node.metadata_props[PART_KEY] = HEAD if node.name in "abc" else BACKBONE
    for number, task in enumerate("ab"):
        graph.node(f"u@{task}").metadata_props.update({UNIT_KEY: "u", INSTANCE_KEY: str(number)})
    graph.node("stem").metadata_props.update({UNIT_KEY: "stem", INSTANCE_KEY: "0"})
    return graph


@pytest.mark.golden
def test_ownership_stays_true(nets: Any) -> None:
    """Work of heads stays work of heads: a head is fused with heads, a unit with its own instances."""
    graph = owned(nets)
    result = fused(graph)
    by_tasks = {(node.op_type, node.metadata_props[TASKS_KEY], node.metadata_props[PART_KEY]) for node in result.nodes}
    assert by_tasks == {
        ("Conv", "a,b,c", BACKBONE),
        ("Conv", "a,b", BACKBONE),
        ("Conv", "a,b", HEAD),
        ("Conv", "c", HEAD),
        ("Split", "a,b", HEAD),
    }
    unit = next(node for node in result.nodes if node.metadata_props.get(UNIT_KEY) == "u")
    assert INSTANCE_KEY not in unit.metadata_props  # it is of both
    assert len(nodes_of_heads(result)) == 3
    assert_same(nets, graph, result)


@pytest.mark.golden
def test_order_of_a_split_is_kept(nets: Any) -> None:
    """Readers in another order than the maps were cut in still get their own filters."""
    net = nets.Net()
    x = net.block(net.image("image", (3, 12, 16)), "stem", 4)
    first = [net.conv(x, net.weights(f"a{index}", (4, 4, 3, 3)), f"a{index}") for index in range(3)]
    graph = net.finish([net.conv(first[i], net.weights(f"b{i}", (4, 4, 3, 3)), f"b{i}") for i in (2, 0, 1)])
    result = fused(graph)
    assert convs(nets, result) == 3
    assert [output.name for output in result.outputs] == ["b2", "b0", "b1"]
    assert_same(nets, graph, result)


@pytest.mark.golden
def test_map_of_one_channel_is_not_mixed_up(nets: Any) -> None:
    """A gate of one channel is repeated over its branch's channels, not over all."""
    net = nets.Net()
    x = net.block(net.image("image", (3, 12, 16)), "stem", 4)
    wide = [net.conv(x, net.weights(f"a{i}", (4, 4, 3, 3)), f"a{i}") for i in range(2)]
    gates = [net.conv(x, net.weights(f"g{i}", (1, 4, 1, 1)), f"g{i}") for i in range(2)]
    graph = net.finish(
        [net.node("Mul", [y, gate], name=f"out{i}") for i, (y, gate) in enumerate(zip(wide, gates, strict=True))]
    )
    result = fused(graph)
    assert nets.ops(result)["Mul"] == 2
    assert_same(nets, graph, result)
