"""What is said about axes is true: an image moved along its rows moves every map along its rows, and nothing else.

Networks are drawn at random, with all sizes alike so that no axis can be told by its size, and with transpositions and
Reshapes anywhere. They hold only operators that move exactly with the image, rolled by half its height or width.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import Array, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel
from trunkline.graph.axes.axis import (
    BATCH,
    CHANNEL,
    COLUMN,
    JOINED,
    LEARNED,
    MIXED,
    ROW,
    SAME,
    UNKNOWN,
    AxisPart,
    is_along,
    is_mixed,
    of,
)
from trunkline.graph.axes.follow import RULES
from trunkline.graph.axes.meet import (
    meet,
)
from trunkline.graph.axes.pieces import (
    join,
    section,
)
from trunkline.graph.axes.regroup import regroup
from trunkline.graph.axes.rules import InputAxes
from trunkline.graph.features import choose
from trunkline.graph.graph import Graph, data_inputs_of, name_of, shape_of
from trunkline.graph.maps.feature_map import Maps
from trunkline.graph.maps.turn import turned
from trunkline.ingest.onnx_file.proto.operators import SUPPORTED
from trunkline.ingest.read import read

pytestmark = pytest.mark.properties

SIDE = 8
EXACT = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
"""A Resize that repeats each number."""


class Net:
    """Writes a network node by node; ``shapes`` are without the batch."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.shapes: dict[str, tuple[int, ...]] = {"x": (SIDE, SIDE, SIDE)}

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: object) -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.shapes[name] = shape

    def number(self, *content: int) -> str:
        self.stored.append(tensor(f"i{len(self.stored)}", list(content)))
        return self.stored[-1].name

    def weight(self, *shape: int) -> str:
        self.stored.append(weight(f"w{len(self.stored)}", *shape))
        return self.stored[-1].name

    def pick(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def grow(self) -> None:
        """Add one node that reads the last value."""
        name = list(self.shapes)[-1]
        shape = self.shapes[name]
        steps = [step for step in STEPS if step.fits(shape)]  # type: ignore[attr-defined]
        steps[self.pick(0, len(steps) - 1)](self, name, shape)


STEPS: list = []


def step(fits):  # type: ignore[no-untyped-def]
    def register(function):  # type: ignore[no-untyped-def]
        function.fits = fits
        STEPS.append(function)
        return function

    return register


def is_map(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3


def can_go_down(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and min(shape[1:]) >= 4 and not any(size % 2 for size in shape[1:])


@step(is_map)
def pointwise(net: Net, name: str, shape: tuple[int, ...]) -> None:
    net.add("Conv", [name, net.weight(SIDE, shape[0], 1, 1)], (SIDE, *shape[1:]))


@step(can_go_down)
def patches(net: Net, name: str, shape: tuple[int, ...]) -> None:
    half = tuple(size // 2 for size in shape[1:])
    net.add("Conv", [name, net.weight(SIDE, shape[0], 2, 2)], (SIDE, *half), strides=[2, 2])


@step(can_go_down)
def pool(net: Net, name: str, shape: tuple[int, ...]) -> None:
    half = tuple(size // 2 for size in shape[1:])
    net.add("MaxPool", [name], (shape[0], *half), kernel_shape=[2, 2], strides=[2, 2])


@step(lambda shape: len(shape) == 3 and max(shape) <= 16)
def enlarge(net: Net, name: str, shape: tuple[int, ...]) -> None:
    scales = [1, *(net.pick(1, 2) for _ in range(3))]
    net.stored.append(tensor(f"i{len(net.stored)}", scales, np.float32))
    size = tuple(scale * old for scale, old in zip(scales[1:], shape, strict=True))
    net.add("Resize", [name, "", net.stored[-1].name], size, mode="nearest", **EXACT)


@step(can_go_down)
def to_depth(net: Net, name: str, shape: tuple[int, ...]) -> None:
    half = tuple(size // 2 for size in shape[1:])
    net.add("SpaceToDepth", [name], (shape[0] * 4, *half), blocksize=2)


@step(lambda shape: len(shape) == 3 and shape[0] % 4 == 0 and max(shape[1:]) <= 16)
def to_space(net: Net, name: str, shape: tuple[int, ...]) -> None:
    double = tuple(size * 2 for size in shape[1:])
    net.add("DepthToSpace", [name], (shape[0] // 4, *double), blocksize=2)


@step(lambda shape: True)
def activate(net: Net, name: str, shape: tuple[int, ...]) -> None:
    net.add(("Relu", "Sigmoid", "Tanh")[net.pick(0, 2)], [name], shape)


@step(lambda shape: True)
def combine(net: Net, name: str, shape: tuple[int, ...]) -> None:
    """With any earlier value of the same shape, whatever its axes are."""
    others = [other for other, own in net.shapes.items() if own == shape]
    net.add(("Add", "Mul")[net.pick(0, 1)], [name, others[net.pick(0, len(others) - 1)]], shape)


@step(lambda shape: len(shape) > 1)
def transpose(net: Net, name: str, shape: tuple[int, ...]) -> None:
    order = net.draw(st.permutations(range(len(shape))))
    net.add("Transpose", [name], tuple(shape[axis] for axis in order), perm=[0, *(axis + 1 for axis in order)])


@step(lambda shape: len(shape) > 1)
def merge(net: Net, name: str, shape: tuple[int, ...]) -> None:
    at = net.pick(0, len(shape) - 2)
    reshape(net, name, (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]))


@step(lambda shape: len(shape) < 5 and any(size % 2 == 0 and size > 2 for size in shape))
def part(net: Net, name: str, shape: tuple[int, ...]) -> None:
    places = [at for at, size in enumerate(shape) if size % 2 == 0 and size > 2]
    at = places[net.pick(0, len(places) - 1)]
    halves = [(size, shape[at] // size) for size in range(2, shape[at]) if shape[at] % size == 0]
    reshape(net, name, (*shape[:at], *halves[net.pick(0, len(halves) - 1)], *shape[at + 1 :]))


def reshape(net: Net, name: str, shape: tuple[int, ...]) -> None:
    net.add("Reshape", [name, net.number(0, *shape)], shape)


@step(lambda shape: len(shape) > 1)
def average(net: Net, name: str, shape: tuple[int, ...]) -> None:
    at = net.pick(0, len(shape) - 1)
    keep = net.pick(0, 1)
    left = (*shape[:at], *([1] if keep else []), *shape[at + 1 :])
    net.add("ReduceMean", [name, net.number(at + 1)], left, keepdims=keep)


@step(lambda shape: 1 in shape)
def repeat(net: Net, name: str, shape: tuple[int, ...]) -> None:
    wide = tuple(SIDE if size == 1 else size for size in shape)
    net.add("Expand", [name, net.number(1, *wide)], wide)


@step(lambda shape: max(shape) > 2)
def every_other(net: Net, name: str, shape: tuple[int, ...]) -> None:
    places = [at for at, size in enumerate(shape) if size % 2 == 0 and size > 2] or [0]
    at = places[net.pick(0, len(places) - 1)]
    left = (*shape[:at], (shape[at] + 1) // 2, *shape[at + 1 :])
    numbers = [net.number(value) for value in (0, 2**31, at + 1, 2)]
    net.add("Slice", [name, *numbers], left)


@step(lambda shape: max(shape) > 2)
def roll(net: Net, name: str, shape: tuple[int, ...]) -> None:
    at = shape.index(max(shape))
    by = net.pick(1, shape[at] - 1)
    pieces = []
    for start, end in ((by, shape[at]), (0, by)):
        numbers = [net.number(value) for value in (start, end, at + 1, 1)]
        net.add("Slice", [name, *numbers], (*shape[:at], end - start, *shape[at + 1 :]))
        pieces.append(net.shapes.popitem()[0])  # a part of the rows does not move with the image: nothing else reads it
    net.add("Concat", pieces, shape, axis=at + 1)


@step(lambda shape: max(shape) <= 16)
def concatenate(net: Net, name: str, shape: tuple[int, ...]) -> None:
    others = [other for other, own in net.shapes.items() if own == shape]
    at = net.pick(0, len(shape) - 1)
    wide = (*shape[:at], shape[at] * 2, *shape[at + 1 :])
    net.add("Concat", [name, others[net.pick(0, len(others) - 1)]], wide, axis=at + 1)


@step(lambda shape: True)
def linear(net: Net, name: str, shape: tuple[int, ...]) -> None:
    net.add("MatMul", [name, net.weight(shape[-1], SIDE)], (*shape[:-1], SIDE))


@step(lambda shape: len(shape) > 1 and shape[-1] == shape[-2])
def multiply(net: Net, name: str, shape: tuple[int, ...]) -> None:
    others = [other for other, own in net.shapes.items() if own == shape]
    net.add("MatMul", [name, others[net.pick(0, len(others) - 1)]], shape)


@step(lambda shape: True)
def weigh(net: Net, name: str, shape: tuple[int, ...]) -> None:
    net.add("Softmax", [name], shape, axis=net.pick(1, len(shape)))


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    net = Net(draw)
    pointwise(net, "x", net.shapes["x"])
    for _ in range(draw(st.integers(3, 14))):
        net.grow()
    values = list(net.shapes)[1:]
    return model(net.nodes, initializers=net.stored, shape=["n", SIDE, SIDE, SIDE], outputs=values)


def maps_in(graph: Graph) -> Graph:
    """The same network, with all maps that are known for outputs, as ``[N, C, H, W]``.

    Left out is what follows from an axis that cannot be followed, or that a weight has made of positions: such a sum
    may depend on the image's place, and only its alignment is claimed.
    """
    maps = Maps(graph)
    copy = graph.copy()
    strict: set[ir.Value] = {graph.input}
    for node in graph.nodes:
        kinds = {part.kind for value in node.outputs for axis in maps.axes[value] for part in axis}
        if strict.issuperset(data_inputs_of(node)) and kinds.isdisjoint({LEARNED, UNKNOWN}):
            strict.update(node.outputs)
    known = [place for place, value in enumerate(graph.outputs) if value in maps and value in strict]
    copy.model.graph.outputs[:] = [copy.outputs[place] for place in known]
    return turned(copy)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(proto=networks())
def test_a_moved_image_moves_its_maps(proto: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Rows move along rows and columns along columns; what is no map, or is not known to be one, is not claimed."""
    graph = maps_in(read(save(proto, tmp_path_factory.mktemp("net"))))
    if not graph.outputs:
        return
    x = image(2, SIDE, SIDE, SIDE)
    still = run(to_proto(graph), x)
    for axis in (2, 3):
        moved = run(to_proto(graph), np.roll(x, SIDE // 2, axis))
        for name, value in still.items():
            assert_rolled(moved[name], value, axis, name)


def assert_rolled(moved: Array, value: Array, axis: int, name: str) -> None:
    size = value.shape[axis]
    if size > 1:  # a single row is all rows: nothing can be seen to move
        expected = np.roll(value, size // 2, axis)
        np.testing.assert_allclose(moved, expected, atol=1e-4 * max(1.0, float(np.abs(value).max())), err_msg=name)


TURNS = [order for order in itertools.permutations((1, 2, 3)) if order != (1, 2, 3)]


def chain(*inserted: tuple[int, tuple[int, ...]]) -> onnx.ModelProto:
    """Five convolutions that go down twice, classified; ``inserted`` transpositions stand before the i-th of them.

    Channels, rows and columns are as many everywhere.
    """
    nodes, stored, before = [], [], "x"
    for index in range(5):
        for number, (place, order) in enumerate(inserted):
            if place == index:
                name = f"turn{number}"
                nodes.append(helper.make_node("Transpose", [before], [name], name=name, perm=[0, *order]))
                before = name
        k = 2 if index in (1, 3) else 1
        stored.append(weight(f"w{index}", SIDE, SIDE, k, k))
        nodes.append(helper.make_node("Conv", [before, f"w{index}"], [f"c{index}"], name=f"c{index}", strides=[k, k]))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"], name=f"r{index}"))
        before = f"r{index}"
        if index in (1, 3):
            stored.append(tensor(f"s{index}", [1, 1, 2, 2], np.float32))
            nodes.append(helper.make_node("Resize", [before, "", f"s{index}"], [f"u{index}"], mode="nearest", **EXACT))
            before = f"u{index}"
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["y"]))
    return model(nodes, initializers=stored, shape=["n", SIDE, SIDE, SIDE])


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("order", TURNS, ids=str)
def test_wrong_transposition_gives_no_wrong_map(place: int, order: tuple[int, ...], tmp_path: Path) -> None:
    """The map that is chosen moves with the image, or nothing is chosen; all sizes are alike, so only axes can tell."""
    graph = read(save(chain((place, order)), tmp_path))
    try:
        found = choose(graph).maps[0]
    except InvalidModel as error:
        assert "--features" in str(error) or "feature map" in str(error)
        return
    copy = graph.copy()
    copy.model.graph.outputs[:] = [
        value for node in copy.nodes for value in node.outputs if value.name == name_of(found.value)
    ]
    backbone = turned(copy)
    x = image(2, SIDE, SIDE, SIDE)
    (still,) = run(to_proto(backbone), x).values()
    for axis in (2, 3):
        (moved,) = run(to_proto(backbone), np.roll(x, SIDE // 2, axis)).values()
        assert_rolled(moved, still, axis, name_of(found.value))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(places=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(TURNS)), max_size=4))
def test_turning_back_changes_no_choice(
    places: list[tuple[int, tuple[int, ...]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Round trips through any order of axes leave the chosen map as it is in the plain network."""
    trips = []
    for place, order in places:
        back = tuple(order.index(axis) + 1 for axis in (1, 2, 3))
        trips += [(place, order), (place, back)]
    folder = tmp_path_factory.mktemp("net")
    plain = [name_of(found.value) for found in choose(read(save(chain(), folder))).maps]
    tripped = choose(read(save(chain(*trips), folder))).maps
    assert [name_of(found.value) for found in tripped] == plain
    assert all(found.turn is None for found in tripped)


def test_every_operator_has_a_rule() -> None:
    """Every operator that a Graph may hold passes its axes on by a rule."""
    assert set(SUPPORTED) - {"Attention", "DeformConv", "Upsample"} <= set(RULES)  # these are said with others


def test_rows_that_were_split_are_rows_again() -> None:
    axes, sizes = (of(ROW, 56), of(COLUMN, 56)), (56, 56)
    windows = regroup(axes, sizes, (8, 7, 8, 7))
    assert not is_along(windows[0], ROW) or windows[0][0].step == 7
    assert regroup(windows, (8, 7, 8, 7), (56, 56)) == axes
    swapped = tuple(windows[place] for place in (1, 0, 2, 3))
    again = regroup(swapped, (7, 8, 8, 7), (56, 56))
    assert not is_along(again[0], ROW)
    assert again[1] == of(COLUMN, 56)
    halves = regroup((of(ROW, 8),), (8,), (2, 2, 2))
    assert regroup(halves, (2, 2, 2), (8,)) == (of(ROW, 8),)
    for order in itertools.permutations(range(3)):
        (mixed_up,) = regroup(tuple(halves[place] for place in order), (2, 2, 2), (8,))
        assert is_along(mixed_up, ROW) is (order == (0, 1, 2))


def test_a_reshape_across_axes_is_not_followed() -> None:
    axes = regroup((of(CHANNEL, 4), of(ROW, 6), of(COLUMN, 6)), (4, 6, 6), (9, 16))
    assert {part.kind for axis in axes for part in axis} == {UNKNOWN}
    kept = regroup((of(CHANNEL, 4), of(ROW, 6), of(COLUMN, 6)), (4, 6, 6), (4, 9, 4))
    assert kept[0] == of(CHANNEL, 4)
    assert is_along(kept[0], ROW) is False


def test_what_axes_count_where_they_meet() -> None:
    rows, columns, channels = of(ROW, 8), of(COLUMN, 8), of(CHANNEL, 8)
    assert meet(rows, of(SAME, 8), 8) == rows
    assert meet(of(LEARNED, 8), rows, 8) == rows
    assert meet(of(UNKNOWN, 8), rows, 8) == of(UNKNOWN, 8)
    for one, other in itertools.permutations((rows, columns, channels), 2):
        assert is_mixed([meet(one, other, 8)])
    positions = (*of(ROW, 4), *of(COLUMN, 2))
    assert is_mixed([meet(positions, (*of(COLUMN, 4), *of(ROW, 2)), 8)])


def test_pieces_of_an_axis_are_found_again() -> None:
    positions = (*of(ROW, 4), *of(COLUMN, 4))
    both = join([(1, ()), (16, positions)])
    assert both[0].kind == JOINED
    assert section(both, 1, 17) == positions
    assert section(both, 0, 1) == ()
    assert section(both, 2, 17) == of(UNKNOWN, 15)
    assert join([(1, section(both, 0, 1)), (16, section(both, 1, 17))]) == both
    rolled = join([(3, section(of(ROW, 8), 5, 8)), (5, section(of(ROW, 8), 0, 5))])
    assert rolled == of(ROW, 8)
    assert join([(8, of(ROW, 8)), (8, of(ROW, 8))]) == of(UNKNOWN, 16)
    (inside,) = regroup((both, of(CHANNEL, 2)), (17, 2), (34,))
    assert join([(1, ()), (34, inside)]) == of(UNKNOWN, 35)


def test_mixed_values_stay_mixed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("Add", ["x", "t"], ["sum"]),
        helper.make_node("Conv", ["sum", "w"], ["y"]),
    ]
    graph = read(save(model(nodes, initializers=[weight("w", 4, 3, 1, 1)], shape=["n", 3, 8, 8]), tmp_path))
    axes = Maps(graph).axes[graph.outputs[0]]
    assert [axis[0].kind for axis in axes] == ["batch", MIXED, MIXED, MIXED]
    assert isinstance(axes[1][0], AxisPart)
    assert shape_of(graph.outputs[0]) == (None, 4, 8, 8)


def kinds_of(nodes: list[onnx.NodeProto], places: np.ndarray, tmp_path: Path) -> list[str]:
    """What the axes of ``y`` count, picked by stored places from ``c``, 4 channels of 12 x 20 positions."""
    stored = [weight("w", 4, 3, 1, 1), tensor("places", places)]
    first = helper.make_node("Conv", ["x", "w"], ["c"])
    graph = read(save(model([first, *nodes], initializers=stored, shape=["n", 3, 12, 20]), tmp_path))
    return [axis[0].kind if axis else "" for axis in Maps(graph).axes[graph.outputs[0]]]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (np.arange(12), [ROW]),
        (np.arange(3, 9), [ROW]),
        (np.array([0, 0, 4, 8, 11]), [ROW]),  # nearest neighbours
        (np.array([9, 10, 11, *range(9)]), [ROW]),  # a rolled map
        (np.arange(12)[::-1], [UNKNOWN]),
        (np.array([0, 6, 1, 7]), [UNKNOWN]),
        (np.arange(3)[:, None] * 4 + np.arange(4), [ROW, CHANNEL]),  # three bins of four
        (np.arange(4)[:, None] + np.arange(3) * 4, [CHANNEL, ROW]),
        (np.arange(3)[:, None] + np.arange(10), [CHANNEL, ROW]),  # windows of three, side by side
        (np.arange(3)[:, None] * 2 + np.arange(8), [CHANNEL, ROW]),  # dilated ones
        (np.arange(2)[:, None] * 4 + np.arange(8), [ROW, CHANNEL]),  # two blocks of four, with a halo of two
    ],
    ids=str,
)
def test_places_that_a_gather_picks(places: np.ndarray, expected: list[str], tmp_path: Path) -> None:
    node = helper.make_node("Gather", ["c", "places"], ["y"], axis=2)
    assert kinds_of([node], places, tmp_path) == ["batch", CHANNEL, *expected, COLUMN]


def test_places_for_two_axes_at_once() -> None:
    """GatherND, as AdaptiveAvgPool2d is exported: bins along rows and columns, and places within a bin."""
    rows = (np.arange(3)[:, None] * 4 + np.arange(4))[:, :, None, None]
    columns = (np.arange(4)[:, None] * 5 + np.arange(5))[None, None]
    places = np.stack(np.broadcast_arrays(rows, columns), axis=-1)
    read_axes = InputAxes((of(ROW, 12), of(COLUMN, 20), of(BATCH, 7), of(CHANNEL, 4)), (12, 20, 7, 4))
    value = ir.Value(name="places", const_value=ir.Tensor(places))
    node = ir.Node("", "GatherND", [ir.Value(name="t"), value], [], name="pick")
    (axes,) = RULES["GatherND"](node, [read_axes, None], [(3, 4, 4, 5, 7, 4)])
    assert [axis[0].kind for axis in axes] == [ROW, CHANNEL, COLUMN, CHANNEL, BATCH, CHANNEL]


@pytest.mark.slow
def test_rules_fit_onnx_cases() -> None:
    """Any operands, attributes and ranks: a rule says something about each axis of each output, and never fails."""
    from conformance.cases import collect

    kinds = [BATCH, CHANNEL, ROW, COLUMN, LEARNED, UNKNOWN]
    count = 0
    for op, cases in collect().items():
        for case in cases if op in RULES else ():
            values = {name: ir.Value(name=name) for name in case.operands}
            for name in list(case.operands)[1:]:
                values[name].const_value = ir.Tensor(case.operands[name])
            settings_of = [ir.serde.deserialize_attribute(item) for item in case.node.attribute]
            inputs = [values.get(name) for name in case.node.input]
            node = ir.Node("", op, inputs, settings_of, num_outputs=len(case.node.output), name="node")
            shapes = [case.operands[name].shape if name else None for name in case.node.input]
            reads = [None if shape is None else InputAxes(labelled(shape, kinds), shape) for shape in shapes]
            outputs = [case.results[name].shape if name in case.results else () for name in case.node.output]
            found = RULES[op](node, reads, outputs)
            assert [len(axes) for axes in found] == [len(sizes) for sizes in outputs], case.name
            count += 1
    assert count > 700


def labelled(shape: tuple[int, ...], kinds: list[str]) -> tuple[tuple[AxisPart, ...], ...]:
    return tuple(of(kinds[place % len(kinds)], size) for place, size in enumerate(shape))
